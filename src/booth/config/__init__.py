"""One schema of a training run for the command line, configuration files and Python.

Unknown keys are errors that name the nearest key. A method's own settings are a table, `settings`, and are checked
against that method's schema.
"""

from __future__ import annotations

import re
from pathlib import Path
from typing import Annotated, Any, Literal

from pydantic import AfterValidator, BaseModel, ConfigDict, Field, model_validator

from booth.core.errors import UsageError
from booth.core.places import at_home

AUTO = "auto"  # as a token: let booth pick a rare one
CLASS = "class"  # what `noun` is called in files and assignments; it is a word of Python


Place = Annotated[Path, AfterValidator(at_home)]


class Companion(BaseModel):
    """Another subject of the same run; in a line, "FOLDER=TOKEN NOUN"."""

    model_config = ConfigDict(extra="forbid", frozen=True)

    photos: list[Place] = Field(min_length=1)
    token: str = Field(min_length=1)
    noun: str = Field(min_length=1)

    @model_validator(mode="before")
    @classmethod
    def from_line(cls, value: Any) -> Any:
        """Read "cats=zwx cat"."""
        if not isinstance(value, str):
            return value
        folder, _, name = value.rpartition("=")
        token, _, noun = name.strip().partition(" ")
        if not folder or not noun.strip():
            raise ValueError('must be FOLDER=TOKEN NOUN, such as "cats=zwx cat"')
        return {"photos": [folder.strip()], "token": token, "noun": noun.strip()}


class RunConfig(BaseModel):
    """Everything that decides a training run."""

    model_config = ConfigDict(extra="forbid", frozen=True)

    photos: list[Place] = Field(min_length=1, description="photos, or folders of photos")
    noun: str = Field("", description="class noun of the subject, such as dog (`class` in a file)")
    kind: Literal["subject", "style"] = Field(
        "subject", description="what the photos have in common: one subject, or the style of a picture"
    )
    token: str = Field("sks", description="rare word that will name the subject; auto = pick one")
    method: str = Field("lora", description="a name that `booth methods` lists")
    also: list[Companion] = Field(
        list[Companion](), description="other subjects of the same run, each FOLDER=TOKEN NOUN"
    )
    base: str = Field("embedded", description="embedded, a diffusers folder, a .safetensors checkpoint or a Hub id")
    family: str | None = Field(None, description="what kind of base it has to be; none = whatever it is")
    out: Place | None = Field(
        None, description="folder of the concept; none = concepts/TOKEN-NOUN-METHOD, or concepts/CONTROL-METHOD"
    )
    seed: int = Field(0, ge=0, lt=2**62, description="decides all randomness of the run")
    device: str | None = Field(None, description="cpu, cuda or mps; none = cuda where there is one, else cpu")
    precision: Literal["fp32", "bf16", "fp16"] | None = Field(None, description="none = what suits the device")
    base_precision: Literal["fp32", "bf16", "fp16", "int8", "nf4"] | None = Field(
        None, description="what the base's frozen weights are held in; none = as the memory plan says"
    )
    memory: str = Field(
        "auto", description="memory plan, as `booth doctor` lists them; auto = the cheapest to run that fits"
    )
    compile: bool = Field(
        False,
        description="compile what the denoiser repeats: for long runs on a GPU; the last digits differ",
    )
    checkpoint_every: int | None = Field(
        None, ge=0, description="steps between checkpoints; 0 = only when interrupted, none = 50 while that is cheap"
    )
    keep_checkpoints: int | None = Field(
        None, ge=1, description="how many of the newest checkpoints stay, in the concept too; none = two, while it runs"
    )
    until: Literal["steps", "done"] = Field(
        "steps", description="done = stop when nothing more is gained, and keep the best checkpoint"
    )
    previews: int = Field(0, ge=0, description="steps between previews; 0 = none")
    preview_seeds: int = Field(1, ge=1, le=8, description="pictures of each prompt in previews and samples")
    start_from: Place | None = Field(
        None, description="a concept, another trainer's .safetensors or a ControlNet's folder, to start training from"
    )
    resume: bool = Field(False, description="go on from the last checkpoint of the same run")
    crop: Literal["center", "random", "subject", "buckets"] = Field(
        "center", description="which square of a photo is used; buckets = nearly all of it, in a shape of the same area"
    )
    resolution: int | None = Field(
        None, ge=1, description="side of the squares that are learned from, in pixels; none = the base's own"
    )
    flip: bool = Field(False, description="show photos mirrored too; not for text or lopsided subjects")
    shuffle_tags: bool = Field(
        False, description="put the comma-separated parts of a caption in another order each time"
    )
    keep_tags: int = Field(1, ge=0, description="how many parts stay in front when they are shuffled")
    unmasked_weight: float = Field(
        0.1, ge=0, le=1, description="weight of the loss outside a photo's mask; 1 = masks are not used"
    )
    settings: dict[str, Any] = Field(default_factory=dict[str, Any], description="settings of the method")

    @model_validator(mode="before")
    @classmethod
    def style_has_a_noun(cls, values: Any) -> Any:
        """A style needs no class noun: it is called "sks style"."""
        if isinstance(values, dict) and values.get("kind") == "style":
            return {"noun": "style"} | values
        return values

    @property
    def folder(self) -> Path:
        """Where the concept is written."""
        noun = re.sub(r"[\s/\\:]+", "-", self.noun)  # one folder, whatever the class is called
        taught = [self.token, noun] if noun else [str(self.settings.get("control", ""))]
        method = self.method.rpartition(":")[2]  # "package.module:Class" is no name for a folder
        return self.out or Path("concepts") / "-".join(filter(None, [*taught, method]))


def missing(name: str) -> UsageError:
    """What is told where a field of a run had to be given."""
    return UsageError(
        f"`{name}` is missing: {RunConfig.model_fields[name].description}.", code="field.missing", field=name
    )
