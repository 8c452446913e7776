"""Whether a ratio in results/ got worse since it was last recorded, whatever the machine.

    python benchmarks/history.py --check     # 1 as the exit code where one did
    python benchmarks/history.py --record    # add today's to results/history.jsonl, worse ones too

Seconds and bytes depend on the machine, what they are in proportion to each other hardly does: a method's step beside
LoRA's, the part of a step that is spent in the model, the memory that checkpointing leaves, an artefact and its base.
"""

from __future__ import annotations

import argparse
import json
import subprocess
import sys
from collections.abc import Callable, Iterator
from dataclasses import dataclass
from datetime import UTC, datetime
from pathlib import Path
from typing import Any

ROOT = Path(__file__).parent.parent
HISTORY = "history.jsonl"
Values = dict[str, float]


@dataclass(frozen=True)
class Ratio:
    """A kind of ratio that one file of results holds for several things."""

    name: str
    file: str
    read: Callable[[Any], Values]  # the file's content to a ratio for each thing
    tolerance: float  # how much worse, in proportion, is still noise
    lower_is_better: bool = True

    def worse_by(self, before: float, now: float) -> float:
        """How much worse it is now, in proportion to before; below nothing where it is better."""
        return (now - before) / before if self.lower_is_better else (before - now) / before


def step_times(data: Any) -> Values:
    """Milliseconds of a method's step beside LoRA's."""
    times = {row["method"]: row["milliseconds_per_step"] for row in data["rows"]}
    return {name: time / times["lora"] for name, time in times.items() if name != "lora"}


def shares(data: Any) -> Values:
    """Part of a method's step that is spent inside the model."""
    return {row["method"]: row["share_in_model"] for row in data["rows"]}


def waits(data: Any) -> Values:
    """Seconds from command to concept beside LoRA's."""
    seconds = data["seconds_from_command_to_concept"]
    return {name: value / seconds["lora"] for name, value in seconds.items() if name != "lora"}


def kept(data: Any) -> Values:
    """Bytes that a picture's pixel keeps for the backward pass, with checkpointing beside without."""
    return {name: row["checkpointing"]["per_pixel"] / row["plain"]["per_pixel"] for name, row in data.items()}


def artefacts(data: Any) -> Values:
    """Values that a method saves beside those of a whole model."""
    bases = {name: sum(base["parameters"].values()) for name, base in data["bases"].items()}
    return {f"{row['base']}/{row['method']}": row["parameters"] / bases[row["base"]] for row in data["rows"]}


RATIOS = (
    Ratio("step beside LoRA's", "step_share.json", step_times, 0.2),
    Ratio("share of a step in the model", "step_share.json", shares, 0.03, lower_is_better=False),
    Ratio("command to concept beside LoRA's", "wall_times.json", waits, 0.2),
    Ratio("activations kept when checkpointing", "kept_activations.json", kept, 0.05),
    Ratio("values saved beside the base's", "artefact_sizes.json", artefacts, 0.01),
)


def read_ratios(folder: Path) -> dict[str, Values]:
    """Every ratio that the results in `folder` hold, by its kind."""
    return {r.name: r.read(json.loads((folder / r.file).read_bytes())) for r in RATIOS if (folder / r.file).is_file()}


def read_history(folder: Path) -> dict[str, Values]:
    """What was last recorded of each ratio."""
    last: dict[str, Values] = {}
    file = folder / HISTORY
    for line in file.read_text(encoding="utf-8").splitlines() if file.is_file() else ():
        for kind, values in json.loads(line)["ratios"].items():
            last.setdefault(kind, {}).update(values)
    return last


def regressions(before: dict[str, Values], now: dict[str, Values]) -> Iterator[str]:
    """A sentence for each ratio that got worse by more than its tolerance."""
    for ratio in RATIOS:
        recorded = before.get(ratio.name, {})
        for thing, value in now.get(ratio.name, {}).items():
            if thing in recorded and (worse := ratio.worse_by(recorded[thing], value)) > ratio.tolerance:
                yield (
                    f"{ratio.name}, {thing}: {value:.4g} where {recorded[thing]:.4g} was recorded, "
                    f"worse by {worse:.0%} ({ratio.tolerance:.0%} is noise; {ratio.file})"
                )


def record(folder: Path, ratios: dict[str, Values]) -> None:
    """Add a line to the history: when, at which commit, with which ratios."""
    commit = subprocess.run(["git", "rev-parse", "HEAD"], cwd=ROOT, capture_output=True, text=True).stdout.strip()
    rounded = {kind: {name: float(f"{value:.5g}") for name, value in values.items()} for kind, values in ratios.items()}
    line = {"recorded": datetime.now(UTC).date().isoformat(), "commit": commit, "ratios": rounded}
    with (folder / HISTORY).open("a", encoding="utf-8") as file:
        file.write(json.dumps(line) + "\n")


def main() -> int:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    action = parser.add_mutually_exclusive_group(required=True)
    action.add_argument("--check", action="store_true")
    action.add_argument("--record", action="store_true")
    parser.add_argument("--results", type=Path, default=ROOT / "results")
    options = parser.parse_args()
    now = read_ratios(options.results)
    worse = list(regressions(read_history(options.results), now))
    print("\n".join(worse) or f"{sum(map(len, now.values()))} ratios, none worse than it was recorded.")
    if options.record:
        record(options.results, now)
    return bool(worse) and options.check


if __name__ == "__main__":
    sys.exit(main())
