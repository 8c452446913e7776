"""booth doctor: what this machine has, and what is missing."""

from __future__ import annotations

from typing import Any

from booth.cli.options import AsJson, Base
from booth.cli.output import finish
from booth.cli.plan import in_brief
from booth.core.words import size


def doctor(base: Base = None, as_json: AsJson = False) -> None:
    """Show device, memory, disk, versions and the embedded base, what is missing, and how a --base fits in here."""
    from booth.machine import examine

    findings = examine(base)
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
    lines += [f"plug-in    {p['kind']} {p['name']} of {p['package']}" for p in findings["plugins"] if not p["problem"]]
    lines += [f"missing    {sentence}" for sentence in findings["missing"]]
    return lines + (_taught(findings["base"]) if "base" in findings else [])


def _taught(base: dict[str, Any]) -> list[str]:
    """How a base can be taught on this machine."""
    lines = [f"{base['name']}: {base['family']}, {sum(base['parameters'].values()) / 1e9:.2f} billion values"]
    lines.append(f"memory plans for {size(base['room_bytes'])}, one photo a step (* is taken, or --set memory=NAME)")
    for kind in base["plans"]:
        lines.append(f"  {', '.join(kind['methods'])}")
        lines += [f"  {'*' if p['name'] == kind['chosen'] else ' '} {in_brief(p)}" for p in kind["plans"]]
    drawn = ", ".join(f"{how} {size(needed)}" for how, needed in base["drawing"].items())
    lines.append(f"  drawing, by --offload: {drawn}; here: {base['offload']}")
    return lines + ([f"  warning: {base['advice']}"] if base["advice"] else [])
