"""Pictures from elsewhere: made by another tool for each fold, with the hashes of what its generator saw."""

from __future__ import annotations

import hashlib
from dataclasses import dataclass, field
from pathlib import Path

from booth.augment.copies import Originals
from booth.augment.leaks import LeakError, require_unseen
from booth.augment.making import Made
from booth.augment.recipe import folder_name
from booth.augment.splits import Fold
from booth.core.encoder import Encoder
from booth.core.errors import UsageError
from booth.data.beside import PHOTO_SUFFIXES

SEEN = "seen.txt"


@dataclass
class External:
    """The pictures of one fold, as a Maker has them; LeakError if the generator saw what it is judged by."""

    name: str
    folder: Path
    fold: Fold
    labels: tuple[str, ...]
    encoder: Encoder
    _made: dict[str, list[Made]] = field(default_factory=dict[str, list[Made]], init=False)

    def __post_init__(self) -> None:
        home = self.folder / f"fold-{self.fold.index}"
        if not (home / SEEN).is_file():
            raise UsageError(
                f"{home} has no {SEEN}.",
                f"For each fold, draw from its training side alone (folds.csv says which "
                "pictures "
                f"that are) into {home}/CLASS/, and write the sha256 of every picture that was learned from into "
                f"{home / SEEN}, one a line.",
                code="pictures.without_account",
                field="pictures",
            )
        seen = (home / SEEN).read_text(encoding="utf-8").split()
        for side in (self.fold.test, self.fold.validation):
            require_unseen(seen, side, f"The generator of {home}")
        self._require_no_real(home)

    def _require_no_real(self, home: Path) -> None:
        """A real picture of the test side is none that was made."""
        judged = {p.sha256: p for side in (self.fold.test, self.fold.validation) for p in side.pictures}
        for label in self.labels:
            for file in self._files(home, label):
                found = judged.get(hashlib.sha256(file.read_bytes()).hexdigest())
                if found is not None:
                    raise LeakError(
                        f"{file} is {found.name}, which is for judging.",
                        "Take it out of the made pictures.",
                        code="leak.judged_pictures",
                        field="pictures",
                    )

    def _files(self, home: Path, label: str) -> list[Path]:
        folder = home / folder_name(label, self.fold.train.labels)
        return sorted(p for p in folder.glob("*") if p.suffix.lower() in PHOTO_SUFFIXES)

    def made(self, label: str, count: int | None = None) -> list[Made]:
        """The first `count` pictures of a class, or as many as there are."""
        if label not in self._made:
            files = self._files(self.folder / f"fold-{self.fold.index}", label)
            near = Originals(self.fold.train.of(label), self.encoder).nearest(files) if files else []
            self._made[label] = [
                Made(
                    file, label, 0, "", 1.0, self.name, None, n.picture.group, n.picture.name, n.likeness, n.is_copy,
                    n.above_floor, n.is_outlier,
                )
                for file, n in zip(files, near, strict=True)
            ]  # fmt: skip
        return self._made[label][:count]

    def kept(self, label: str, wanted: int, filter_: str) -> list[Made]:
        """The first `wanted` pictures that pass the filter."""
        return [m for m in self.made(label) if m.passes(filter_)][:wanted]
