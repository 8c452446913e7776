"""python -m booth.testing my_package.my_module:MyClass [key=value ...]: every check, one a line."""

from __future__ import annotations

import sys
import tempfile
from pathlib import Path

from booth.config.assignments import parse_assignment
from booth.core.registry import load
from booth.families.quiet import hush
from booth.testing import checks_of


def main() -> int:
    """How many checks failed, at most 1."""
    hush()
    target, *assignments = sys.argv[1:] or [""]
    if ":" not in target:
        print(__doc__)
        return 2
    failed = 0
    for check in checks_of(load(target), **dict(map(parse_assignment, assignments))):
        try:
            with tempfile.TemporaryDirectory() as folder:
                check(Path(folder))
        except Exception as error:  # somebody else's code, which may fail in any way
            failed += 1
            print(f"FAILED {check}: {type(error).__name__}: {error}")
        else:
            print(f"ok     {check}: {check.promise}")
    return min(failed, 1)


if __name__ == "__main__":
    sys.exit(main())
