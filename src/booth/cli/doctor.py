"""booth doctor: what this machine has, and what is missing."""

from __future__ import annotations

from typing import Any

from booth.cli.options import AsJson
from booth.cli.output import finish


def doctor(as_json: AsJson = False) -> None:
    """Show device, memory, disk, versions and the embedded base, and what is missing."""
    from booth.machine import examine

    findings = examine()
    finish(findings, _in_words(findings), as_json)


def _in_words(findings: dict[str, Any]) -> list[str]:
    base = findings["embedded_base"]
    found = f"{base['parameters'] / 1e6:.1f} M values, {base['bytes'] / 1e6:.1f} MB" if base["found"] else "missing"
    lines = [
        f"booth      {findings['booth']}, Python {findings['python']} on {findings['platform']}",
        f"device     {findings['device']} ({findings['device_name']})",
        f"memory     {findings['memory_available_bytes'] / 1e9:.1f} of {findings['memory_bytes'] / 1e9:.1f} GB free, "
        f"{findings['cores']} cores",
        f"disk       {findings['disk_free_bytes'] / 1e9:.1f} GB free here",
        f"base       {found}, {base['folder']}",
        f"versions   {', '.join(f'{name} {found}' for name, found in findings['versions'].items() if found)}",
    ]
    return lines + [f"missing    {sentence}" for sentence in findings["missing"]]
