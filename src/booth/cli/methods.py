"""booth methods: what can be chosen with --method."""

from __future__ import annotations

from booth.cli.guard import hush
from booth.cli.options import AsJson, Base
from booth.cli.output import finish


def methods(base: Base = None, as_json: AsJson = False) -> None:
    """List the methods: what each trains and saves, its defaults, and how large its files are for a base."""
    from booth.catalogue import describe_methods, in_words

    hush()
    entries = describe_methods(base)
    finish({"methods": entries}, in_words(entries), as_json)
