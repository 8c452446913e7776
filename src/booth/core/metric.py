"""A metric: what it looks at, which way is better, and what it found."""

from __future__ import annotations

import math
from abc import ABC, abstractmethod
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass, field
from typing import Any, ClassVar, Generic, Literal, TypeVar

import numpy as np
from numpy.typing import NDArray
from PIL.Image import Image

from booth.core.encoder import Encoder, Role
from booth.core.json_values import Json
from booth.core.method import Subject
from booth.core.statistics import interval


@dataclass(frozen=True)
class Drawn:
    """One picture with what was asked for."""

    image: Image
    prompt: str  # as it was drawn
    plain: str  # without the rare token
    seed: int
    reference: int | None = None  # which reference it is, where photos stand in for drawings


@dataclass(frozen=True)
class Shared:
    """One of several subjects that are used together: its photos, and pictures in which only it was asked for."""

    subject: Subject
    references: Sequence[Image]
    loaded: Sequence[Drawn]  # with all concepts loaded
    alone: Sequence[Drawn]  # the same with its own concept alone; none where all were taught in one run
    untouched: Sequence[Drawn]  # the same by the untouched base


@dataclass(frozen=True)
class Evidence:
    """All that metrics may look at for one row of a table; what is empty cannot be measured."""

    subject: Subject
    drawn: Sequence[Drawn]
    references: Sequence[Image]  # photos of the subject to compare with, held out if there are any
    photos: Sequence[Image] = ()  # photos that were learned from
    untouched: Sequence[Drawn] = ()  # by the untouched base at the same prompts and seeds
    class_drawn: Sequence[Image] = ()  # "a photo of a dog"
    class_base: Sequence[Image] = ()  # the same by the untouched base
    unrelated_drawn: Sequence[Image] = ()  # prompts that name neither the subject nor its class
    unrelated_base: Sequence[Image] = ()
    lookalikes: Sequence[Image] = ()  # other individuals, best on the references' backgrounds
    cost: Mapping[str, float] = field(default_factory=dict[str, float])
    subjects_together: Sequence[Shared] = ()  # this one first, where it is used with others
    drawn_together: Sequence[Drawn] = ()  # all of those asked for at once, at the same templates and seeds
    subject_mask: Callable[[Image], NDArray[np.bool_]] | None = None  # (H, W); none = where something stands out


@dataclass(frozen=True)
class Score:
    """One number with its 95 % bootstrap interval."""

    metric: str
    value: float
    low: float
    high: float
    units: tuple[float, ...] = ()  # what was resampled: the mean of each prompt, or each picture
    part: str = ""
    encoder: str = ""
    details: Mapping[str, Any] = field(default_factory=dict[str, Any])

    @property
    def name(self) -> str:
        """The metric, its part and the encoder: numbers of different encoders never share a name."""
        return "/".join(word for word in (self.metric, self.part, self.encoder) if word)

    def to_json(self) -> dict[str, Json]:
        """Plain values, rounded to six places; what is not finite is null."""
        numbers = {"value": self.value, "low": self.low, "high": self.high}
        told: dict[str, Any] = {k: round(v, 6) if math.isfinite(v) else None for k, v in numbers.items()}
        told |= {"metric": self.metric, "part": self.part, "encoder": self.encoder}
        told["units"] = [round(u, 6) for u in self.units]
        return told | dict(self.details)


class Refused(Exception):
    """A number that would mislead is not given; the message says why."""


E = TypeVar("E", bound=Encoder | None, contravariant=True)


class Metric(ABC, Generic[E]):
    """One way to look at the evidence, through an encoder E that has the role it needs, or through none."""

    name: ClassVar[str]
    title: ClassVar[str]
    better: ClassVar[Literal["higher", "lower"]]
    range: ClassVar[tuple[float, float]]
    needs: ClassVar[tuple[str, ...]]  # fields of Evidence that must not be empty
    role: ClassVar[Role | None]  # of the encoder; none = none is used
    source: ClassVar[str]
    not_of_styles: ClassVar[str] = ""  # why it is refused for a style; empty = it is measured
    parts: ClassVar[Mapping[str, str]] = {}  # what a part is called, where its name does not say it

    @classmethod
    def titled(cls, part: str) -> str:
        """What the number of a part is called."""
        return cls.parts.get(part) or (f"{cls.title}, {part.replace('_', ' ')}" if part else cls.title)

    @classmethod
    def shown(cls, value: float, part: str) -> str:
        """The number of a part, for people."""
        return f"{value:.3f}"

    @abstractmethod
    def measure(self, evidence: Evidence, encoder: E) -> list[Score]:
        """Every part, through an encoder with the role or None. Raises Refused where a number would mislead."""

    def score(self, units: Sequence[float], encoder: Encoder | None, part: str = "", **details: object) -> Score:
        """The mean over `units` with its bootstrap interval."""
        low, high = interval(units)
        name = encoder.name if encoder else ""
        value = math.fsum(units) / len(units)
        return Score(self.name, value, low, high, tuple(float(u) for u in units), part, name, details)


def by_prompt(values: Sequence[float], drawn: Sequence[Drawn]) -> list[float]:
    """The mean of each prompt's pictures, in the order of the prompts: pictures of one prompt are no new evidence."""
    grouped: dict[str, list[float]] = {}
    for value, picture in zip(values, drawn, strict=True):
        grouped.setdefault(picture.prompt, []).append(float(value))
    return [math.fsum(group) / len(group) for group in grouped.values()]
