"""The command that does what a run did, from the configuration that was frozen when it began."""

from __future__ import annotations

import shlex
from collections.abc import Mapping
from pathlib import Path
from typing import Any

from booth.config import CLASS, RunConfig
from booth.web.forms import assignment
from booth.web.home import Home

# Those with an option of their own; all others are given with --set. `resume` is no part of what is learned.
OPTIONS = {
    "noun": f"--{CLASS}", "token": "--token", "kind": "--kind", "method": "--method", "base": "--base",
    "start_from": "--start-from",
}  # fmt: skip
APART = frozenset({"photos", "also", "out", "resume", "settings"})


def command_of(configuration: Mapping[str, Any], home: Home, out: Path) -> str:
    """`booth train` with everything that differs from its defaults, to be run in the studio's folder."""
    defaults = {name: field.get_default(call_default_factory=True) for name, field in RunConfig.model_fields.items()}
    known = {k: v for k, v in configuration.items() if k in defaults and k not in APART}
    said = {"token", "method"}
    if known.get("start_from"):  # whose subject and base would count where none is given
        known["start_from"] = _short(home, str(known["start_from"]))
        said = {name for name in OPTIONS if known.get(name)}
    changed = {name: value for name, value in known.items() if value != defaults[name] or name in said}
    words = [f"{OPTIONS[name]}={value}" for name, value in changed.items() if name in OPTIONS]
    for other in configuration.get("also") or []:
        folders = ",".join(_short(home, p) for p in other.get("photos") or [])
        words.append(f"--also={folders}={other.get('token', '')} {other.get('noun', '')}")
    rest = {n: v for n, v in changed.items() if n not in OPTIONS} | dict(configuration.get("settings") or {})
    words += [f"--set={assignment(name, value)}" for name, value in rest.items()]
    words += [f"--out={_short(home, str(out))}", "--", *(_short(home, p) for p in configuration.get("photos") or [])]
    return shlex.join(["booth", "train", *words])


def _short(home: Home, path: str) -> str:
    """A path as it is typed in the studio's folder."""
    full = Path(path)
    return home.relative(full) if full.is_absolute() and full.is_relative_to(home.root) else path
