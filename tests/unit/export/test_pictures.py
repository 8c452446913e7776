"""The pictures by which an export is compared with its concept."""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any

import pytest
from safetensors import safe_open

from booth.concept import Concept
from booth.core.errors import NotAvailableError
from booth.export.exporter import Loaded
from booth.export.lora.write import Kohya
from booth.export.run import export

ROUNDINGS = 1  # of 255: sums in another order may end on the other side of a half


@pytest.mark.parametrize("to", ["kohya", "diffusers", "checkpoint"])
def test_a_lora_is_drawn_by_each_file_as_by_the_concept(to: str, adapted: Concept, here: Path):
    done = export(adapted, to, picture=True)
    assert done.check.picture is not None
    assert done.check.picture <= ROUNDINGS
    assert done.to_json()["check"]["picture"] == done.check.picture
    with safe_open(done.file, "pt") as file:
        assert json.loads(file.metadata()["booth.verified"])["picture"] == done.check.picture


def test_a_word_is_drawn_by_its_file_as_by_the_concept(word: Concept, here: Path):
    assert export(word, "embedding", picture=True).check.picture == 0


def test_fine_tuned_weights_are_drawn_as_by_the_concept_and_an_extraction_is_not(tuned: Concept, here: Path):
    assert export(tuned, "checkpoint", picture=True).check.picture == 0
    poor = export(tuned, "extracted", rank=1, lossy=True, picture=True)
    assert poor.check.picture is not None
    assert poor.check.picture > ROUNDINGS


def test_a_file_that_a_program_reads_otherwise_shows(adapted: Concept, here: Path, monkeypatch: pytest.MonkeyPatch):
    read: Any = Kohya.loaded

    def without_the_text_encoder(self: Any, job: Any, file: Path) -> Loaded:
        return Loaded({"unet": read(self, job, file).weights["unet"]})

    monkeypatch.setattr(Kohya, "loaded", without_the_text_encoder)
    done = export(adapted, "kohya", picture=True)
    assert done.check.picture is not None
    assert done.check.picture > 5


def test_it_is_not_drawn_unless_asked_for_where_the_base_is_no_embedded_one(adapted: Concept, here: Path):
    assert export(adapted, "kohya").check.picture is None
    gone = adapted.record.base.model_copy(update={"name": "no-such-folder"})
    away = Concept(adapted.folder, adapted.record.model_copy(update={"base": gone}))
    with pytest.raises(NotAvailableError, match="Comparing pictures needs the base 'no-such-folder'"):
        export(away, "kohya", Path("x.safetensors"), picture=True)
    assert not Path("x.safetensors").exists()
