"""ControlNets beside Stable Diffusion XL, 3 and FLUX.1, against diffusers' own classes and pipelines."""

from __future__ import annotations

import inspect
from collections.abc import Callable
from pathlib import Path
from typing import Any

import diffusers
import numpy as np
import pytest
import torch
from PIL import Image
from torch import Tensor

from bases import SIDE, write_base
from booth.core.batch import Batch
from booth.core.errors import BadDataError, UsageError
from booth.core.family import Family
from booth.core.rng import Rng
from booth.core.sites import ControlSite, PlacedControl
from booth.families.flux import CONTROL_BLOCKS, CONTROL_SINGLE_BLOCKS
from booth.families.loading import load_family
from booth.generate.draw import draw
from booth.generate.start import Start
from booth.train.loop import losses
from harness import attach, computing_as_we_do, make_method, read_controlnet, shaken, steps, train, write

PROMPTS = ["a photo of sks dog", "a cat on the beach"]
HINTS = torch.rand(2, 3, SIDE, SIDE * 3 // 2, generator=torch.Generator().manual_seed(1))
X = torch.randn(2, 4, 8, 12, generator=torch.Generator().manual_seed(0))  # latents of pictures as large as the hints
PIPELINES = {
    "stable_diffusion_xl": diffusers.StableDiffusionXLControlNetPipeline,
    "stable_diffusion_3": diffusers.StableDiffusion3ControlNetPipeline,
    "flux": diffusers.FluxControlNetPipeline,
}
TRANSFORMERS = ["stable_diffusion_3", "flux"]

Bases = Callable[[str], Path]


@pytest.fixture(scope="module")
def bases(tmp_path_factory: pytest.TempPathFactory) -> Bases:
    """The folder of a family's tiny base, written once."""
    parent = tmp_path_factory.mktemp("families")

    def base(family: str) -> Path:
        return parent / family if (parent / family).exists() else write_base(family, parent / family)

    return base


def timesteps(family: str) -> Tensor:
    return torch.tensor([20, 700] if family == "stable_diffusion_xl" else [20.0, 700.0])


def site(model: Family) -> ControlSite:
    assert model.sites.control is not None
    return model.sites.control


def place(model: Family, folder: Path, *scales: float) -> list[Any]:
    """Put a ControlNet of random weights in place for each of the scales; the same as diffusers reads them."""
    theirs = []
    for i, scale in enumerate(scales):
        net = shaken(site(model).copy(True), i).requires_grad_(False)
        site(model).placed[f"controlnet_{i}"] = PlacedControl(net, "canny", scale)
        site(model).write(net, folder / str(i) / "controlnet")
        theirs.append(read_controlnet(folder / str(i)).requires_grad_(False))
    return theirs


def picture(seed: int) -> Image.Image:
    return Image.fromarray(np.random.default_rng(seed).integers(0, 255, (SIDE, SIDE, 3), dtype=np.uint8))


def lessons(rng: Rng) -> Batch:
    return Batch(PROMPTS, rng.normal("photos", X), torch.full((2,), 0.5), HINTS)


@pytest.mark.parametrize("dtype", [torch.float32, torch.bfloat16])
@pytest.mark.parametrize("family", PIPELINES)
@torch.no_grad()
def test_step_0_is_the_base_bit_for_bit(bases: Bases, family: str, dtype: torch.dtype) -> None:
    model = load_family(str(bases(family)), dtype=dtype)
    config, t = dict(model.sites.denoiser.config), timesteps(family)  # type: ignore[union-attr]
    base = model.predict(X, t, model.embed(PROMPTS))
    attach(model, make_method("controlnet").plan()[0])
    assert torch.equal(model.predict(X, t, model.embed(PROMPTS, HINTS)), base)
    net = site(model).placed["controlnet"].net
    assert net.dtype == torch.float32
    assert dict(model.sites.denoiser.config) == config  # type: ignore[union-attr]
    shaken(net, 0)
    assert not torch.equal(model.predict(X, t, model.embed(PROMPTS, HINTS)), base)


@pytest.mark.parametrize("family", PIPELINES)
def test_it_starts_as_a_copy_with_zero_convolutions(bases: Bases, family: str) -> None:
    model = load_family(str(bases(family)))
    theirs, ours = model.sites.denoiser.state_dict(), site(model).copy(True).state_dict()  # type: ignore[union-attr]
    copied = [name for name in ours if name in theirs]
    assert any("blocks.0." in name for name in copied)
    assert all(torch.equal(ours[name], theirs[name]) for name in copied)
    zeros = [n for n in ours if n not in theirs and ("cond_embedding" not in n or "conv_out" in n)]
    assert all(n.startswith(("controlnet_", "pos_embed_input.")) for n in zeros)
    assert zeros
    assert not any(ours[name].any() for name in zeros)


def test_it_goes_on_from_one_of_other_blocks_than_a_copy_has(bases: Bases, tmp_path: Path) -> None:
    """Public ControlNets for transformers copy different numbers of blocks."""
    model = load_family(str(bases("flux")))
    own: Any = site(model).copy(True)
    other = type(own).from_config(dict(own.config) | {"num_layers": 1, "num_single_layers": 0})
    site(model).write(shaken(other, 1), tmp_path / "net")
    method = make_method("controlnet").plan()[0].method
    method.take_form(tmp_path / "net")
    method.attach(model, 0)
    learned = {name.partition(".")[2]: t for name, t in method.learned().items()}
    assert learned.keys() == dict(other.named_parameters()).keys() != dict(own.named_parameters()).keys()
    assert all(torch.equal(learned[name], p) for name, p in other.named_parameters())


def test_as_many_blocks_are_copied_as_diffusers_copies_by_itself() -> None:
    of_sd3, of_flux = (
        inspect.signature(kind.from_transformer).parameters
        for kind in (diffusers.SD3ControlNetModel, diffusers.FluxControlNetModel)
    )
    assert of_sd3["num_layers"].default == 24 // 2  # half of the blocks of Stable Diffusion 3 medium
    assert of_flux["num_layers"].default == CONTROL_BLOCKS
    assert of_flux["num_single_layers"].default == CONTROL_SINGLE_BLOCKS


def stable_diffusion_xl(pipe: Any, net: Any, hints: Tensor, t: Tensor) -> Tensor:
    hidden, _, pooled, _ = pipe.encode_prompt(PROMPTS, None, "cpu", 1, False)
    added = {"text_embeds": pooled, "time_ids": torch.tensor([[16.0, 24, 0, 0, 16, 24]] * 2)}
    down, middle = net(X, t, hidden, hints, added_cond_kwargs=added, return_dict=False)
    said = {"down_block_additional_residuals": down, "mid_block_additional_residual": middle}
    return pipe.unet(X, t, hidden, added_cond_kwargs=added, **said).sample


def stable_diffusion_3(pipe: Any, net: Any, hints: Tensor, t: Tensor) -> Tensor:
    hidden, _, pooled, _ = pipe.encode_prompt(PROMPTS, None, None, do_classifier_free_guidance=False)
    latents = pipe.vae.encode(2 * hints - 1).latent_dist.sample()
    latents = (latents - pipe.vae.config.shift_factor) * pipe.vae.config.scaling_factor
    told = {"timestep": t, "encoder_hidden_states": hidden, "pooled_projections": pooled}
    said = net(X, controlnet_cond=latents, **told).controlnet_block_samples
    return pipe.transformer(X, block_controlnet_hidden_states=said, **told).sample


def flux(pipe: Any, net: Any, hints: Tensor, t: Tensor) -> Tensor:
    hidden, pooled, text_ids = pipe.encode_prompt(PROMPTS, None)
    latents = pipe.vae.encode(2 * hints - 1).latent_dist.sample()
    latents = (latents - pipe.vae.config.shift_factor) * pipe.vae.config.scaling_factor
    told = {
        "hidden_states": pipe._pack_latents(X, 2, 4, 8, 12),
        "timestep": t / 1000,
        "guidance": torch.tensor([3.5, 3.5]),
        "pooled_projections": pooled,
        "encoder_hidden_states": hidden,
        "txt_ids": text_ids,
        "img_ids": pipe._prepare_latent_image_ids(2, 4, 6, "cpu", torch.float32),
    }
    said = net(controlnet_cond=pipe._pack_latents(latents, 2, 4, 8, 12), **told)
    blocks, singles = said.controlnet_block_samples, said.controlnet_single_block_samples
    added = {"controlnet_block_samples": blocks, "controlnet_single_block_samples": singles}
    return pipe._unpack_latents(pipe.transformer(**told, **added).sample, 16, 24, 2)


@pytest.mark.parametrize("reference", [stable_diffusion_xl, stable_diffusion_3, flux], ids=lambda f: f.__name__)
@torch.no_grad()
def test_a_prediction_equals_the_training_scripts(
    reference: Callable[..., Tensor], bases: Bases, tmp_path: Path
) -> None:
    family = reference.__name__
    model, t = load_family(str(bases(family))), timesteps(family)
    base = model.predict(X, t, model.embed(PROMPTS))
    (net,) = place(model, tmp_path, 1.0)
    torch.manual_seed(7)
    ours = model.predict(X, t, model.embed(PROMPTS, HINTS))
    torch.manual_seed(7)
    theirs = reference(diffusers.DiffusionPipeline.from_pretrained(bases(family)), net, HINTS, t)
    assert torch.allclose(ours, theirs, atol=1e-4 * float(theirs.abs().max()))
    assert not torch.allclose(ours, base, atol=1e-2 * float(theirs.abs().max()))


@pytest.mark.parametrize("family", TRANSFORMERS)
def test_the_gradient_reaches_the_zero_convolutions_first(bases: Bases, family: str) -> None:
    model = load_family(str(bases(family)))
    update = attach(model, make_method("controlnet", learning_rate=1e-2).plan()[0])
    update.backward(losses(model, lessons(Rng(0)), Rng(0)))
    moved = {n for n, p in update.parameters().items() if p.grad is not None and bool(p.grad.any())}
    first = ("controlnet.controlnet_blocks.", "controlnet.controlnet_single_blocks.")
    assert moved == {n for n in update.parameters() if n.startswith(first)}
    update.step(0, update.gradient_norm())
    update.clear()
    update.backward(losses(model, lessons(Rng(0)), Rng(0, 1)))
    way_in = {"stable_diffusion_3": "pos_embed_input.proj", "flux": "controlnet_x_embedder"}[family]
    assert update.parameters()[f"controlnet.{way_in}.weight"].grad.any()  # type: ignore[union-attr]


@pytest.mark.parametrize("family", TRANSFORMERS)
def test_how_a_hint_is_encoded_depends_on_seed_and_step_alone(bases: Bases, family: str) -> None:
    runs: list[list[float]] = []
    for noise in (1, 2):
        model = load_family(str(bases(family)))
        update = attach(model, make_method("controlnet", learning_rate=1e-2).plan()[0])
        torch.manual_seed(noise)  # the global generator must not matter before a step
        runs.append([step.loss for step in steps(model, update, 0, 3, lessons)])
    assert runs[0] == runs[1]


@pytest.mark.parametrize("count", [1, 2])
@pytest.mark.parametrize("family", PIPELINES)
def test_a_concept_is_drawn_after_hints_as_by_diffusers(bases: Bases, family: str, count: int, tmp_path: Path) -> None:
    """Two pictures at once, each after its own hint; or one picture after two hints."""
    base, prompts, seeds, scales = bases(family), PROMPTS[: 3 - count], [3, 4][: 3 - count], [0.7, 1.3][:count]
    model, lora = load_family(str(base)), make_method("lora", rank=2, learning_rate=1e-2)
    nets = place(model, tmp_path, *scales)
    train(model, lora, 2, lessons)
    write(model, lora, tmp_path / "lora")
    pictures = [picture(0), picture(1)]
    hints = [pictures] if count == 1 else [[p] for p in pictures]
    ours = draw(model, prompts, seeds, steps=3, guidance=4.0, size=SIDE, control_images=hints, batch_size=2)

    pipe = PIPELINES[family].from_pretrained(base, controlnet=nets if count > 1 else nets[0])
    pipe.load_lora_weights(tmp_path / "lora", weight_name="pytorch_lora_weights.safetensors")
    pipe.set_progress_bar_config(disable=True)
    torch.manual_seed(3)  # Stable Diffusion 3's encodes hints with the global generator
    with computing_as_we_do(pipe):
        theirs = pipe(
            prompts,
            **{"image" if family == "stable_diffusion_xl" else "control_image": pictures},
            height=SIDE,
            width=SIDE,
            num_inference_steps=3,
            guidance_scale=4.0,
            controlnet_conditioning_scale=scales if count > 1 else scales[0],
            generator=[torch.Generator().manual_seed(s) for s in seeds],
        ).images
    assert [a.tobytes() for a in ours] == [b.tobytes() for b in theirs]
    others = [[picture(2)] * len(prompts)] * count
    assert (
        draw(model, prompts, seeds, steps=3, guidance=4.0, size=SIDE, control_images=others, batch_size=2)[0].tobytes()
        != ours[0].tobytes()
    )
    lora.detach(model)
    assert (
        draw(model, prompts, seeds, steps=3, guidance=4.0, size=SIDE, control_images=hints, batch_size=2)[0].tobytes()
        != ours[0].tobytes()
    )


def test_two_hints_over_a_picture_are_followed_as_by_diffusers(bases: Bases, tmp_path: Path) -> None:
    model = load_family(str(bases("flux")))
    nets, start = place(model, tmp_path, 0.7, 1.3), picture(5)
    (ours,) = draw(
        model,
        PROMPTS[:1],
        [3],
        steps=4,
        size=SIDE,
        starts=[Start(start, 0.5)],
        control_images=[[picture(0)], [picture(1)]],
    )
    pipe = diffusers.FluxControlNetImg2ImgPipeline.from_pretrained(bases("flux"), controlnet=nets)
    pipe.set_progress_bar_config(disable=True)
    with computing_as_we_do(pipe):
        (theirs,) = pipe(
            PROMPTS[:1],
            image=start,
            control_image=[picture(0), picture(1)],
            control_mode=[None, None],
            strength=0.5,
            height=SIDE,
            width=SIDE,
            num_inference_steps=4,
            guidance_scale=3.5,
            controlnet_conditioning_scale=[0.7, 1.3],
            generator=[torch.Generator().manual_seed(3)],
        ).images
    assert ours.tobytes() == theirs.tobytes()


@pytest.mark.parametrize("family", TRANSFORMERS)
@torch.no_grad()
def test_tokens_of_several_vectors_are_written_out_beside_a_controlnet_too(
    bases: Bases, family: str, tmp_path: Path
) -> None:
    model = load_family(str(bases(family)))
    method = make_method("textual_inversion", vectors=2)
    method.attach(model, 0)
    place(model, tmp_path, 1.0)
    more = {"prompt_3": None, "do_classifier_free_guidance": False} if family == "stable_diffusion_3" else {}
    hidden = model.pipeline().encode_prompt(prompt=[PROMPTS[0]], prompt_2=None, **more)[0]
    assert torch.equal(hidden, model.embed([PROMPTS[0]]).tokens)
    assert not torch.equal(hidden, model.embed([PROMPTS[0].replace("sks", "sks sks")]).tokens)


@pytest.mark.parametrize(
    ("family", "name", "there", "here"),
    [
        ("stable_diffusion_3", "force_zeros_for_pooled_projection", True, False),
        ("flux", "guidance_embeds", False, True),
    ],
)
def test_one_for_another_base_is_refused(
    bases: Bases, family: str, name: str, there: bool, here: bool, tmp_path: Path
) -> None:
    model = load_family(str(bases(family)))
    net: Any = site(model).copy(True)
    type(net).from_config({**net.config, name: there}).save_pretrained(tmp_path / "controlnet")
    with pytest.raises(BadDataError, match=f"made for another base: its {name} is {there}, here it is {here}"):
        make_method("controlnet").restore(model, tmp_path)
    assert not site(model).placed


@pytest.mark.parametrize("family", TRANSFORMERS)
def test_blocks_of_a_transformer_have_no_middle_to_do_without(bases: Bases, family: str) -> None:
    model = load_family(str(bases(family)))
    with pytest.raises(UsageError, match="no middle block"):
        attach(model, make_method("controlnet", middle_attention=False).plan()[0])
