"""Configurations that nobody would write: ten thousand of them, each of which is taken or refused in plain words.

    python benchmarks/hostile.py --examples 10000 --out results/hostile.json

Hypothesis makes TOML files, assignments and manifests of any text, and of the real keys with values of any kind. What
is not a configuration has to be a BoothError; nothing may be written. The longest time that one took is told, and by
how much the process grew.
"""

from __future__ import annotations

import argparse
import json
import os
import resource
import tempfile
import time
from collections import Counter
from pathlib import Path
from typing import Any

from hypothesis import HealthCheck, Phase, given, settings
from hypothesis import strategies as st

from booth.config import RunConfig
from booth.config.loading import load_run_config
from booth.core.errors import BoothError
from booth.fleet.manifest import read_manifest
from booth.registry import METHODS

KEYS = [*RunConfig.model_fields, "class", "settings.x", "optimizer.beta1"]
KEYS += sorted({key for kind in METHODS.values() for key in kind.Config.model_fields})
TEXTS = st.text(max_size=40)
PLAIN = st.none() | st.booleans() | st.integers() | st.floats() | TEXTS
VALUES = st.recursive(PLAIN, lambda v: st.lists(v, max_size=3) | st.dictionaries(TEXTS, v, max_size=3), max_leaves=6)
NAMES = st.sampled_from(KEYS) | TEXTS


def toml(value: Any) -> str:
    """A value as TOML has it, or nearly."""
    if isinstance(value, dict):
        return "{" + ", ".join(f"{json.dumps(k)} = {toml(v)}" for k, v in value.items()) + "}"
    if isinstance(value, list):
        return f"[{', '.join(map(toml, value))}]"
    return "nan" if value is None else json.dumps(value)


class Counted:
    """What became of the examples."""

    def __init__(self, folder: Path) -> None:
        self.folder = folder
        self.counts: Counter[str] = Counter()
        self.wrong: list[str] = []
        self.slowest = 0.0

    def try_(self, kind: str, call: Any) -> None:
        """Taken, refused, or neither."""
        before = sorted(self.folder.rglob("*"))
        start = time.perf_counter()
        try:
            call()
            self.counts[f"{kind}: taken"] += 1
        except BoothError as error:
            self.counts[f"{kind}: refused"] += 1
            if not str(error).strip():
                self.wrong.append(f"{kind}: a refusal without words")
        except Exception as error:
            self.counts[f"{kind}: traceback"] += 1
            self.wrong.append(f"{kind}: {type(error).__name__}: {str(error)[:200]}")
        self.slowest = max(self.slowest, time.perf_counter() - start)
        if sorted(self.folder.rglob("*")) != before:
            self.wrong.append(f"{kind}: something was written")


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--examples", type=int, default=10_000)
    parser.add_argument("--out", type=Path, default=Path("results/hostile.json"))
    asked = parser.parse_args()
    each = asked.examples // 4
    how = settings(
        max_examples=each, database=None, deadline=None, derandomize=True, phases=[Phase.generate],
        suppress_health_check=list(HealthCheck),
    )  # fmt: skip
    with tempfile.TemporaryDirectory() as temporary:
        home = Path(temporary)
        (home / "photos").mkdir()
        os.chdir(home)
        counted = Counted(home)
        file, table = home / "run.toml", home / "manifest.csv"
        file.touch()
        table.touch()
        start = {"photos": [home / "photos"], "noun": "dog"}
        load_run_config(None, start)
        memory = resource.getrusage(resource.RUSAGE_SELF).ru_maxrss

        @how
        @given(st.dictionaries(NAMES, VALUES, max_size=6))
        def values(given_values: dict[str, Any]) -> None:
            counted.try_("values", lambda: load_run_config(None, start | given_values))

        @how
        @given(st.lists(st.tuples(NAMES, VALUES), max_size=5), st.booleans())
        def files(pairs: list[tuple[str, Any]], whole: bool) -> None:
            lines = [f"{json.dumps(key)} = {toml(value)}" for key, value in pairs]
            data = "\n".join(lines) if whole else "\n".join(lines)[: len(lines) * 7]
            file.write_bytes(data.encode("utf-8", "surrogatepass"))
            counted.try_("files", lambda: load_run_config(file, start))

        @how
        @given(st.lists(st.tuples(NAMES, PLAIN).map(lambda p: f"{p[0]}={p[1]}") | TEXTS, max_size=4))
        def assignments(texts: list[str]) -> None:
            counted.try_("assignments", lambda: load_run_config(None, start, texts))

        @how
        @given(st.lists(NAMES, max_size=5), st.lists(st.lists(TEXTS, max_size=6), max_size=4), st.sampled_from(",;\t"))
        def manifests(columns: list[str], rows: list[list[str]], between: str) -> None:
            lines = [between.join(["photos", *columns]), *(between.join(["photos", *row]) for row in rows)]
            table.write_bytes("\n".join(lines).encode("utf-8", "surrogatepass"))
            counted.try_("manifests", lambda: read_manifest(table, None, {"noun": "dog"}))

        for run in (values, files, assignments, manifests):
            run()
        grown = resource.getrusage(resource.RUSAGE_SELF).ru_maxrss - memory
    result = {
        "examples": sum(counted.counts.values()),
        "counts": dict(counted.counts),
        "slowest_seconds": round(counted.slowest, 3),
        "memory_grown_kilobytes": grown,
        "wrong": sorted(set(counted.wrong))[:40],
        "load": list(os.getloadavg()),
    }
    asked.out.parent.mkdir(parents=True, exist_ok=True)
    asked.out.write_text(json.dumps(result, indent=1) + "\n")
    print(json.dumps({key: result[key] for key in ("examples", "counts", "slowest_seconds")}))
    raise SystemExit(bool(counted.wrong))


if __name__ == "__main__":
    main()
