"""What is chosen by name as a child process described it, kept until booth, a plug-in or what is installed changes."""

from __future__ import annotations

import hashlib
import json
import os
import subprocess
import sys
import threading
from pathlib import Path
from typing import Any

from booth import __version__
from booth.core.children import environment, python
from booth.core.errors import NotAvailableError
from booth.core.registry import installed
from booth.web.home import Home
from booth.web.jobs import write_json
from booth.web.runs import read_json

WAIT = 240  # seconds, for a busy machine that loads its libraries from a cold disk


class Catalogue:
    """Made in the background when the studio opens; whoever needs it waits for it."""

    def __init__(self, home: Home) -> None:
        self._file = home.studio / "catalogue.json"
        self._encoders = home.studio / "encoders.json"
        self._known: dict[str, Any] | None = None
        self._lock = threading.Lock()

    def begin(self) -> None:
        """Make it while nobody waits."""
        threading.Thread(target=self._try, name="catalogue", daemon=True).start()

    def _try(self) -> None:
        try:
            self.get()
        except NotAvailableError:
            return  # told to whoever asks for it

    @property
    def ready(self) -> bool:
        """Whether nobody has to wait for it."""
        return self._known is not None

    def get(self) -> dict[str, Any]:
        """All of it; NotAvailableError with the reason where it cannot be made."""
        with self._lock:
            if self._known is None:
                kept, stamp = read_json(self._file), _stamp()
                if kept is None or kept.get("stamp") != stamp:
                    kept = {**_made(), "stamp": stamp}
                    write_json(self._file, kept)
                self._known = kept
            return self._known

    def encoders(self) -> list[dict[str, Any]]:
        """Every encoder with what is missing of it here, asked again when a package or a cached model came or went.

        NotAvailableError where that cannot be told.
        """
        with self._lock:
            kept, stamp = read_json(self._encoders), f"{_stamp()} {_installed()}"
            if kept is None or kept.get("stamp") != stamp:
                kept = {**_made("encoders"), "stamp": stamp}
                write_json(self._encoders, kept)
            return kept["encoders"]

    def method(self, name: str) -> dict[str, Any] | None:
        """One method; None if there is none of this name."""
        return self.get()["methods"].get(name)


def _made(*what: str) -> dict[str, Any]:
    said: list[str] = []
    try:
        done = subprocess.run(
            [*python("booth.web.describe"), *what], capture_output=True, timeout=WAIT, check=False,
            start_new_session=True, env=environment(OMP_NUM_THREADS="1"),
        )  # fmt: skip
        said = done.stderr.decode("utf-8", "replace").strip().splitlines()
        return json.loads(done.stdout)
    except (ValueError, subprocess.TimeoutExpired) as error:
        raise NotAvailableError(
            f"The {' '.join(what) or 'methods'} cannot be listed: {said[-1] if said else 'no answer'}",
            code="studio.no_methods",
        ) from error


def _installed() -> str:
    """Changes when a package is installed or removed, or a model comes into the Hub's cache or leaves it."""
    from huggingface_hub.constants import HF_HUB_CACHE

    packages = [Path(p) for p in sys.path if p.endswith(("site-packages", "dist-packages")) and Path(p).is_dir()]
    places = packages + sorted(Path(HF_HUB_CACHE).glob("models--*/snapshots/*"))
    told = json.dumps([(str(place), place.stat().st_mtime_ns) for place in places])
    return hashlib.sha256(told.encode()).hexdigest()[:16]


def _stamp() -> str:
    """Changes with booth's own files and with plug-ins."""
    root = Path(__file__).parent.parent
    told = [p for p in root.rglob("*.py") if "web" not in p.relative_to(root).parts or p.name == "describe.py"]
    files = sorted(str((p.relative_to(root), p.stat().st_mtime_ns)) for p in told)
    plugins = sorted(str(p) for found in installed().values() for p in found)
    bundle = json.dumps([__version__, files, plugins, os.environ.get("BOOTH_CACHE", "")])
    return hashlib.sha256(bundle.encode()).hexdigest()[:16]
