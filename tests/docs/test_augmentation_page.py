"""The page of the study on augmentation says what its proofs found."""

from __future__ import annotations

import json

import pytest
from script_files import load

SCRIPT = load("write_augmentation")
PROOFS = sorted(SCRIPT.RESULTS.glob("*.json"))


def test_the_tables_are_those_of_the_proofs() -> None:
    text = SCRIPT.PAGE.read_text(encoding="utf-8")
    assert SCRIPT.page(text) == text


@pytest.mark.parametrize("file", PROOFS, ids=lambda file: file.stem)
def test_every_proof_is_told_with_its_verdicts_and_nothing_of_a_machine(file) -> None:
    text, content = SCRIPT.PAGE.read_text(encoding="utf-8"), file.read_text(encoding="utf-8")
    found = json.loads(content)
    assert f"<!-- table of {file.stem} -->" in text
    assert found["verdicts"]
    assert all(verdict["sentence"] in text for verdict in found["verdicts"])
    assert '"/' not in content
