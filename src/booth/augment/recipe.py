"""What decides how pictures are made: one schema for the command line, files and Python."""

from __future__ import annotations

import re
from pathlib import Path
from typing import Annotated, Any, Literal

from pydantic import AfterValidator, BaseModel, ConfigDict, Field

from booth.augment.labelled_set import LabelledSet
from booth.core.errors import UsageError
from booth.core.json_values import Json
from booth.core.places import at_home
from booth.core.tokens import RARE_TOKENS
from booth.train.identity import lasting_name

Place = Annotated[Path, AfterValidator(at_home)]
BASE, PLACEBO = "base", "placebo"  # beside the methods of the registry: the untouched base, and no base at all
FILTERS = ("none", "classifier", "likeness")
SPARE = 3  # so many times as many pictures as are wanted are drawn at most, before a filter is called too strict


class Recipe(BaseModel):
    """Where the pictures come from and how new ones are made of them."""

    model_config = ConfigDict(extra="forbid", frozen=True)

    data: Place = Field(description="a folder of classes, a CSV, or a COCO file or folder")
    images: Place | None = Field(None, description="where a table's pictures lie; none = beside it")
    columns: dict[str, str] = Field(
        default_factory=dict[str, str], description="a table's columns for image, label, group, split and context"
    )
    classes: list[str] = Field(list[str](), description="scarce classes; none = the measured-weakest")
    per_class: int = Field(100, ge=1, description="pictures to make of each")
    method: str = Field("lora", description="a method of the registry, base or placebo")
    together: bool = Field(False, description="one training with a token a class, instead of one a class")
    base: str = Field("embedded", description="embedded, a diffusers folder, a .safetensors checkpoint or a Hub id")
    noun: str | None = Field(None, description="what kind of thing all classes are; none = what each is called")
    nouns: dict[str, str] = Field(default_factory=dict[str, str], description="what a class is, by its label")
    strength: float = Field(
        0.7, gt=0, le=1, description="how much of a real picture is drawn anew; 1 = from noise alone"
    )
    inpaint: bool = Field(False, description="draw anew only what lies around the things that boxes or outlines tell")
    filter: Literal["none", "classifier", "likeness"] = Field("likeness", description="which pictures are kept")
    encoder: str | None = Field(None, description="what compares pictures; none = the best one on this machine")
    settings: dict[str, Any] = Field(default_factory=dict[str, Any], description="settings of the method")
    steps: int = Field(30, ge=1, description="denoising steps of a picture")
    guidance: float | None = Field(None, description="guidance scale; none = what suits the base")
    licence: str | None = Field(None, description="licence of the pictures, which what is made of them inherits")
    seed: int = Field(0, ge=0, lt=2**31, description="decides all randomness")
    device: str | None = Field(None, description="cpu, cuda or mps; none = cuda where there is one, else cpu")

    def noun_of(self, label: str) -> str:
        """What a class is called in prompts."""
        return self.nouns.get(label) or self.noun or re.sub(r"[_\W]+", " ", label).strip() or "thing"

    def token_of(self, label: str, labels: tuple[str, ...]) -> str:
        """The rare word of a class; in trainings of their own classes may share one."""
        return RARE_TOKENS[labels.index(label)] if self.together else RARE_TOKENS[0]

    def require_tokens(self, labels: tuple[str, ...]) -> None:
        """UsageError where one training has more classes than there are rare words."""
        if self.together and len(labels) > len(RARE_TOKENS):
            raise UsageError(
                f"One training of {len(labels)} classes needs as many rare words, and there are {len(RARE_TOKENS)}.",
                "Name fewer with `classes`, or leave out `together`.",
                code="classes.too_many",
                field="classes",
            )


def anywhere(recipe: Recipe) -> dict[str, Json]:
    """The recipe as a worker in another folder understands it."""
    places = {"data": recipe.data.absolute(), "images": recipe.images and recipe.images.absolute()}
    return recipe.model_copy(update=places | {"base": lasting_name(recipe.base)}).model_dump(mode="json")


def require_labels(recipe: Recipe, found: LabelledSet) -> None:
    """UsageError for a class or noun of no picture."""
    for label in (*recipe.classes, *recipe.nouns):
        if label not in found.labels:
            shown = ", ".join(found.labels[:20]) + (" ..." if len(found.labels) > 20 else "")
            raise UsageError(
                f"No picture has the label {label!r}.", f"There are: {shown}.", code="label.unknown", field="classes"
            )


def folder_name(label: str, labels: tuple[str, ...]) -> str:
    """A label as a folder's name: itself where that is one, and else told apart by its number."""
    plain = re.sub(r"[^\w. -]+", "-", label).strip(" .")
    return plain if plain == label else f"{plain or 'class'}-{labels.index(label)}"
