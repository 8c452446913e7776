"""A measurement in a table, in one line and on a page; and whether it is slower than what else does the same."""

from __future__ import annotations

import json
from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from pathlib import Path

from pydantic import BaseModel, ConfigDict, Field, ValidationError

from booth.bench.measure import Bench, Row
from booth.core.errors import BadDataError
from booth.core.words import size

PEERS = "peers.json"


class Peer(BaseModel):
    """What another program needs for a step of a method, on the same machine, base and rows."""

    model_config = ConfigDict(extra="forbid", frozen=True)

    bench: str  # the name of the measurement that it stands beside
    method: str
    rows: int = Field(ge=1)
    seconds: float = Field(gt=0)
    what: str  # the program, its version and its settings
    limit: float = Field(1.0, gt=0, description="how many times as long a step of booth's may take")


@dataclass(frozen=True)
class Verdict:
    """A step beside that of another program."""

    method: str
    ratio: float
    peer: Peer

    @property
    def passed(self) -> bool:
        """Whether it is within the limit."""
        return self.ratio <= self.peer.limit

    @property
    def told(self) -> str:
        """In a sentence."""
        than = "within" if self.passed else "over"
        return f"{self.method}: {self.ratio:.2f} times {self.peer.what}, {than} the limit of {self.peer.limit:g}"


def rows(bench: Bench) -> list[list[str]]:
    """The table, its head first."""
    head = ["method", "rows", "s a step", "±", "GFLOP", "of the rate", "memory", "planned"]
    return [head, *([*_cells(row)] for row in bench.methods)]


def _cells(row: Row) -> Iterator[str]:
    yield from (row.method, str(row.rows), f"{row.seconds:.3f}", f"{row.error:.3f}", f"{row.gigaflop:.1f}")
    yield from (f"{row.share:.0%}", size(row.peak_bytes), size(row.planned_bytes))


def about(bench: Bench) -> list[str]:
    """What was measured where, and what belongs to no method."""
    lines = [
        f"base       {bench.base}, {bench.parameters / 1e6:.1f} M values, {bench.side} pixels, {bench.precision}",
        f"machine    {bench.processor}, {bench.device}, {bench.cores} cores, {bench.threads} threads, {busy(bench)}",
        f"versions   booth {bench.booth}, torch {bench.torch}",
        f"matrices   {bench.gigaflop_per_second:.0f} GFLOP/s",
        f"load       {bench.load_seconds:.1f} s",
    ]
    if bench.start_seconds is not None:
        lines.append(f"start      {bench.start_seconds:.1f} s")
    if bench.picture_seconds is not None:
        lines.append(f"a picture  {bench.picture_seconds:.1f} s in 30 steps")
    return lines


def busy(bench: Bench) -> str:
    """What else the machine did."""
    return "load unknown" if bench.load is None else f"load {bench.load:g}"


def line(bench: Bench) -> str:
    """All that an issue needs, in one line."""
    where = f"{bench.processor}, {bench.device}, {bench.cores} cores, {busy(bench)}"
    where += f", {bench.gigaflop_per_second:.0f} GFLOP/s"
    steps = ", ".join(f"{row.method} {row.seconds:.3g} s ({row.share:.0%})" for row in bench.methods)
    drawn = f", picture {bench.picture_seconds:.3g} s" if bench.picture_seconds is not None else ""
    begun = f", start {bench.start_seconds:.3g} s" if bench.start_seconds is not None else ""
    what = f"{Path(bench.base).name} at {bench.side} in {bench.precision}"
    return f"booth {bench.booth}, torch {bench.torch}, {where}; {what}: {steps}{drawn}{begun}"


def save(bench: Bench, folder: Path) -> Path:
    """Write a measurement among the others; what the same machine measured of that base before is replaced."""
    folder.mkdir(parents=True, exist_ok=True)
    file = folder / f"{bench.name}.json"
    file.write_text(json.dumps(bench.to_json(), indent=1) + "\n", encoding="utf-8")
    return file


def read(folder: Path) -> list[Bench]:
    """All measurements in a folder; BadDataError for a file that is none."""
    found: list[Bench] = []
    for file in sorted(folder.glob("*.json")):
        if file.name != PEERS:
            try:
                found.append(Bench.of_json(json.loads(file.read_bytes())))
            except (ValueError, TypeError, KeyError) as error:
                raise BadDataError(
                    f"{file} is no measurement.", "Take it away, or measure anew.", code="bench.no_measurement"
                ) from error
    return found


def read_peers(folder: Path) -> list[Peer]:
    """What other programs need, where the folder says so; BadDataError for a file that cannot be read."""
    file = folder / PEERS
    if not file.is_file():
        return []
    try:
        return [Peer.model_validate(entry) for entry in json.loads(file.read_bytes())]
    except (ValueError, ValidationError) as error:
        raise BadDataError(
            f"{file} cannot be read: {error}", "Mend it, or leave `check` out.", code="bench.bad_peers", field="check"
        ) from error


def beside(bench: Bench, peers: Sequence[Peer]) -> list[Verdict]:
    """A verdict for each step that was measured of another program on this very machine and base."""
    own = [(row, peer) for row in bench.methods for peer in peers if peer.bench == bench.name]
    pairs = [(row, peer) for row, peer in own if (row.method, row.rows) == (peer.method, peer.rows)]
    return [Verdict(row.method, row.seconds / peer.seconds, peer) for row, peer in pairs]


def page(found: Sequence[Bench], peers: Sequence[Peer]) -> str:
    """Every measurement, as Markdown."""
    text = [
        "# How fast\n",
        "What `booth bench` measured on each machine that it ran on. *Of the rate* is how much of the rate at which",
        "the machine multiplies large matrices a step reaches; *memory* is the most that its tensors take at once,",
        "and *planned* what the memory plans count for it, adapters left out.",
    ]
    for bench in found:
        head, *cells = rows(bench)
        text += [f"\n## {Path(bench.base).name} on {bench.processor}, {bench.device}, {bench.precision}\n"]
        text += [f"{bench.created}. " + "; ".join(" ".join(each.split()) for each in about(bench)) + ".\n"]
        text += [_markdown(head), _markdown(["---"] * len(head)), *map(_markdown, cells)]
        if verdicts := beside(bench, peers):
            text += ["", *(f"- {verdict.told}" for verdict in verdicts)]
    return "\n".join(text) + "\n"


def _markdown(cells: Sequence[str]) -> str:
    return f"| {' | '.join(cells)} |"
