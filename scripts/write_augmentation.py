"""Write the tables of docs/studies/augmentation.md from proofs, of which results/augmentation keeps what was found.

    python scripts/write_augmentation.py [NAME=AUG/proof/proof.json ...]

Each table stands behind a comment with the name of its proof, up to the next comment.
"""

from __future__ import annotations

import json
import re
import sys
from pathlib import Path
from typing import Any

ROOT = Path(__file__).parent.parent
PAGE = ROOT / "docs" / "studies" / "augmentation.md"
RESULTS = ROOT / "results" / "augmentation"
PLACES = ("data", "images")  # where things lay on the machine that did it
TABLE = re.compile(r"(?<=<!-- table of )([\w-]+) -->\n.*?(?=<!-- end -->)", re.DOTALL)
COLUMNS = {"balanced_accuracy": "balanced accuracy", "macro_f1": "macro F1", "auc": "AUC", "calibration_error": "ECE"}


def keep(name: str, proof: Path) -> None:
    """Keep what a proof found."""
    found = json.loads(proof.read_text())
    found["recipe"] = {key: value for key, value in found["recipe"].items() if key not in PLACES}
    RESULTS.mkdir(parents=True, exist_ok=True)
    (RESULTS / f"{name}.json").write_text(json.dumps(found, indent=1) + "\n")


def table(found: dict[str, Any]) -> str:
    """Every arm of every classifier, what was drawn, and the verdicts."""
    scarce = found["recipe"]["classes"]
    head = ["classifier", "arm", *COLUMNS.values(), *(f"recall {name}" for name in scarce)]
    lines = [f"| {' | '.join(head)} |", f"| --- | --- {'| --: ' * (len(head) - 2)}|"]
    for classifier, arms in found["numbers"].items():
        for arm, values in arms.items():
            told = [f"{values[key]:.3f}" for key in [*COLUMNS, *(f"recall {name}" for name in scarce)]]
            told[0] += f" ± {values['deviation_over_seeds']:.3f}"
            lines.append(f"| {classifier} | {arm} | {' | '.join(told)} |")
    lines += [
        "",
        "| made | drawn | copies | above the floor | outliers | left out |",
        "| --- | --: | --: | --: | --: | --: |",
    ]
    for arm, made in found["made"].items():
        shares = [f"{made[key]:.0%}" for key in ("copies", "above_floor", "outliers", "left_out")]
        lines.append(f"| {arm} | {made['drawn']} | {' | '.join(shares)} |")
    return "\n".join(
        [*lines, "", *(f"- {verdict['classifier']}: {verdict['sentence']}" for verdict in found["verdicts"])]
    )


def page(text: str) -> str:
    """The page with the tables of what is kept."""

    def written(match: re.Match[str]) -> str:
        found = json.loads((RESULTS / f"{match[1]}.json").read_text())
        return f"{match[1]} -->\n{table(found)}\n"

    return TABLE.sub(written, text)


def main() -> None:
    for word in sys.argv[1:]:
        name, _, proof = word.partition("=")
        keep(name, Path(proof))
    PAGE.write_text(page(PAGE.read_text()))


if __name__ == "__main__":
    main()
