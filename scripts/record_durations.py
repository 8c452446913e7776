"""Record how long tests take, by which the default run leaves some out (tests/tiers.py).

    python -m pytest -n auto --dist loadgroup -m "" --junitxml=build/tests.xml
    python scripts/record_durations.py build/tests.xml

Tests that are not in the report keep what was recorded of them. Run it where nothing else runs.
"""

from __future__ import annotations

import argparse
import json
import sys
import xml.etree.ElementTree as ET
from collections import defaultdict
from pathlib import Path

sys.path.insert(0, str(Path(__file__).resolve().parent.parent / "tests"))

from tiers import CASE, DURATIONS, read_durations

ROOT = DURATIONS.parent.parent


def reported(report: Path) -> dict[tuple[str, str], float]:
    """Seconds by file and name, of what passed."""
    found: dict[tuple[str, str], float] = {}
    for case in ET.parse(report).iter("testcase"):
        if len(case) == 0:  # neither failed nor skipped
            file = case.attrib["classname"].replace(".", "/") + ".py"
            found[file, case.attrib["name"].partition("@")[0]] = round(float(case.attrib["time"]), 1)
    return found


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("report", type=Path, help="what pytest wrote with --junitxml")
    asked = parser.parse_args()
    merged = (read_durations() if DURATIONS.exists() else {}) | reported(asked.report)
    files: dict[str, dict[str, float]] = defaultdict(dict)
    for (file, name), seconds in sorted(merged.items()):
        if seconds >= CASE and (ROOT / file).exists():
            files[file][name] = seconds
    about = "Seconds of tests that take long, on two slow cores; scripts/record_durations.py writes this."
    DURATIONS.write_text(json.dumps({"about": about, "seconds": files}, indent=0, ensure_ascii=False) + "\n", "utf-8")
    print(f"{sum(map(len, files.values()))} tests take {CASE} s or more")


if __name__ == "__main__":
    main()
