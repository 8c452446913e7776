"""The limited child process in which files that were sent are decoded."""

from __future__ import annotations

import json
import subprocess
from typing import Any

from booth.core.children import environment, python

WAIT = 90  # seconds for the child that decodes
KEPT = ("PATH", "HOME", "LANG", "PYTHONPATH", "VIRTUAL_ENV", "TMPDIR", "SYSTEMROOT")  # of the environment, for a child


def child(words: list[str], data: bytes) -> dict[str, Any]:
    """The answer of the limited child process; of one that was ended a sentence that says so."""
    around = environment(KEPT, OPENBLAS_NUM_THREADS="1", OMP_NUM_THREADS="1")
    try:
        done = subprocess.run(
            python("booth.web.intake", *words),
            input=data, capture_output=True, timeout=WAIT, env=around, check=False, start_new_session=True,
        )  # fmt: skip
        told = json.loads(done.stdout)
    except (subprocess.TimeoutExpired, ValueError):
        return {"error": "takes more time or memory than a photo may; save it anew, smaller"}
    return told if isinstance(told, dict) else {"error": "cannot be read"}
