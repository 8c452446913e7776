"""The public encoders' code path on tiny models of the same classes, and the world's judges by their own names."""

from __future__ import annotations

import sys
from pathlib import Path

import numpy as np
import pytest
import torch
from PIL import Image
from transformers import CLIPModel, CLIPTokenizer, Dinov2Model, ViTModel

from booth.core.errors import NotAvailableError, UsageError
from booth.evaluate.encoders import load_encoders, require_pictures_comparable, with_role
from booth.registry import ENCODERS

PUBLIC = ("clip-vit-base-patch32", "dino-vits16", "dinov2-base")
WORLD = ("world-judges", "world-identity", "world-agreement")


@pytest.fixture
def pictures() -> list[Image.Image]:
    rng = np.random.default_rng(0)
    return [Image.fromarray(rng.integers(0, 255, (40 + 7 * i, 52, 3), dtype=np.uint8)) for i in range(3)]


def pixels(image: Image.Image, resize: int, crop: int, mean: list[float], std: list[float]) -> torch.Tensor:
    """Preprocessing written out with PIL: shortest edge, bicubic, the middle, mean and deviation."""
    scale = resize / min(image.size)
    size = tuple(int(scale * s) for s in image.size)
    image = image.resize(size, Image.Resampling.BICUBIC)
    left, top = (image.width - crop) // 2, (image.height - crop) // 2
    values = np.asarray(image.crop((left, top, left + crop, top + crop)), dtype=np.float32) / 255
    return torch.tensor((values - mean) / std).permute(2, 0, 1)[None].float()


IMAGENET = ([0.485, 0.456, 0.406], [0.229, 0.224, 0.225])
OPENAI = ([0.48145466, 0.4578275, 0.40821073], [0.26862954, 0.26130258, 0.27577711])


def test_clip_is_the_projected_and_normalised_vector(hub: dict[str, Path], pictures: list[Image.Image]) -> None:
    model = CLIPModel.from_pretrained(hub["openai/clip-vit-base-patch32"])
    encoder = ENCODERS["clip-vit-base-patch32"]()
    with torch.no_grad():
        hidden = model.vision_model(pixel_values=pixels(pictures[0], 32, 32, *OPENAI)).pooler_output
        expected = torch.nn.functional.normalize(model.visual_projection(hidden))
        tokens = CLIPTokenizer.from_pretrained(encoder.folder)(["a dog"], return_tensors="pt")
        text = model.text_projection(model.text_model(**tokens).pooler_output)
    assert torch.allclose(encoder.images(pictures)[:1], expected, atol=1e-4)
    read = encoder.read(["a dog", "a photo of a dog in the snow"])
    assert torch.allclose(read[:1], torch.nn.functional.normalize(text), atol=1e-4)
    assert read.norm(dim=1).tolist() == pytest.approx([1.0, 1.0], abs=1e-5)


def test_dino_is_the_class_token_after_dinos_own_preprocessing(hub: dict[str, Path], pictures: list) -> None:
    model = ViTModel.from_pretrained(hub["facebook/dino-vits16"], add_pooling_layer=False)
    with torch.no_grad():
        token = model(pixel_values=pixels(pictures[1], 32, 28, *IMAGENET)).last_hidden_state[:, 0]
    found = ENCODERS["dino-vits16"]().images(pictures)[1:2]
    assert torch.allclose(found, torch.nn.functional.normalize(token), atol=1e-4)


def test_dino_at_its_real_size_is_resized_to_256(hub: dict[str, Path]) -> None:
    encoder = ENCODERS["dino-vits16"]()
    encoder.model.config.image_size = 224
    steps = encoder.make_processor(encoder.folder).to_dict()
    assert (steps["size"]["shortest_edge"], steps["crop_size"]["height"]) == (256, 224)
    assert (steps["image_mean"], steps["image_std"], int(steps["resample"])) == (*map(tuple, IMAGENET), 3)


def test_dinov2_is_the_class_token(hub: dict[str, Path], pictures: list[Image.Image]) -> None:
    model = Dinov2Model.from_pretrained(hub["facebook/dinov2-base"])
    with torch.no_grad():
        token = model(pixel_values=pixels(pictures[2], 32, 28, *OPENAI)).pooler_output
    found = ENCODERS["dinov2-base"]().images(pictures)[2:]
    assert torch.allclose(found, torch.nn.functional.normalize(token), atol=1e-4)


@pytest.mark.parametrize("name", [*PUBLIC, *WORLD])
def test_each_encoder_tells_what_it_is(name: str, hub: dict[str, Path], world_judges: Path, pictures: list) -> None:
    encoder = ENCODERS[name]()
    assert encoder.name == name
    vectors = encoder.images([*pictures, pictures[0]])
    assert vectors.norm(dim=1).tolist() == pytest.approx([1.0] * 4, abs=1e-4)
    assert torch.equal(vectors[0], vectors[3])
    told = encoder.about()
    assert told["weights"].startswith("sha256:")
    assert len(told["preprocessing_hash"]) == 16
    assert told["preprocessing"]
    if "prompt" in encoder.roles:
        assert encoder.read(["a dog", "a cat"]).shape == (2, vectors.shape[1])
    else:
        with pytest.raises(UsageError, match="reads no prompts"):
            encoder.read(["a dog"])


def test_the_worlds_judges_tell_their_own_errors(world_judges: Path, pictures: list[Image.Image]) -> None:
    judge = ENCODERS["world-judges"]()
    assert judge.about()["errors"]["scene"] == 0.98
    assert judge.same(pictures, pictures[:1])[0] == (float((judge.images(pictures[:1]) ** 2).sum()) > 0.5)
    assert len(judge.verdicts(pictures)) == 3


def test_the_hash_changes_with_the_weights(hub: dict[str, Path], tmp_path: Path, monkeypatch) -> None:
    former = ENCODERS["dino-vits16"]().weights_hash()
    torch.manual_seed(9)
    ViTModel(ViTModel.from_pretrained(hub["facebook/dino-vits16"]).config, add_pooling_layer=False).save_pretrained(
        tmp_path
    )
    monkeypatch.setattr("huggingface_hub.snapshot_download", lambda *_, **__: str(tmp_path))
    assert ENCODERS["dino-vits16"]().weights_hash() != former


def test_what_is_used_unless_named(hub: dict[str, Path], world_judges: Path) -> None:
    assert {e.name for e in load_encoders()} == set(PUBLIC)
    assert [e.name for e in load_encoders(scale="tiny")][:3] == list(WORLD)
    assert [e.name for e in load_encoders(["dino-vits16"])] == ["dino-vits16"]
    assert [e.name for e in with_role(load_encoders(scale="tiny"), "prompt")] == [
        "world-agreement",
        "clip-vit-base-patch32",
    ]
    with pytest.raises(UsageError, match="compares subjects"):
        require_pictures_comparable(load_encoders(["world-agreement"]))


@pytest.fixture
def offline(monkeypatch: pytest.MonkeyPatch) -> None:
    """Nothing is in the cache, and no extra is installed."""
    from huggingface_hub.errors import LocalEntryNotFoundError

    monkeypatch.setitem(sys.modules, "efficientnet_lite_pytorch", None)

    def nothing(*_: object, **__: object) -> str:
        raise LocalEntryNotFoundError("not in the cache")

    monkeypatch.setattr("huggingface_hub.snapshot_download", nothing)


@pytest.mark.usefixtures("offline")
def test_an_encoder_that_is_not_cached_names_the_way_out(world_judges: Path) -> None:
    with pytest.raises(NotAvailableError, match=r"hf download facebook/dino-vits16.*world-identity"):
        load_encoders(["dino-vits16"])
    assert [e.name for e in load_encoders(scale="full")] == list(WORLD)


@pytest.mark.usefixtures("offline")
def test_no_encoder_at_all_is_one_clear_error(monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> None:
    monkeypatch.setattr("booth.world.judges.FOLDER", tmp_path)
    with pytest.raises(NotAvailableError, match="hf download"):
        load_encoders()
    with pytest.raises(NotAvailableError, match="booth world judges"):
        load_encoders(["world-identity"])


def test_a_cache_without_weights_is_as_good_as_none(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    (tmp_path / "config.json").write_text("{}")
    monkeypatch.setattr("huggingface_hub.snapshot_download", lambda *_, **__: str(tmp_path))
    with pytest.raises(NotAvailableError, match="hf download"):
        load_encoders(["clip-vit-base-patch32"])
