"""A concept's lesson translated for another base, and what was translated told."""

from __future__ import annotations

import shutil
from pathlib import Path

import pytest

from bases import write_base
from booth.concept import Concept
from booth.core.errors import BadDataError, UsageError
from booth.train import reteach as reteach_room
from booth.train.reteach import translate


@pytest.fixture(scope="module")
def flux(tmp_path_factory: pytest.TempPathFactory) -> Path:
    return write_base("flux", tmp_path_factory.mktemp("bases") / "flux")


@pytest.fixture(scope="module")
def lumina(tmp_path_factory: pytest.TempPathFactory) -> Path:
    return write_base("lumina_2", tmp_path_factory.mktemp("bases") / "lumina")


def test_photos_subject_and_chosen_settings_go_along(lora: Concept, flux: Path) -> None:
    found = translate(lora.record, str(flux))
    run = found.run
    assert [str(p) for p in run.photos] == lora.record.photo_files
    assert (run.token, run.noun, run.method, run.seed) == ("sks", "dog", "lora", lora.record.seed)
    assert run.settings == {"steps": 2, "learning_rate": 1e-2}
    assert run.folder == Path("concepts") / f"{lora.record.name}-flux"
    assert found.told == [
        f"The base is {flux} (FLUX.1), where it was {lora.record.base.name}.",
        "steps=2 was chosen and stays.",
        "learning_rate=0.01 was chosen and stays.",
    ]


def test_a_default_of_one_scale_becomes_that_of_the_other(
    lora: Concept, flux: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(reteach_room, "_scale_of", lambda folder, family: "full" if folder == flux else "tiny")
    found = translate(lora.record, str(flux))
    assert "batch_size" not in found.run.settings
    assert "batch_size was 2, the default there; now it is 1, the default here." in found.told


def test_what_says_nothing_to_the_other_base_is_left_out_and_told(adapted: Concept, lumina: Path) -> None:
    settings = adapted.record.settings | {"min_snr_gamma": 5.0, "blocks": "attn2", "targets": ["attention", "residual"]}
    found = translate(adapted.record.model_copy(update={"settings": settings}), str(lumina))
    assert not {"train_text_encoder", "min_snr_gamma", "blocks", "targets"} & found.run.settings.keys()
    assert found.run.settings["rank"] == 4
    told = "\n".join(found.told)
    assert "train_text_encoder=True is left out: no text encoder of Lumina-Image 2.0 carries adapters." in told
    assert "min_snr_gamma=5.0 is left out: min-SNR does not weigh flow matching" in told
    assert "blocks=attn2 is left out: it names layers of the other base." in told
    assert "targets=attention,residual is left out: Lumina-Image 2.0 has no layers called residual." in told


def test_a_method_without_a_place_there_is_refused_with_those_that_have_one(lora: Concept, lumina: Path) -> None:
    record = lora.record.model_copy(update={"method": "hypernetwork"})
    with pytest.raises(UsageError, match=r"which Lumina-Image 2.0 does not have.*one of dreambooth, textual_inversion"):
        translate(record, str(lumina))


def test_photos_must_be_there_and_the_same_or_named(lora: Concept, flux: Path, tmp_path: Path) -> None:
    copies = [Path(shutil.copy(file, tmp_path)) for file in lora.record.photo_files]
    record = lora.record.model_copy(update={"photo_files": [str(c) for c in copies]})
    assert translate(record, str(flux)).run.photos == copies
    copies[1].write_bytes(copies[0].read_bytes())
    with pytest.raises(BadDataError, match=rf"{copies[1].name} is not the photo any more.*`photos`"):
        translate(record, str(flux))
    copies[1].unlink()
    with pytest.raises(BadDataError, match=rf"{copies[1].name}, which was learned from, is gone.*`photos`"):
        translate(record, str(flux))
    assert translate(record, str(flux), [tmp_path]).run.photos == [tmp_path]
    with pytest.raises(BadDataError, match="does not say where its photos were"):
        translate(record.model_copy(update={"photo_files": []}), str(flux))
