"""The checks that authors of families and export formats run on theirs, on some of booth's own."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import pytest
import torch

from booth.core.errors import UsageError
from booth.export.exporter import Check as Proof
from booth.export.exporter import Job
from booth.export.lora.write import Kohya
from booth.families.flux import Flux
from booth.families.stable_diffusion import StableDiffusion
from booth.registry import EXPORTERS, FAMILIES
from booth.testing import Check, checks_of

FORMATS = ("kohya", "diffusers", "embedding")
CASES = [
    *(check for check in checks_of(StableDiffusion) if check.name.startswith("StableDiffusion-")),
    *(check for name in FORMATS for check in checks_of(EXPORTERS[name])),
]


@pytest.mark.parametrize("check", CASES, ids=str)
def test_booths_own_hold_to_what_plugins_are_asked(check: Check, tmp_path: Path) -> None:
    check(tmp_path)


def test_a_family_of_ones_own_is_checked_with_methods_on_a_base_of_its_own(tmp_path: Path) -> None:
    names = [str(check) for check in checks_of(FAMILIES["flux"], tmp_path)]
    assert "Flux-draws_the_same_twice" in names
    assert "LoRA-redraws_what_it_wrote" in names
    with pytest.raises(UsageError, match="a base of its own"):
        checks_of(Flux)


class Blind(Kohya):
    """A format whose proof finds nothing wrong, whatever is in the file."""

    name = "blind"

    def check(self, job: Job, file: Path) -> Proof:
        return Proof("nobody", matched=1)


class Rounding(Kohya):
    """A format that loses what it writes."""

    name = "rounding"

    def tensors(self, job: Job) -> dict[str, Any]:
        return {name: torch.round(tensor) for name, tensor in super().tensors(job).items()}


@pytest.mark.parametrize(
    ("kind", "name", "told"),
    [(Blind, "proves_what_it_writes", "passes the proof"), (Rounding, "is_read_back", "another change")],
)
def test_a_format_that_breaks_a_promise_is_found(kind: type, name: str, told: str, tmp_path: Path) -> None:
    check = next(c for c in checks_of(kind) if str(c).endswith(name))
    with pytest.raises(AssertionError, match=told):
        check(tmp_path)


def test_a_family_that_breaks_a_promise_is_found(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    predict = StableDiffusion.predict
    monkeypatch.setattr(StableDiffusion, "predict", lambda *words: predict(*words) + torch.rand(()))
    check = next(c for c in checks_of(StableDiffusion) if str(c).endswith("embeds_rows_apart"))
    with pytest.raises(AssertionError, match="another prediction"):
        check(tmp_path)
