"""Drawing over a picture with each family: what diffusers' own pipelines draw, or one clear error."""

from __future__ import annotations

from collections.abc import Callable
from pathlib import Path
from typing import Any

import diffusers
import numpy as np
import pytest
import torch
from PIL import Image

from bases import SIDE, write_base
from booth.core.errors import UsageError
from booth.families.loading import load_family
from booth.families.pipelines import starting_from_picture
from booth.generate.checks import check_size
from booth.generate.draw import draw
from booth.generate.run import Request, generate
from booth.generate.start import Start
from harness import PROMPT, attach, make_method
from listening import progress

PICTURE = Image.fromarray(np.random.default_rng(5).integers(0, 256, (SIDE, SIDE, 3), dtype=np.uint8))
MASK = Image.new("L", (SIDE, SIDE))
MASK.paste(255, (0, 0, SIDE // 2, SIDE))
OPTIONS: dict[str, dict[str, Any]] = {"stable_diffusion_3": {"channels": 16}}  # its inpainting pipeline takes no other
WHOLE = {
    "stable_diffusion_xl": diffusers.StableDiffusionXLImg2ImgPipeline,
    "stable_diffusion_3": diffusers.StableDiffusion3Img2ImgPipeline,
    "flux": diffusers.FluxImg2ImgPipeline,
    "qwen_image": diffusers.QwenImageImg2ImgPipeline,
    "z_image": diffusers.ZImageImg2ImgPipeline,
    "chroma": diffusers.ChromaImg2ImgPipeline,
}
MASKED = {
    "stable_diffusion_xl": diffusers.StableDiffusionXLInpaintPipeline,
    "stable_diffusion_3": diffusers.StableDiffusion3InpaintPipeline,
    "flux": diffusers.FluxInpaintPipeline,
    "flux_2_klein": diffusers.Flux2KleinInpaintPipeline,
    "qwen_image": diffusers.QwenImageInpaintPipeline,
    "z_image": diffusers.ZImageInpaintPipeline,
    "chroma": diffusers.ChromaInpaintPipeline,
}
CASES = [(family, kind, None) for family, kind in WHOLE.items()] + [(f, kind, MASK) for f, kind in MASKED.items()]

Bases = Callable[[str], Path]


@pytest.fixture(scope="module")
def bases(tmp_path_factory: pytest.TempPathFactory) -> Bases:
    """The folder of a family's tiny base, written once."""
    parent = tmp_path_factory.mktemp("families")

    def base(family: str) -> Path:
        folder = parent / family
        return folder if folder.exists() else write_base(family, folder, **OPTIONS.get(family, {}))

    return base


@pytest.mark.parametrize(("family", "kind", "mask"), CASES, ids=lambda value: getattr(value, "__name__", None))
def test_a_picture_is_drawn_over_as_by_diffusers(bases: Bases, family: str, kind: Any, mask: Any) -> None:
    model = load_family(str(bases(family)))
    (ours,) = draw(model, [PROMPT], [3], steps=4, guidance=3.0, size=SIDE, starts=[Start(PICTURE, 0.5, mask)])
    pipe = kind.from_pretrained(bases(family))
    pipe.set_progress_bar_config(disable=True)
    if family == "chroma":
        pipe.transformer.register_to_config(guidance_embeds=False)  # which its inpainting asks, copied from FLUX's
    for name in model.components():
        getattr(pipe, name).requires_grad_(False)  # torch convolves by another algorithm for those that do
    (theirs,) = pipe(
        prompt=[PROMPT],
        image=PICTURE,
        strength=0.5,
        height=SIDE,
        width=SIDE,
        num_inference_steps=4,
        generator=torch.Generator().manual_seed(3),
        **({} if mask is None else {"mask_image": mask}),
        **model.guided(3.0, "", 1),
    ).images
    part = (0, 0, SIDE, SIDE) if mask is None else (0, 0, SIDE // 2, SIDE)
    assert ours.crop(part).tobytes() == theirs.crop(part).tobytes()
    assert ours.crop(part).tobytes() != PICTURE.crop(part).tobytes()


@pytest.mark.parametrize(("family", "kind", "mask"), CASES, ids=lambda value: getattr(value, "__name__", None))
@torch.no_grad()
def test_tokens_of_several_vectors_are_written_out_there_too(bases: Bases, family: str, kind: Any, mask: Any) -> None:
    model: Any = load_family(str(bases(family)))
    make_method("textual_inversion", vectors=2).attach(model, 0)
    pipe = starting_from_picture(model.pipeline(), masked=mask is not None)
    ours, theirs = (p.encode_prompt(prompt=[PROMPT], **_more(family))[0] for p in (pipe, model.pipeline()))
    assert torch.equal(torch.cat([*ours]), torch.cat([*theirs]))
    assert model.expand(PROMPT) == PROMPT.replace("sks", "sks sks_1")
    if family in ("stable_diffusion_3", "z_image"):  # the others are asked again for the negative prompt
        avoided = pipe.encode_prompt(prompt=["a dog"], **_more(family) | _avoiding([PROMPT]))[1]
        assert torch.equal(torch.cat([*avoided]), torch.cat([*ours]))
    assert type(pipe).__name__ == kind.__name__


def _avoiding(negative: list[str]) -> dict[str, Any]:
    return {"negative_prompt": negative, "do_classifier_free_guidance": True}


def _more(family: str) -> dict[str, Any]:
    """What their routines have no defaults for."""
    if family == "stable_diffusion_3":
        return {"prompt_2": None, "prompt_3": None, "do_classifier_free_guidance": False}
    if family in ("stable_diffusion_xl", "z_image"):
        return {"do_classifier_free_guidance": False}
    if family == "chroma":
        return {"max_sequence_length": 512}  # its inpainting has another default
    return {"prompt_2": None} if family == "flux" else {}


@pytest.mark.parametrize("how", [{"start": Start(PICTURE)}, {"upscale": 2}])
def test_a_family_that_diffusers_has_no_such_pipeline_for_says_so_before_it_draws(
    bases: Bases, how: dict[str, Any], tmp_path: Path
) -> None:
    heard: list[int] = []
    request = Request([PROMPT], base=str(bases("flux_2_klein")), steps=1, size=SIDE, **how)
    with pytest.raises(UsageError, match=r"nothing that draws over a picture.*`init` and `upscale`.*inside a `mask`"):
        generate(request, tmp_path / "out", listeners=[progress(heard)])
    assert not heard


@pytest.mark.parametrize("mask", [None, MASK], ids=["whole", "masked"])
def test_stable_diffusion_3_follows_no_hint_over_a_picture(bases: Bases, mask: Image.Image | None) -> None:
    model = load_family(str(bases("stable_diffusion_3")))
    attach(model, make_method("controlnet").plan()[0])
    with pytest.raises(UsageError, match=r"nothing that draws over a picture with this base beside a ControlNet"):
        draw(model, [PROMPT], [3], steps=4, size=SIDE, starts=[Start(PICTURE, 0.5, mask)], control_images=[[PICTURE]])


def test_what_flux_2_would_shrink_is_refused(bases: Bases, monkeypatch: pytest.MonkeyPatch) -> None:
    model = load_family(str(bases("flux_2_klein")))
    assert model.largest_area == 1024 * 1024
    monkeypatch.setattr(type(model), "largest_area", SIDE * SIDE - 1)
    with pytest.raises(UsageError, match=r"would be 16x16.*over one of 255 pixels at most.*`size`"):
        draw(model, [PROMPT], [3], steps=2, size=SIDE, starts=[Start(PICTURE, 1.0, MASK)])


@pytest.mark.parametrize("family", ["flux", "z_image"])
def test_a_flow_takes_a_step_over_a_picture_however_weak(bases: Bases, family: str) -> None:
    model = load_family(str(bases(family)))
    pipe = starting_from_picture(model.pipeline(), masked=False)
    for steps, strength in ((4, 0.2), (3, 0.35), (30, 0.35), (7, 1.0), (10, 0.3)):
        pipe.scheduler.set_timesteps(steps, mu=1.0)
        assert model.steps_taken(steps, strength) == pipe.get_timesteps(steps, strength, "cpu")[1] >= 1
    (drawn,) = draw(model, [PROMPT], [3], steps=4, size=SIDE, starts=[Start(PICTURE, 0.2)])
    assert drawn.size == PICTURE.size


def test_nothing_is_watermarked(bases: Bases, monkeypatch: pytest.MonkeyPatch) -> None:
    pipe = load_family(str(bases("stable_diffusion_xl"))).pipeline()
    for masked in (False, True):
        kind = diffusers.StableDiffusionXLInpaintPipeline if masked else diffusers.StableDiffusionXLImg2ImgPipeline
        monkeypatch.setitem(kind.__init__.__globals__, "is_invisible_watermark_available", lambda: True)
        monkeypatch.setitem(kind.__init__.__globals__, "StableDiffusionXLWatermarker", object)
        assert starting_from_picture(pipe, masked).watermark is None


def test_a_family_draws_no_further_than_its_positions_go(bases: Bases) -> None:
    model = load_family(str(bases("stable_diffusion_3")))
    assert model.largest == 8 * 4  # patches of 2x2 latents of 2x2 pixels
    assert load_family(str(bases("z_image"))).largest == 64 * 4
    with pytest.raises(UsageError, match=r"36 pixels cannot be drawn.*such as 16, and at most 32"):
        check_size(model, 36)
    with pytest.raises(UsageError, match=r"`upscale=3`.*more than 32 pixels"):
        check_size(model, None, 3)
    wide = PICTURE.resize((3 * SIDE, SIDE))
    with pytest.raises(UsageError, match=r"48 pixels a side.*32 at most.*`size`"):
        draw(model, [PROMPT], [3], steps=2, size=SIDE, starts=[Start(wide, 0.5)])
