"""What the families of flow matching encode, decode and refuse; their losses are in tests/conformance."""

from __future__ import annotations

from collections import namedtuple
from pathlib import Path

import diffusers
import pytest
import torch
from torch import Tensor

from bases import SIDE, side_of, write_base
from booth.choices import noising_of
from booth.core.errors import UsageError
from booth.core.family import Family
from booth.core.method import MethodConfig
from booth.families.loading import load_family

Stepped = namedtuple("Stepped", "prev_sample")  # as some pipelines read a step's result, and a tuple as others do
VIDEO = ("qwen_image", "krea_2")  # whose autoencoders were made for videos
PROMPTS = ["a photo of sks dog", "a cat on the beach"]


def latents_of(model: Family) -> Tensor:
    """Random latents of pictures 16 pixels high and 24 wide."""
    shape = model.encode(torch.zeros(2, 3, SIDE, SIDE * 3 // 2)).mean.shape
    return torch.randn(shape, generator=torch.Generator().manual_seed(0))


@pytest.mark.parametrize(
    "family",
    ["flux", "flux_2_klein", "qwen_image", "z_image", "lumina_2", "chroma", "sana", "krea_2", "ernie_image", "flux_2"],
)
def test_what_is_encoded_is_decoded_by_the_pipelines_rule(family: str, tmp_path: Path) -> None:
    """Latents go through the pipeline's last lines and come out as the autoencoder's own reconstruction."""
    base = write_base(family, tmp_path / "base")
    model, pipe = load_family(str(base)), diffusers.DiffusionPipeline.from_pretrained(base)
    side = side_of(family)
    pixels = torch.rand(1, 3, side, side, generator=torch.Generator().manual_seed(0)) * 2 - 1
    mean = model.encode(pixels).mean
    if family in ("flux", "chroma"):
        mean = pipe._pack_latents(mean, 1, 4, 8, 8)
    elif family in ("flux_2_klein", "flux_2"):
        mean = mean.flatten(2).transpose(1, 2)
    elif family in ("qwen_image", "krea_2"):
        mean = pipe._pack_latents(mean, 1, 4, 8, 8)
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
