"""What a concept folder says about itself: concept.json, read and checked without loading any weights."""

from __future__ import annotations

from pathlib import Path
from typing import Any, Literal

from pydantic import BaseModel, ConfigDict, Field, ValidationError

from booth.core.commit import verify
from booth.core.errors import BadDataError, DamagedFileError

RECORD = "concept.json"
TOLD = "run"  # the folder in a concept that holds the run's events and configuration
SCHEMA_VERSION = 1


class Record(BaseModel):
    """A frozen record: an unknown key means that another version of booth wrote it."""

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

    schema_version: Literal[1] = SCHEMA_VERSION
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
    """Check every file of a concept against its hash and return its record.

    Raises BadDataError when `folder` is no concept or one of another version, DamagedFileError when a file
    does not match.
    """
    path = folder / RECORD
    if not path.is_file():
        raise BadDataError(
            f"{folder} is not a concept: it has no {RECORD}. Name the folder that `booth train` printed at its end."
        )
    try:
        verify(folder)
    except DamagedFileError as error:
        raise DamagedFileError(f"{error} Restore the concept from a copy, or train it again.") from error
    try:
        return ConceptRecord.model_validate_json(path.read_bytes())
    except ValidationError as error:
        first = error.errors()[0]
        where = ".".join(map(str, first["loc"]))
        raise BadDataError(
            f"{path} was written by another version of booth ({where}: {first['msg']}). Install that version, or "
            "train the concept again."
        ) from error
