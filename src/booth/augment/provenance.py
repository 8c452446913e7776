"""provenance.csv: where every picture of the set comes from, and what licence it inherits."""

from __future__ import annotations

import csv
import io
from collections.abc import Iterable, Sequence
from dataclasses import asdict, dataclass, fields
from pathlib import Path

from booth.core.commit import committed_file

FILE = "provenance.csv"


@dataclass(frozen=True)
class Origin:
    """One line: a drawn picture."""

    file: str  # below the set's folder
    label: str
    source: str  # the real picture that it started from, if any
    group: str  # of the source, or else of the nearest real picture
    fold: str  # of which it saw the training side; empty for the whole set
    seed: int
    prompt: str
    strength: float
    method: str
    concept: str  # hash of the concept's files
    base: str  # hash of the base
    filter: str
    agreement: str  # of the cross-fitted classifier, if it was asked
    nearest: str  # the nearest real picture
    likeness: float  # cosine to it
    encoder: str
    licence: str


def write_origins(origins: Sequence[Origin], file: Path) -> None:
    """Write the table whole."""
    stream = io.StringIO()
    writer = csv.DictWriter(stream, [f.name for f in fields(Origin)], lineterminator="\n")
    writer.writeheader()
    writer.writerows(asdict(o) for o in origins)
    with committed_file(file) as work:
        work.write_text(stream.getvalue(), encoding="utf-8")


def read_rows(file: Path) -> list[dict[str, str]]:
    """The lines of a table that this module, or `write_real`, wrote."""
    with file.open(encoding="utf-8", newline="") as stream:
        return list(csv.DictReader(stream))


def write_table(rows: Iterable[dict[str, str]], names: Sequence[str], file: Path) -> None:
    """Write plain rows whole."""
    stream = io.StringIO()
    writer = csv.DictWriter(stream, names, lineterminator="\n")
    writer.writeheader()
    writer.writerows(rows)
    with committed_file(file) as work:
        work.write_text(stream.getvalue(), encoding="utf-8")
