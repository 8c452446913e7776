"""booth doctor: what this machine has, and what is missing."""

from __future__ import annotations

from booth.cli.options import AsJson
from booth.cli.output import finish


def doctor(as_json: AsJson = False) -> None:
    """Show device, memory, disk, versions and the embedded base, and what is missing."""
    from booth.machine import examine, in_words

    findings = examine()
    finish(findings, in_words(findings), as_json)
