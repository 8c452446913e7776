"""What the families of flow matching encode, decode and refuse; their losses are in tests/conformance."""

from __future__ import annotations

from collections import namedtuple
from pathlib import Path

import numpy as np
import pytest
import torch
from PIL import Image
from torch import Tensor

from bases import SIDE, open_with_diffusers, side_of, write_base
from booth.choices import noising_of
from booth.core.errors import UsageError
from booth.core.family import Family
from booth.core.method import MethodConfig
from booth.families.loading import load_family
from booth.generate.draw import draw

Stepped = namedtuple("Stepped", "prev_sample")  # as some pipelines read a step's result, and a tuple as others do
VIDEO = ("qwen_image", "krea_2", "qwen_image_2_1")  # whose autoencoders were made for videos
PROMPTS = ["a photo of sks dog", "a cat on the beach"]


def latents_of(model: Family) -> Tensor:
    """Random latents of pictures 16 pixels high and 24 wide."""
    shape = model.encode(torch.zeros(2, 3, SIDE, SIDE * 3 // 2)).mean.shape
    return torch.randn(shape, generator=torch.Generator().manual_seed(0))


@pytest.mark.parametrize(
    "family",
    [
        "flux",
        "flux_2_klein",
        "qwen_image",
        "z_image",
        "lumina_2",
        "chroma",
        "sana",
        "krea_2",
        "ernie_image",
        "flux_2",
        "ideogram_4",
        "qwen_image_2_1",
    ],
)
def test_what_is_encoded_is_decoded_by_the_pipelines_rule(family: str, tmp_path: Path) -> None:
    """Latents go through the pipeline's last lines and come out as the autoencoder's own reconstruction."""
    base = write_base(family, tmp_path / "base")
    model, pipe = load_family(str(base)), open_with_diffusers(base)
    side = side_of(family)
    pixels = torch.rand(1, 3, side, side, generator=torch.Generator().manual_seed(0)) * 2 - 1
    mean = model.encode(pixels).mean
    if family in ("flux", "chroma"):
        mean = pipe._pack_latents(mean, 1, 4, 8, 8)
    elif family in ("flux_2_klein", "flux_2", "ideogram_4"):
        mean = mean.flatten(2).transpose(1, 2)
    elif family in ("qwen_image", "krea_2"):
        mean = pipe._pack_latents(mean, 1, 4, 8, 8)
    elif family == "qwen_image_2_1":
        mean = pipe._pack_latents(mean, 1, 4, 4, 4)
        pixels = torch.cat([pixels, torch.ones_like(pixels[:, :1])], dim=1)
    pipe.scheduler.step = lambda predicted, t, latents, **_: Stepped(start(latents))

    def start(latents: Tensor) -> Tensor:
        assert latents.shape == mean.shape
        return mean

    options = {"height": side, "width": side, "num_inference_steps": 1, "output_type": "pt"}
    drawn = pipe(prompt=PROMPTS[:1], **options, **model.guided(1.0, "", 1)).images
    with torch.no_grad():
        frames = pixels[:, :, None] if family in VIDEO else pixels
        encoded = pipe.vae.encode(frames)
        own = pipe.vae.decode(encoded.latent if family == "sana" else encoded.latent_dist.mode()).sample
    own = own[:, :, 0] if family in VIDEO else own
    assert torch.allclose(drawn, (own / 2 + 0.5).clamp(0, 1), atol=1e-5)


def test_schnell_is_told_no_guidance(tmp_path: Path) -> None:
    model = load_family(str(write_base("flux", tmp_path / "base", guidance_embeds=False)))
    latents = latents_of(model)
    predicted = model.predict(latents, torch.tensor([100.0, 900.0]), model.embed(PROMPTS))
    assert predicted.shape == latents.shape


def test_what_flow_matching_has_not_is_refused(tmp_path: Path) -> None:
    model = load_family(str(write_base("flux", tmp_path / "base")))
    with pytest.raises(UsageError, match=r"FLUX\.1.*min_snr_gamma"):
        noising_of(model, MethodConfig(min_snr_gamma=5.0))
    with pytest.raises(UsageError, match=r"FLUX\.1 takes no negative prompt"):
        model.guided(3.5, "a cat", 1)
    with pytest.raises(UsageError, match=r"'ddim'.*euler"):
        model.pipeline("ddim")
    assert model.multiple == 4


def test_what_is_only_drawn_with_is_let_go_with_the_rest_and_comes_back(tmp_path: Path) -> None:
    model = load_family(str(write_base("ideogram_4", tmp_path / "base")))
    twin = model.components()["unconditional_transformer"]
    before = {name: p.clone() for name, p in twin.named_parameters()}
    model.free([])
    assert not model.freed
    model.free(["vae"])
    assert model.freed == {"vae", "unconditional_transformer"}
    model.pipeline()
    assert not model.freed
    assert all(torch.equal(p, before[name]) for name, p in twin.named_parameters())


def test_a_picture_with_a_channel_for_how_opaque_it_is_is_drawn_on_white(tmp_path: Path) -> None:
    model = load_family(str(write_base("qwen_image_2_1", tmp_path / "base")))
    (picture,) = draw(model, PROMPTS[:1], [3], steps=1, size=64)
    pipe = model.pipeline()
    how = {"num_inference_steps": 1, "height": 64, "width": 64, **model.guided(model.guidance, "", 1)}
    drawn = pipe(prompt=PROMPTS[:1], generator=[torch.Generator().manual_seed(3)], **how).images[0]
    assert (picture.mode, drawn.mode) == ("RGB", "RGBA")
    white = Image.new("RGBA", drawn.size, "white")
    assert np.abs(np.array(picture, int) - np.array(Image.alpha_composite(white, drawn).convert("RGB"))).max() <= 1
