"""Pictures of one class: drawn, compared with what was learned from, judged, and kept or left out."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from dataclasses import asdict, dataclass, field
from pathlib import Path
from typing import Any

from booth.augment.candidates import Candidate, candidate
from booth.augment.contexts import contexts_of
from booth.augment.copies import Originals
from booth.augment.crossfit import CrossFit
from booth.augment.generator import Generator, require_drawn_alike
from booth.augment.labelled_set import LabelledSet
from booth.augment.recipe import PLACEBO, SPARE, Recipe, folder_name
from booth.augment.state import digest, read_json, write_json
from booth.concept import Concept
from booth.core.alone import alone_at
from booth.core.encoder import Encoder

ROUND = 16  # pictures that are drawn before a filter is asked whether there are enough
SCORES = "scores.json"


@dataclass(frozen=True)
class Made:
    """A drawn picture, and what is known of it."""

    file: Path
    label: str
    seed: int
    prompt: str
    strength: float
    method: str
    source: str | None  # the real picture's name
    group: str  # of the source, or of the nearest picture
    nearest: str
    likeness: float
    is_copy: bool
    above_floor: bool
    is_outlier: bool
    agreement: float | None = None  # how probable the cross-fitted classifier finds the label; 0 for another class

    def passes(self, filter_: str) -> bool:
        """Whether it goes into the set; a copy never does, but as a placebo, which is one by intent."""
        if self.method == PLACEBO:
            return True
        kept = {"none": True, "likeness": not self.is_outlier, "classifier": bool(self.agreement)}[filter_]
        return kept and not self.is_copy


@dataclass
class Maker:
    """Makes pictures of the scarce classes from one training side, in one folder."""

    recipe: Recipe
    training: LabelledSet
    labels: tuple[str, ...]  # the scarce ones
    folder: Path
    generator: Generator
    encoder: Encoder
    judges: Callable[[], CrossFit | None] = lambda: None
    on_picture: Callable[[str, int], None] = lambda _label, _done: None
    _taught: dict[str, Concept] = field(default_factory=dict[str, Concept], init=False)
    _originals: dict[str, Originals] = field(default_factory=dict[str, Originals], init=False)
    _contexts: list[str] | None = field(default=None, init=False)

    @property
    def taught(self) -> dict[str, Concept]:
        """The concept of each class; empty for the untouched base."""
        for label in self.labels:
            self.concept_of(label)
        return self._taught

    def concept_of(self, label: str) -> Concept | None:
        """The concept of a class, taught when it is first needed; None for the untouched base."""
        if label not in self._taught:
            self._taught |= self.generator.teach(self.recipe, self.training, self.labels, self.folder, label)
        return self._taught.get(label)

    def home(self, label: str) -> Path:
        """Where the drawn pictures of a class lie."""
        return self.folder / f"drawn-{self.recipe.strength:g}" / folder_name(label, self.training.labels)

    def candidates(self, label: str, count: int) -> list[Candidate]:
        """The first so many pictures of a class."""
        if self._contexts is None:
            self._contexts = contexts_of(self.training.pictures)
        return [candidate(self.recipe, self.training, self.labels, self._contexts, label, i) for i in range(count)]

    def kept(self, label: str, wanted: int, filter_: str | None = None) -> list[Made]:
        """`wanted` pictures that pass the filter, or as many as came of three times as many."""
        filter_ = filter_ or self.recipe.filter
        count, made = wanted, list[Made]()
        while True:
            made = self.made(label, count)
            passing = [m for m in made if m.passes(filter_)]
            if len(passing) >= wanted or count >= SPARE * wanted:
                return passing[:wanted]
            count = min(SPARE * wanted, count + max(ROUND, wanted - len(passing)))

    def made(self, label: str, count: int) -> list[Made]:
        """The first `count` pictures of a class, kept or not; those that exist are not drawn again.

        Another process that is drawing them is waited for.
        Raises UsageError where those that exist were drawn otherwise.
        """
        home = self.home(label)
        wanted = self.candidates(label, count)
        concept = self.concept_of(label)
        files: list[Path] = []
        with alone_at(home):
            require_drawn_alike(home, self._drawn_by())
            for start in range(0, count, ROUND):
                files += self.generator.draw(self.recipe, wanted[start : start + ROUND], concept, home)
                self.on_picture(label, len(files))
            return self._known(label, wanted, files, home)

    def _drawn_by(self) -> dict[str, Any]:
        """What decides the drawn pictures, beside their numbers and a concept, which is held to its own record."""
        how: dict[str, Any] = {
            name: getattr(self.recipe, name) for name in ("method", "seed", "steps", "guidance", "inpaint")
        }
        if self.recipe.method != PLACEBO:
            how["base"] = self.generator.base_hash
        return how | {"real pictures": digest(sorted(p.sha256 for p in self.training.pictures))}

    def _known(self, label: str, wanted: Sequence[Candidate], files: Sequence[Path], home: Path) -> list[Made]:
        """What is known of each file, read where it was found out before by the same encoder and judges."""
        judges = self.judges() if self.recipe.method != PLACEBO else None
        key = digest([self.encoder.name, self.encoder.weights_hash(), judges.key if judges else None])
        before = read_json(home / SCORES) or {}
        known: list[dict[str, Any]] = before.get("made", []) if before.get("key") == key else []
        known = [k for k, c in zip(known, wanted, strict=False) if k["seed"] == c.seed and k["prompt"] == c.prompt]
        if len(known) < len(files):
            known += self._scored(label, wanted[len(known) :], files[len(known) :], judges)
            write_json(home / SCORES, {"key": key, "made": known})
        return [Made(**{**k, "file": file}) for k, file in zip(known, files, strict=False)]

    def _scored(
        self, label: str, wanted: Sequence[Candidate], files: Sequence[Path], judges: CrossFit | None
    ) -> list[dict[str, Any]]:
        near = self.originals(label).nearest(files)
        groups = [c.source.group if c.source else None for c in wanted]
        agreement = judges.agrees(files, label, groups) if judges else [None] * len(files)
        rows: list[dict[str, Any]] = []
        for each, file, found, said in zip(wanted, files, near, agreement, strict=True):
            made = Made(
                file, label, each.seed, each.prompt, each.strength, self.recipe.method,
                each.source.name if each.source else None, (each.source or found.picture).group,
                found.picture.name, found.likeness, found.is_copy, found.above_floor, found.is_outlier, said,
            )  # fmt: skip
            rows.append(asdict(made) | {"file": file.name})
        return rows

    def originals(self, label: str) -> Originals:
        """What drawn pictures of a class are compared with."""
        if label not in self._originals:
            own = self.training.of(label)
            single = len({p.group for p in own}) < 2
            everything = [p for each in self.labels for p in self.training.of(each)]
            fallback = Originals(everything, self.encoder) if single and len(everything) > len(own) else None
            self._originals[label] = Originals(own, self.encoder, fallback)
        return self._originals[label]
