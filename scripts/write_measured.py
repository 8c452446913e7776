"""Write what the studies measured of each method where `booth recommend` reads it: src/booth/compare/measured.json.

Run it after new runs of the studies:

    python scripts/write_measured.py

A test fails while the file differs from what this script would write.
"""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any

from booth.compare.experiment import read_setting, read_study, run_file
from booth.compare.recommend import MEASURED
from booth.compare.study_page import on_an_earlier_base, read_figures
from booth.registry import METHODS

ROOT = Path(__file__).parent.parent
RESULTS = ROOT / "results" / "studies"
# The first that was asked of enough subjects on the present base, or else on the one whose runs were not put aside yet.
STUDIES = ("every-method", "dreambooth-and-lora")
FEWEST = 3  # subjects, below which a mean says nothing


def measured() -> dict[str, Any]:
    """Means over the subjects that a method was taught, for every method that was taught enough of them."""
    setting = read_setting(ROOT / "experiments")
    studies = [read_study(ROOT / "experiments" / f"{name}.toml", setting) for name in STUDIES]
    found = [read_figures(study, RESULTS) for study in studies]
    able = [f for f in found if len({r["subject"] for r in f.runs}) >= FEWEST]
    present = (f for f in able if not on_an_earlier_base(f, setting))
    latest = (
        f for f in able if all(run_file(RESULTS, r["subject"], r["arm"]["name"], r["seed"]).is_file() for r in f.runs)
    )
    figures = next(present, next(latest, found[0]))
    study = figures.study
    table: dict[str, dict[str, float | bool]] = {}
    for method in (arm for arm in study.arms if arm in METHODS):
        columns = {key: figures.of(method, key, study.guidance[0]) for key in ("joint", "identity", "seconds")}
        if len(columns["joint"]) >= FEWEST:
            table[method] = {key: round(sum(c.values()) / len(c), 3) for key, c in columns.items()}
            table[method]["subjects"] = len(columns["joint"])
    best = max(table, key=lambda method: table[method]["joint"], default="")
    for method, values in table.items():
        behind = figures.paired(best, method, "joint", study.guidance[0])
        values["alike"] = method == best or behind is None or behind.is_noise  # to the best, within noise
    return {"source": f"docs/studies/{study.name}.md", "methods": table}


if __name__ == "__main__":
    MEASURED.write_text(json.dumps(measured(), indent=1) + "\n", encoding="utf-8")
    print(MEASURED)
