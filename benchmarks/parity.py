"""One step's loss by booth beside the same step in straight lines of diffusers' own calls, for every family.

    python benchmarks/parity.py --out results/parity.json

The straight lines are those of the tests (tests/straight_lines.py), on tiny random bases of the families' own classes.
"""

from __future__ import annotations

import argparse
import json
import sys
import tempfile
from pathlib import Path

from booth import __version__
from booth.core.commit import package_versions
from booth.families.quiet import hush

sys.path.append(str(Path(__file__).parent.parent / "tests"))
from straight_lines import CASES, one_step


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--out", type=Path, default=Path("results/parity.json"))
    out = parser.parse_args().out
    hush()
    rows: list[dict[str, str | float]] = []
    for family, prediction in CASES:
        with tempfile.TemporaryDirectory() as folder:
            ours, theirs = one_step(family, prediction, Path(folder))
        difference = abs(ours - theirs) / theirs
        rows.append({"family": family, "prediction": prediction, "booth": ours, "diffusers": theirs,
                     "relative_difference": difference})  # fmt: skip
        print(f"{family} {prediction}: {ours:.7f} against {theirs:.7f}, {difference:.1e} apart")
    told = {"losses": rows, "booth": __version__, "versions": package_versions()}
    out.write_text(json.dumps(told, indent=1) + "\n", encoding="utf-8")


if __name__ == "__main__":
    main()
