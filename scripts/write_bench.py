"""Write docs/reference/speed.md from what `booth bench` measured: results/bench.

    booth bench --out results/bench
    python scripts/write_bench.py

A test fails while the page differs from what this script would write.
"""

from __future__ import annotations

from pathlib import Path

from booth.bench.report import page, read, read_peers

ROOT = Path(__file__).parent.parent
RESULTS = ROOT / "results" / "bench"
PAGE = ROOT / "docs" / "reference" / "speed.md"


def text() -> str:
    """The page as it should be."""
    return "<!-- Written by scripts/write_bench.py; measure anew, and do not change the page. -->\n" + page(
        read(RESULTS), read_peers(RESULTS)
    )


if __name__ == "__main__":
    PAGE.write_text(text(), encoding="utf-8")
    print(PAGE)
