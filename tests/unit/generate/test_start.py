"""Drawing over a picture: what diffusers' own pipelines draw, and masks that make no sense."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import numpy as np
import pytest
import torch
from diffusers import (
    ControlNetModel,
    DDIMScheduler,
    StableDiffusionControlNetInpaintPipeline,
    StableDiffusionImg2ImgPipeline,
    StableDiffusionInpaintPipeline,
    StableDiffusionPipeline,
    UNet2DConditionModel,
)
from PIL import Image

from booth.core.errors import BadDataError, BoothError, UsageError
from booth.core.family import Family
from booth.families.loading import load_family
from booth.families.pipelines import starting_from_picture
from booth.generate.draw import draw
from booth.generate.start import Start, read_start
from booth.generate.upscale import REDRAWN, upscaled
from harness import PROMPT, attach, computing_as_we_do, make_method, steps, write

NO_CHECKER: dict[str, Any] = {"safety_checker": None, "feature_extractor": None, "requires_safety_checker": False}


def same(a: Image.Image, b: Image.Image) -> bool:
    return np.array_equal(np.asarray(a), np.asarray(b))


def photo(width: int = 32, height: int = 32) -> Image.Image:
    pixels = np.random.default_rng(0).integers(0, 256, (height, width, 3), dtype=np.uint8)
    return Image.fromarray(pixels)


def left_half(width: int = 32, height: int = 32) -> Image.Image:
    mask = Image.new("L", (width, height))
    mask.paste(255, (0, 0, width // 2, height))
    return mask


def theirs(base: Path, kind: Any, parts: dict[str, Any] = NO_CHECKER, **inputs: Any) -> Image.Image:
    """What diffusers draws when it loads the base by itself, and computes as we do: to the last bit."""
    pipe = kind.from_pretrained(base, **parts)
    pipe.scheduler = DDIMScheduler.from_config(pipe.scheduler.config)
    pipe.set_progress_bar_config(disable=True)
    how = {"num_inference_steps": 4, "guidance_scale": 4.0, "generator": torch.Generator().manual_seed(7)}
    with computing_as_we_do(pipe):
        return pipe(["a dog"], negative_prompt=["a cat"], **how, **inputs).images[0]


def ours(model: Family, start: Start) -> Image.Image:
    return draw(model, ["a dog"], [7], steps=4, guidance=4.0, negative="a cat", starts=[start])[0]


def test_image_to_image_is_what_diffusers_draws(toy: Family, toy_base: Path) -> None:
    image = photo(40, 32)
    drawn = theirs(toy_base, StableDiffusionImg2ImgPipeline, image=image, strength=0.6)
    assert same(ours(toy, Start(image, 0.6)), drawn)
    assert drawn.size == (40, 32)


@pytest.mark.parametrize("strength", [1.0, 0.6])
def test_inpainting_with_any_base_is_what_diffusers_draws_inside_and_the_picture_outside(
    toy: Family, toy_base: Path, strength: float
) -> None:
    image, mask = photo(), left_half()
    inputs = {"image": image, "mask_image": mask, "strength": strength, "height": 32, "width": 32}
    drawn = ours(toy, Start(image, strength, mask))
    reference = theirs(toy_base, StableDiffusionInpaintPipeline, **inputs)
    inside = (0, 0, 16, 32)
    assert same(drawn.crop(inside), reference.crop(inside))
    assert not same(drawn.crop(inside), image.crop(inside))
    overlaid = starting_from_picture(toy.pipeline(), masked=True).image_processor.apply_overlay(mask, image, reference)
    assert same(drawn, overlaid)


def test_the_modules_are_shared_in_their_own_precision(toy: Family) -> None:
    for module in toy.components().values():
        module.half()
    pipe = starting_from_picture(toy.pipeline("euler"), masked=True)
    assert pipe.unet is toy.components()["unet"]
    assert pipe.unet.dtype == torch.float16
    assert type(pipe.scheduler).__name__ == "EulerDiscreteScheduler"


def test_a_family_without_such_a_pipeline_is_told_apart() -> None:
    class OddPipeline:
        pass

    with pytest.raises(UsageError, match="`init`"):
        starting_from_picture(OddPipeline(), masked=False)


def test_each_picture_depends_on_its_own_seed_alone(toy: Family) -> None:
    start = Start(photo(), 1.0, left_half())
    together = draw(toy, ["a dog", "a dog"], [3, 4], steps=2, starts=[start] * 2, batch_size=2)
    for seed, image in zip([3, 4], together):
        alone = draw(toy, ["a dog"], [seed], steps=2, starts=[start])[0]
        assert np.abs(np.asarray(alone).astype(int) - np.asarray(image)).max() <= 1


@pytest.fixture(scope="module")
def inpainting_base(toy_base: Path, tmp_path_factory: pytest.TempPathFactory) -> Path:
    """The toy base with a denoiser of nine input channels, as Stable Diffusion's inpainting bases have."""
    pipe = StableDiffusionPipeline.from_pretrained(toy_base, **NO_CHECKER)
    torch.manual_seed(1)
    pipe.unet = UNet2DConditionModel.from_config({**pipe.unet.config, "in_channels": 9})
    folder = tmp_path_factory.mktemp("inpainting") / "base"
    pipe.save_pretrained(folder)
    return folder


def test_an_inpainting_base_is_told_mask_and_masked_picture_as_diffusers_tells_it(inpainting_base: Path) -> None:
    model = load_family(str(inpainting_base))
    assert model.inpaints
    image, mask = photo(), left_half()
    inputs = {"image": image, "mask_image": mask, "strength": 1.0, "height": 32, "width": 32}
    reference = theirs(inpainting_base, StableDiffusionInpaintPipeline, **inputs)
    inside = (0, 0, 16, 32)
    assert same(ours(model, Start(image, 1.0, mask)).crop(inside), reference.crop(inside))


def test_an_inpainting_base_draws_and_learns_whole_pictures_too(inpainting_base: Path) -> None:
    model = load_family(str(inpainting_base))
    white = Image.new("L", (32, 32), 255)
    inputs = {"image": Image.new("RGB", (32, 32)), "mask_image": white, "height": 32, "width": 32}
    reference = theirs(inpainting_base, StableDiffusionInpaintPipeline, **inputs)
    drawn = draw(model, ["a dog"], [7], steps=4, guidance=4.0, negative="a cat")[0]
    assert same(drawn, reference), "what lies under a full mask does not count"
    update = attach(model, make_method("lora").plan()[0])
    assert all(step.updated for step in steps(model, update, 0, 2))
    x_t, t, condition = torch.randn(1, 4, 8, 8), torch.tensor([9]), model.embed([PROMPT])
    grey = model.encode(torch.zeros(1, 3, 32, 32)).mean
    by_hand = torch.cat([x_t, torch.ones(1, 1, 8, 8), grey], dim=1)
    told = model.components()["unet"](by_hand, t, encoder_hidden_states=condition.tokens).sample
    assert torch.equal(model.predict(x_t, t, condition), told)


def test_a_controlnet_beside_an_inpainting_base_sees_the_latents_alone_as_in_diffusers(
    inpainting_base: Path, tmp_path: Path
) -> None:
    model = load_family(str(inpainting_base))
    method = make_method("controlnet", learning_rate=2e-2)
    update = attach(model, method.plan()[0])
    assert all(step.updated for step in steps(model, update, 0, 3))
    net = ControlNetModel.from_pretrained(write(model, method, tmp_path / "net") / "controlnet")
    image, mask, hint = photo(), left_half(), photo().transpose(Image.Transpose.ROTATE_90)
    inputs = {"image": image, "mask_image": mask, "strength": 1.0, "height": 32, "width": 32}
    followed = {"control_image": hint, "controlnet_conditioning_scale": 1.0}
    kind = StableDiffusionControlNetInpaintPipeline
    reference = theirs(inpainting_base, kind, {**NO_CHECKER, "controlnet": net}, **inputs, **followed)
    method.detach(model)
    method.restore(model, tmp_path / "net")
    how: dict[str, Any] = {"steps": 4, "guidance": 4.0, "negative": "a cat", "starts": [Start(image, 1.0, mask)]}
    (drawn,) = draw(model, ["a dog"], [7], control_images=[[hint]], **how)
    inside = (0, 0, 16, 32)
    assert same(drawn.crop(inside), reference.crop(inside))
    method.detach(model)
    assert not same(drawn, draw(model, ["a dog"], [7], **how)[0])


def test_upscaling_is_enlarging_and_image_to_image(toy: Family) -> None:
    small = draw(toy, ["a dog"], [7], steps=4)
    (large,) = upscaled(toy, small, ["a dog"], [7], 2, steps=4)
    assert large.size == (64, 64)
    enlarged = small[0].resize((64, 64), Image.Resampling.LANCZOS)
    assert same(large, draw(toy, ["a dog"], [7], steps=4, size=64, starts=[Start(enlarged, REDRAWN)])[0])


def test_what_stays_is_enlarged_from_the_picture_itself(toy: Family) -> None:
    start = Start(photo(64, 64), 1.0, left_half(64, 64))
    small = draw(toy, ["a dog"], [7], steps=4, starts=[start])
    (large,) = upscaled(toy, small, ["a dog"], [7], 2, start=start, steps=4)
    assert same(large.crop((32, 0, 64, 64)), start.image.crop((32, 0, 64, 64)))
    assert not same(large.crop((0, 0, 32, 64)), start.image.crop((0, 0, 32, 64)))


def test_a_picture_keeps_its_proportions_in_multiples_of_eight() -> None:
    fitted = Start(photo(300, 200), 1.0, left_half(300, 200)).fitted(64)
    assert fitted.image.size == fitted.mask.size == (96, 64)  # type: ignore[union-attr]
    assert set(np.unique(np.asarray(fitted.mask))) == {0, 255}
    assert Start(photo(40, 32)).fitted(32).image.size == (40, 32)
    assert Start(photo(44, 32)).fitted(32, 16).image.size == (48, 32)  # a base of two latents a patch


def put(folder: Path, name: str, image: Image.Image) -> Path:
    image.save(folder / name)
    return folder / name


@pytest.mark.parametrize(
    ("mask", "told"),
    [
        (Image.new("L", (32, 32), 0), "is empty"),
        (Image.new("L", (32, 32), 100), "is empty"),
        (Image.new("L", (32, 32), 255), "is full"),
        (Image.new("RGBA", (32, 32), (255, 255, 255, 0)), "is empty"),  # its transparency says so
    ],
)
def test_a_mask_that_is_empty_or_full_is_an_error(mask: Image.Image, told: str, tmp_path: Path) -> None:
    with pytest.raises(BadDataError, match=f"mask.png {told}"):
        read_start(put(tmp_path, "a.png", photo()), None, put(tmp_path, "mask.png", mask))


def test_a_mask_that_vanishes_at_the_drawn_size_is_an_error(toy: Family) -> None:
    mask = Image.new("L", (32, 32))
    mask.putpixel((13, 13), 255)
    with pytest.raises(BadDataError, match="too small"):
        draw(toy, ["a dog"], [0], steps=2, starts=[Start(photo(), 1.0, mask)])


def test_defaults_are_those_of_diffusers(tmp_path: Path) -> None:
    image, mask = put(tmp_path, "a.png", photo()), put(tmp_path, "m.png", left_half())
    (plain, told), (masked, _) = read_start(image, None, None), read_start(image, None, mask)
    assert plain is not None
    assert masked is not None
    assert (plain.strength, masked.strength, told) == (0.8, 1.0, [])


@pytest.mark.parametrize(
    ("options", "told"),
    [
        ((None, 0.5, None), "CONCEPT:0.8"),
        ((None, None, Path("m.png")), "with `init`"),
        ((Path("a.png"), 1.5, None), "at most 1"),
        ((Path("a.png"), 0.0, None), "over 0"),
        ((Path("no.png"), None, None), "no.png does not exist"),
    ],
)
def test_options_that_make_no_sense_are_errors(options: tuple[Any, ...], told: str) -> None:
    with pytest.raises(BoothError, match=told):
        read_start(*options)


def test_a_strength_that_leaves_no_step_is_an_error(toy: Family) -> None:
    with pytest.raises(UsageError, match="at least `steps=5`"):
        draw(toy, ["a dog"], [0], steps=4, starts=[Start(photo(), 0.2)])
