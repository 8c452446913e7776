"""booth reteach."""

from __future__ import annotations

from pathlib import Path

import pytest
from told import last_object

from bases import write_base
from booth.concept import Concept
from booth.core.concept import read_record
from booth.registry import FAMILIES


def test_a_subject_is_taught_to_another_base_in_one_command(
    booth_cli, lora: Concept, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(FAMILIES["flux"], "latents", 8)  # a tiny base's side, in place of the published one's
    flux = write_base("flux", tmp_path / "flux")
    words = ["reteach", lora.folder, "--base", flux, "--set", "rank=3", "--out", "again", "--json"]
    planned = booth_cli(*words, "--dry-run")
    assert planned.exit_code == 0, planned.stderr
    assert not Path("again").exists()
    assert last_object(planned)["translated"][0].startswith(f"The base is {flux} (FLUX.1)")
    done = booth_cli(*words)
    assert done.exit_code == 0, done.stderr
    assert "steps=2 was chosen and stays." in done.stderr
    record = read_record(Path("again"))
    assert (record.family, record.settings["rank"], record.steps) == ("flux", 3, 2)
    assert record.photos == lora.record.photos
    assert booth_cli(*words).exit_code != 0  # nothing is written over


def test_a_setting_that_the_method_has_not_is_refused(booth_cli, lora: Concept, toy_base: Path) -> None:
    result = booth_cli("reteach", lora.folder, "--base", toy_base, "--set", "rnak=3")
    assert result.exit_code == 2
    assert "rank" in result.stderr
