"""What a study is: its question, its subjects and its arms, read from files.

`experiments/arms.toml` says how each arm is taught; every other file of that folder is a study, which names arms. A run
(subject x arm x seed) has one JSON file, that all studies share.
"""

from __future__ import annotations

import re
from collections.abc import Iterator
from pathlib import Path
from typing import Any, Literal, TypeVar

from pydantic import BaseModel, ConfigDict, Field, ValidationError

from booth.core.errors import BadDataError
from booth.core.reading import parse_toml, read_text
from booth.evaluate.subjects import lacking
from booth.registry import ENCODERS, METRICS

ARMS = "arms.toml"
UNTOUCHED = "base"  # the arm that is taught nothing
RUN_NUMBERS = ("steps", "seconds", "peak_memory_bytes", "artifact_bytes")  # what a run tells beside its metrics
PHOTOGRAPHS = "photos/"  # before the folder of a subject that is not of the world
Schema = TypeVar("Schema", bound=BaseModel)


class Arm(BaseModel):
    """One way to teach."""

    model_config = ConfigDict(extra="forbid", frozen=True)

    method: str | None = Field(None, description="none = the untouched base")
    settings: dict[str, Any] = Field(default_factory=dict[str, Any], description="those that are not the defaults")
    noun: Literal["right", "wrong", "none"] = Field("right", description="class noun that is taught and asked for")
    until: Literal["steps", "done"] = "steps"
    unmasked_weight: float | None = Field(None, description="of the loss outside the subject; none = the run's default")
    guidance: list[float] = Field([5.0], description="guidance scales to draw at")


class Setting(BaseModel):
    """What all runs have in common."""

    model_config = ConfigDict(extra="forbid", frozen=True)

    base: str = "embedded"
    token: str = "sks"
    prompts: list[str] = Field(min_length=1, description="each with {} for the subject")
    steps: int = Field(15, ge=1, description="denoising steps of a picture")
    drift: int = Field(12, ge=0, description="pictures of the class, and as many of unrelated prompts")
    arms: dict[str, Arm]


class Study(BaseModel):
    """One question, what was expected, and what was found."""

    model_config = ConfigDict(extra="forbid", frozen=True)

    name: str
    title: str
    question: str
    expected: str
    found: str = ""
    would_change: str
    subjects: list[str] = Field(
        min_length=1,
        description='"cat:21" of the world, "cat:21@meadow" with masked photos of one scene, or "photos/dog2:dog"',
    )
    seeds: list[int] = Field([0, 1], min_length=1)
    arms: list[str] = Field(min_length=1)
    guidance: list[float] = Field([5.0], min_length=1, description="tables are made at each")
    columns: list[str] = Field(
        min_length=1, description="metrics, as `metric` or `metric/part`, of the first encoder or of `.../encoder`"
    )
    encoders: list[str] = Field(list[str](), description="that look at its runs beside those that are used unnamed")
    sheets: bool = Field(False, description="whether contact sheets of the drawings are kept with the page")
    pairs: list[tuple[str, str]] = Field(list[tuple[str, str]](), description="arms whose difference is asked for")


def read_setting(folder: Path) -> Setting:
    """The arms of a folder of experiments; BadDataError in plain words."""
    return _read(folder / ARMS, Setting, {})


def read_study(file: Path, setting: Setting) -> Study:
    """A study whose arms, subjects and columns are known; BadDataError in plain words."""
    study = _read(file, Study, {"name": file.stem})
    unknown = [arm for arm in {*study.arms, *sum(study.pairs, ())} if arm not in setting.arms]
    if unknown:
        raise BadDataError(
            f"{file} names arms that {ARMS} does not have: {', '.join(sorted(unknown))}.",
            code="study.unknown_arm",
            field="files",
        )
    for subject in study.subjects:
        if wrong := _wrong_subject(subject):
            raise BadDataError(
                f"{file} names the subject {subject!r}, and {wrong}.",
                f"Write it as cat:21, cat:21@meadow or {PHOTOGRAPHS}dog2:dog.",
                code="study.unknown_subject",
                field="files",
            )
    strange = [encoder for encoder in study.encoders if encoder not in ENCODERS]
    if strange:
        raise BadDataError(
            f"{file} names encoders that there are not: {', '.join(strange)}.",
            f"There are {', '.join(ENCODERS)}.",
            code="study.unknown_encoder",
            field="files",
        )
    wrong = [c for c in study.columns if c.partition("/")[0] not in METRICS and c not in RUN_NUMBERS]
    if wrong:
        raise BadDataError(
            f"{file} names columns that no run has: {', '.join(wrong)}.",
            f"There are {', '.join([*METRICS, *RUN_NUMBERS])}.",
            code="study.unknown_column",
            field="files",
        )
    return study


def run_file(results: Path, subject: str, arm: str, seed: int) -> Path:
    """Where one run's numbers lie."""
    return results / subject_name(subject) / f"{arm}-{seed}.json"


def subject_name(subject: str) -> str:
    """A name for files: "cat:21" is cat-21, "photos/dog2:dog" is photos-dog2."""
    folder, _, rest = subject.rpartition(":")
    name = folder if folder.startswith(PHOTOGRAPHS) else f"{folder}-{rest}"
    return re.sub(r"[^\w.-]+", "-", name)


def runs_of(study: Study) -> Iterator[tuple[int, str, str]]:
    """(seed, subject, arm), seed by seed, so that an interrupted study has something of everything.

    The untouched base has no training seed and is drawn once.
    """
    for seed in study.seeds:
        for subject in study.subjects:
            for arm in study.arms:
                if arm != UNTOUCHED or seed == study.seeds[0]:
                    yield (0 if arm == UNTOUCHED else seed), subject, arm


def _wrong_subject(subject: str) -> str | None:
    """What is wrong with the name of a subject, if anything is."""
    name, colon, variant = subject.rpartition(":")
    if not colon or not name or not variant:
        return "it has no colon between two words"
    if name.startswith(PHOTOGRAPHS):
        return None if name != PHOTOGRAPHS else "it names no folder"
    seed, at, scene = variant.partition("@")
    if wrong := lacking(name, scene if at else None):
        return wrong
    return None if seed.isdecimal() else f"{seed!r} is no number of an individual"


def _read(file: Path, kind: type[Schema], more: dict[str, Any]) -> Schema:
    try:
        return kind.model_validate(parse_toml(read_text(file)) | more)
    except BadDataError as error:
        advice = f"Beside the studies lies {ARMS}, which says how each arm is taught." if file.name == ARMS else ""
        raise error.about(str(file), advice, field="files") from error
    except ValidationError as error:
        wrong = (f"{'.'.join(map(str, e['loc'])) or 'it'}: {e['msg']}" for e in error.errors())
        what = "set of arms" if kind is Setting else "study"
        raise BadDataError(f"{file} is no {what}: {'; '.join(wrong)}.", code="study.invalid", field="files") from error
