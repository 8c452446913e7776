"""What a concept folder says about itself: concept.json, read and checked without loading any weights."""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any, Literal

from pydantic import BaseModel, ConfigDict, Field, ValidationError

from booth.core.commit import verify
from booth.core.errors import BadDataError, DamagedFileError
from booth.core.schema import Upgrade, require_readable, upgraded

RECORD = "concept.json"
TOLD = "run"  # the folder in a concept that holds the run's events and configuration
# A field that is added, or means something else, raises the version, and brings the step that leads to it.
SCHEMA_VERSION = 3


def _to_2(record: dict[str, Any]) -> dict[str, Any]:
    """Stages tell which kinds of layers they adapt; of one that was taught before, nothing is known."""
    stages: list[dict[str, Any]] = [{**stage, "coverage": {}} for stage in record["stages"]]
    return {**record, "schema_version": 2, "stages": stages}


def _to_3(record: dict[str, Any]) -> dict[str, Any]:
    """What a ControlNet went on from is told by the run, as for every method, and by none of its settings."""

    def without_start(part: dict[str, Any]) -> dict[str, Any]:
        settings = part["settings"]
        return {**part, "settings": {k: v for k, v in settings.items() if k != "start"}}

    record = {**record, "schema_version": 3}
    if record["method"] != "controlnet":
        return record
    return without_start({**record, "stages": [without_start(stage) for stage in record["stages"]]})


UPGRADES: tuple[Upgrade, ...] = (_to_2, _to_3)


class Record(BaseModel):
    """A frozen record; an unknown key is refused, for it may change what the weights mean."""

    model_config = ConfigDict(extra="forbid", frozen=True)


class BaseRecord(Record):
    """The base that a concept was taught to."""

    name: str  # "embedded", a folder or a Hub id
    hash: str  # "sha256:..." over its weights and configuration


class SubjectRecord(Record):
    """What was taught: the rare token and the class noun."""

    token: str
    noun: str
    kind: Literal["subject", "style"] = "subject"
    others: list[SubjectRecord] = Field(default_factory=list["SubjectRecord"])  # taught in the same run

    @property
    def all(self) -> list[SubjectRecord]:
        """This subject and the others of the run."""
        return [self, *self.others]


class StageRecord(Record):
    """One stage of the plan, as it was trained."""

    name: str
    method: str
    settings: dict[str, Any]
    folder: str  # where its weights are, relative to the concept; "." for the concept folder itself
    files: list[str]  # relative to the concept
    steps: int
    final_loss: float | None  # mean over the last tenth of the steps; none if no loss was finite
    # Of an adapter by component and kind of layer: how many it adapts, and how many there are.
    coverage: dict[str, dict[str, tuple[int, int]]] = Field(default_factory=dict[str, dict[str, tuple[int, int]]])


class RecoveryRecord(Record):
    """One return to a checkpoint after losses or gradients that were not finite."""

    stage: str
    step: int  # where it failed
    returned_to: int  # finished steps of the whole plan in the checkpoint; 0 is the start
    rate_scale: float  # what the learning rate was multiplied by from there on


class ConceptRecord(Record):
    """The content of concept.json."""

    schema_version: Literal[3] = SCHEMA_VERSION
    name: str
    method: str
    settings: dict[str, Any]  # of the whole method: its plan is made from them again
    family: str
    base: BaseRecord
    subject: SubjectRecord
    prompt: str  # the prompt that draws the subject: "a photo of sks dog"
    stages: list[StageRecord]
    data: dict[str, Any]  # how photos became rows: crop, flip, captions, repeats
    seed: int
    steps: int
    precision: str
    device: str
    photos: list[str]  # sha256 of each photo
    photo_files: list[str] = Field(default_factory=list[str])  # where they were, so that an evaluation finds them
    selection: dict[str, Any] | None = None  # how the checkpoint was chosen; `step` is the one that is kept
    skipped_steps: int = 0
    recoveries: list[RecoveryRecord] = Field(default_factory=list[RecoveryRecord])
    final_loss: float | None
    seconds: float  # wall time of the whole run, parts before a resume included
    seconds_per_step: float
    peak_memory_bytes: int
    artifact_bytes: int  # weights, without samples
    sizes: dict[str, int]  # bytes of each file of the artefact
    timings: dict[str, float]  # seconds of load, encode, class_pictures, train, checkpoint, save, samples
    versions: dict[str, str]
    created: str  # ISO 8601, UTC


def read_record(folder: Path) -> ConceptRecord:
    """Check every file of a concept against its hash and return its record, as this version of booth writes it.

    Raises BadDataError when `folder` is no concept or one of a newer version, DamagedFileError when a file
    does not match.
    """
    path = folder / RECORD
    if not path.is_file():
        raise BadDataError(
            f"{folder} is not a concept: it has no {RECORD}.",
            "Name the folder that `booth train` printed at its end.",
            code="concept.none_here",
        )
    try:
        verify(folder)
    except DamagedFileError as error:
        raise DamagedFileError(
            f"{error} Restore the concept from a copy, or train it again.", code="concept.damaged"
        ) from error
    try:
        content = json.loads(path.read_bytes())
        found = require_readable(path, content["schema_version"], SCHEMA_VERSION, content.get("versions"))
        return ConceptRecord.model_validate_json(json.dumps(upgraded(content, found, UPGRADES)))
    except ValidationError as error:
        first = error.errors()[0]
        raise _unlike(path, f"{'.'.join(map(str, first['loc']))}: {first['msg']}") from error
    except (ValueError, KeyError, TypeError, AttributeError) as error:
        raise _unlike(path, f"{type(error).__name__}: {error}") from error


def _unlike(path: Path, reason: str) -> BadDataError:
    return BadDataError(
        f"{path} is not as any released version of booth writes it ({reason}).",
        "Install the version that wrote it, or train the concept again.",
        code="concept.unreadable_record",
    )
