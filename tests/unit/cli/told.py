"""What a command told on stdout."""

from __future__ import annotations

import json
from typing import Any

from typer.testing import Result


def last_object(result: Result) -> dict[str, Any]:
    """The JSON object on the last line of stdout."""
    return json.loads(result.stdout.splitlines()[-1])
