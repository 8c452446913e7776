"""Bases that are on this machine: the embedded one, those in the studio's folder, those of the Hub's cache."""

from __future__ import annotations

import os
from pathlib import Path

from booth.web.home import Home

EMBEDDED = "embedded"
INDEX = "model_index.json"  # of a pipeline's folder
OWN = frozenset({"photos", "studio", "pictures", "exports", "evaluations", "walls", "races", "concepts"})
MOST = 40


def bases_of(home: Home) -> list[str]:
    """What can be given as a base, the embedded one first. Any other folder, file or Hub id can be typed."""
    return [EMBEDDED, *_folders(home), *_cached()][:MOST]


def _folders(home: Home) -> list[str]:
    found: list[str] = []
    for folder in (home.root, home.root / "bases", home.root / "models"):
        try:
            entries = sorted(folder.iterdir())
        except OSError:
            continue
        for entry in entries:
            if entry.is_symlink() or (folder == home.root and entry.name in OWN):
                continue
            if (entry / INDEX).is_file() or (entry.suffix == ".safetensors" and entry.is_file()):
                found.append(home.relative(entry))
    return found


def _cached() -> list[str]:
    """Pipelines that were downloaded before: nothing is asked of the Hub."""
    cache = os.environ.get("HF_HUB_CACHE")
    home = os.environ.get("HF_HOME", str(Path.home() / ".cache" / "huggingface"))
    folder = Path(cache) if cache else Path(home) / "hub"
    try:
        kept = sorted(p for p in folder.glob("models--*") if any(p.glob(f"snapshots/*/{INDEX}")))
    except OSError:
        return []
    return [p.name.removeprefix("models--").replace("--", "/") for p in kept]
