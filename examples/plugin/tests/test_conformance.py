"""What booth asks of every plug-in."""

from __future__ import annotations

from pathlib import Path

import pytest
from booth_example.bitfit import BitFit
from booth_example.diff import Diff
from booth_example.lion import Lion
from booth_example.sharpness import Sharpness
from booth_example.soft_min_snr import SoftMinSNR

from booth.testing import Check, checks_of

CASES = [
    *checks_of(BitFit, pull=0.01),
    *checks_of(Lion),
    *checks_of(SoftMinSNR),
    *checks_of(Sharpness),
    *checks_of(Diff),
]


@pytest.mark.parametrize("check", CASES, ids=str)
def test_a_plugin_holds_to_what_booth_asks(check: Check, tmp_path: Path) -> None:
    check(tmp_path)
