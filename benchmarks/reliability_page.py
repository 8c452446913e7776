"""Write docs/reference/reliability.md from what the scripts of faults found.

python benchmarks/reliability_page.py
"""

from __future__ import annotations

import json
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any

ROOT = Path(__file__).parent.parent
PAGE = ROOT / "docs" / "reference" / "reliability.md"
KILLS = ("kills", "unreadable", "silent restarts", "wrong resumes", "failed", "resumed")
FAULTS = ("tried", "recovered", "one clear error", "unclear", "unreadable", "same bits afterwards")
TEXT = """# Nothing lost: what was tried

<!-- Written by benchmarks/reliability_page.py. -->

Each table is what a script found; the script says how it looks. All but the second ran on a machine that other work
kept busy, at low priority: moments are random in the work, and no time is promised there.

## SIGKILL at random moments

`benchmarks/kills.py`: {kills} kills in {minutes:.0f} minutes, over every method and the work around a training,
on a tiny random base, {steps} steps with a checkpoint after each. An attempt is killed after a time drawn
evenly from zero to what the whole work takes, up to twelve times, and then goes on to its end. *Unreadable* is
what lies there under its own name and does not verify; a *silent restart* is a first step elsewhere than at the
newest whole checkpoint; a *wrong resume* is other bits in the end than without a kill.

{killed}

## SIGTERM, and a node that is taken away

`benchmarks/stops.py`: {stops} runs of the embedded base, {stop_steps} steps of {methods}, asked to
end at a moment drawn evenly from the life of one. Clouds give {promised:g} s. Counted are the seconds until the
process has ended, and then there has to lie a checkpoint that verifies, of the last step told. On average
{load:.1f} processes wanted the {cores} cores; in an earlier measurement eleven did, and one node of six took 31.2 s.

{stopped}

*training* is SIGTERM to `booth train`; *fleet* SIGTERM to a driver, whose worker saves and brings its checkpoint
to its place; *node* a training that heeds a cluster's notice, which each worker asks for every two seconds (a file
stands in for the cluster's answer). Where no step was made yet there is nothing to save.

## Disks, clocks, and two at once

`benchmarks/faults.py`: calls of write, fsync, rename or mkdir below the work's folder fail from {places} on, as
on a full disk (ENOSPC), a broken one (EIO) or one that cannot be written (EROFS), under {works}. Then the fault
goes away and the same command is given again.

{failed}

## Configurations that nobody would write

`benchmarks/hostile.py`: {examples} values, files, assignments and manifests made by hypothesis. The slowest
took {slowest} s. Its first run found two tracebacks, in `settings` that are no table from Python and in a
manifest's `~nobody`; both are refused or read since, with a test of each.

{refused}

## What else is tested

In the suite, each time it runs: SIGKILL at every place of a save and of the writing of a concept, full disks of
bytes that are counted, lost pipes and closed terminals, a killed studio, bad photo sets and bad files of many
kinds, losses that are not finite, memory that runs out in a step (the step is made again in smaller parts of the
same batch, that is told and recorded, and on the lowest rung it ends with advice), a store that answers 503 to
every third request, killed workers and drivers of a fleet, two drivers at one place.

## What was not tried

Power that is cut: what a disk says it kept is believed. Memory that runs out on a GPU: what is tested is an
allocator of the CPU that refuses. A real bucket, and a Ray cluster of several machines; that Ray's notice of a
node that is taken away is heeded is tested without a cluster.
"""


def page() -> str:
    """The whole page."""
    kills, faults, hostile, stops = (read(name) for name in ("kills", "faults", "hostile", "stops"))
    killed = [[row["work"], *(row.get(k, 0) for k in KILLS)] for row in [*kills["rows"], whole(kills)]]
    failed = [[row["fault"], *(row.get(k, 0) for k in FAULTS)] for row in [*faults["rows"], whole(faults)]]
    return TEXT.format(
        kills=kills["total"]["kills"],
        minutes=kills["minutes"],
        steps=kills["about"]["steps"],
        killed=table(["work", *KILLS], killed),
        stops=sum(row["runs"] for row in stops["rows"]),
        stop_steps=stops["about"]["steps"],
        methods=", ".join(stops["about"]["methods"]),
        promised=stops["about"]["promised_seconds"],
        load=stops["load"][1],
        cores=stops["cores"],
        stopped=table(list(stops["rows"][0]), [list(row.values()) for row in stops["rows"]]),
        places="call " + ", ".join(map(str, faults["about"]["calls"])),
        works=", ".join(faults["about"]["works"]),
        failed=table(["fault", *FAULTS], failed),
        examples=hostile["examples"],
        slowest=hostile["slowest_seconds"],
        refused=table(["kind", "examples"], sorted(hostile["counts"].items())),
    )


def whole(result: Mapping[str, Any]) -> dict[str, Any]:
    """The last row of a table."""
    return {"work": "**all**", "fault": "**all**", **result["total"]}


def table(header: Sequence[str], rows: Sequence[Sequence[Any]]) -> str:
    """A table of markdown."""
    lines = [header, ["---"] * len(header), *([str(cell) for cell in row] for row in rows)]
    return "\n".join(f"| {' | '.join(line)} |" for line in lines)


def read(name: str) -> Any:
    """One script's results."""
    return json.loads((ROOT / "results" / f"{name}.json").read_text(encoding="utf-8"))


if __name__ == "__main__":
    PAGE.write_text(page(), encoding="utf-8")
