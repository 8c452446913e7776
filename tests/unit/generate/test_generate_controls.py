"""ControlNets from the pictures to train on to the pictures drawn after hints."""

from __future__ import annotations

from collections.abc import Callable
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import torch
from diffusers import (
    ControlNetModel,
    DDIMScheduler,
    StableDiffusionControlNetImg2ImgPipeline,
    StableDiffusionControlNetInpaintPipeline,
)
from PIL import Image

import booth
from booth.concept import Concept
from booth.core.errors import BadDataError, UsageError
from booth.families.loading import load_family
from booth.generate import controls
from booth.generate.concepts import Applied, attached
from booth.generate.controls import ControlImage, parse_control_images, with_controlnets
from booth.generate.draw import draw
from booth.generate.run import Request, generate
from booth.generate.start import Start
from booth.generate.upscale import upscaled
from harness import computing_as_we_do
from listening import texts

Made = Callable[[str], Concept]


@pytest.fixture(scope="module")
def made(toy_base: Path, five_photos: Path, tmp_path_factory: pytest.TempPathFactory) -> Made:
    """Train a ControlNet on the toy base in four steps."""
    home = tmp_path_factory.mktemp("controlnets")
    done: dict[str, Concept] = {}

    def make(control: str) -> Concept:
        if control not in done:
            settings: dict[str, Any] = {"steps": 4, "learning_rate": 2e-2, "batch_size": 2}
            done[control] = booth.train(
                five_photos, base=str(toy_base), method="controlnet", out=home / control, control=control, **settings
            )
        return done[control]

    return make


@pytest.fixture
def hint(tmp_path: Path) -> Path:
    pixels = np.zeros((32, 32, 3), np.uint8)
    pixels[8:24, [8, 23]] = pixels[[8, 23], 8:24] = 255
    Image.fromarray(pixels).save(tmp_path / "edges.png")
    return tmp_path / "edges.png"


def drawn(out: Path, *concepts: Applied, **how: Any) -> bytes:
    (file,) = generate(Request(["a dog"], concepts, steps=2, **how), out).images
    return Image.open(file).tobytes()


def test_a_controlnet_has_no_subject_and_samples_that_follow_its_pictures(made: Made) -> None:
    concept = made("scribble")
    record = concept.record
    assert (record.subject.token, record.subject.noun, record.prompt) == ("", "", "")
    assert record.settings["control"] == "scribble"
    assert sorted(record.sizes) == ["controlnet/config.json", "controlnet/diffusion_pytorch_model.safetensors"]
    assert len(list((concept.folder / "samples").glob("*.png"))) == 4


@pytest.mark.essential
def test_drawing_follows_the_hint_at_its_strength(made: Made, hint: Path, tmp_path: Path, toy_base: Path) -> None:
    net = Applied(made("scribble"))
    plain = drawn(tmp_path / "0", base=str(toy_base))
    one = drawn(tmp_path / "1", net, control_images=[ControlImage(hint, "scribble")])
    blank = tmp_path / "blank.png"
    Image.new("RGB", (32, 32)).save(blank)
    assert len({plain, one, drawn(tmp_path / "2", net, control_images=[ControlImage(blank)])}) == 3
    assert drawn(tmp_path / "3", net, control_images=[ControlImage(hint, strength=0)]) == plain
    weak = drawn(tmp_path / "4", Applied(net.concept, 0.5), control_images=[ControlImage(hint)])
    assert drawn(tmp_path / "5", net, control_images=[ControlImage(hint, strength=0.5)]) == weak != one


def test_the_request_draws_what_draw_does(made: Made, hint: Path, tmp_path: Path, toy_base: Path) -> None:
    concept = made("scribble")
    model = load_family(str(toy_base))
    with attached(model, [Applied(concept)]):
        (picture,) = draw(model, ["a dog"], [0], steps=2, control_images=[[Image.open(hint).convert("RGB")]])
        with pytest.raises(UsageError, match="1 ControlNets are in place, and hints are given for 0"):
            draw(model, ["a dog"], [0])
    assert drawn(tmp_path / "out", Applied(concept), control_images=[ControlImage(hint)]) == picture.tobytes()
    with pytest.raises(UsageError, match="0 ControlNets are in place"):
        draw(model, ["a dog"], [0], control_images=[[picture]])


def test_a_concept_and_two_controlnets_are_drawn_together(
    made: Made, lora: Concept, hint: Path, tmp_path: Path
) -> None:
    canny, rough = Applied(made("canny")), Applied(made("scribble"))
    hints = [ControlImage(hint, "scribble"), ControlImage(hint, "canny", 0.6)]
    together = drawn(tmp_path / "all", Applied(lora), canny, rough, control_images=hints)
    assert together == drawn(tmp_path / "swapped", Applied(lora), canny, rough, control_images=hints[::-1])
    parts = [drawn(tmp_path / "lora", Applied(lora)), drawn(tmp_path / "nets", canny, rough, control_images=hints)]
    assert together not in parts
    text = Image.open(next((tmp_path / "all").glob("*.png"))).info["parameters"]
    assert f"Concepts: {lora.record.name}; canny (0.6); scribble" in text
    assert "Hints: edges.png; edges.png" in text


def test_a_hint_of_another_size_is_announced(made: Made, tmp_path: Path) -> None:
    Image.new("RGB", (80, 60), "white").save(tmp_path / "wide.png")
    told: list[str] = []
    request = Request(
        ["a dog"], [Applied(made("scribble"))], steps=1, control_images=[ControlImage(tmp_path / "wide.png")]
    )
    generate(request, tmp_path / "out", listeners=[texts(told)])
    assert told == [f"The hint {tmp_path / 'wide.png'} has 80x60 pixels; its central square is resized to 32x32."]


@pytest.mark.parametrize("masked", [False, True])
def test_drawing_over_a_picture_follows_the_hint_as_in_diffusers(
    made: Made, tmp_path: Path, toy_base: Path, masked: bool
) -> None:
    rng = np.random.default_rng(0)
    image, large = (Image.fromarray(rng.integers(0, 256, (h, w, 3), dtype=np.uint8)) for h, w in ((32, 48), (64, 96)))
    mask = Image.new("L", (48, 32))
    mask.paste(255, (0, 0, 24, 32))
    large.save(tmp_path / "hint.png")
    concept, start = made("scribble"), Start(image, 0.6, mask if masked else None)
    request = Request(
        ["a dog"], [Applied(concept)], steps=4, start=start, control_images=[ControlImage(tmp_path / "hint.png")]
    )
    told: list[str] = []
    (file,) = generate(request, tmp_path / "out", listeners=[texts(told)]).images
    assert told == [f"The hint {tmp_path / 'hint.png'} has 96x64 pixels; resized to 48x32."]

    kind: Any = StableDiffusionControlNetInpaintPipeline if masked else StableDiffusionControlNetImg2ImgPipeline
    net = ControlNetModel.from_pretrained(concept.folder / "controlnet")
    pipe = kind.from_pretrained(toy_base, controlnet=net, safety_checker=None, requires_safety_checker=False)
    pipe.scheduler = DDIMScheduler.from_config(pipe.scheduler.config)
    pipe.set_progress_bar_config(disable=True)
    with computing_as_we_do(pipe):
        theirs = pipe(
            "a dog",
            image=image,
            control_image=large.resize((48, 32), Image.Resampling.LANCZOS),
            **({"mask_image": mask} if masked else {}),
            width=48,
            height=32,
            strength=0.6,
            num_inference_steps=4,
            guidance_scale=6.0,
            controlnet_conditioning_scale=1.0,
            generator=torch.Generator().manual_seed(0),
        ).images[0]
    inside = (0, 0, 24, 32)
    assert Image.open(file).crop(inside).tobytes() == theirs.crop(inside).tobytes()


def test_upscaling_follows_the_hint_at_the_larger_size(made: Made, tmp_path: Path, toy_base: Path) -> None:
    hint = Image.fromarray(np.random.default_rng(0).integers(0, 256, (64, 64, 3), dtype=np.uint8))
    hint.save(tmp_path / "hint.png")
    concept, model = made("scribble"), load_family(str(toy_base))
    request = Request(
        ["a dog"], [Applied(concept)], steps=4, upscale=2, control_images=[ControlImage(tmp_path / "hint.png")]
    )
    (file,) = generate(request, tmp_path / "out").images
    with attached(model, [Applied(concept)]):
        small = draw(model, ["a dog"], [0], steps=4, control_images=[[hint.resize((32, 32), Image.Resampling.LANCZOS)]])
        (large,) = upscaled(model, small, ["a dog"], [0], 2, steps=4, control_images=[[hint]])
    assert Image.open(file).tobytes() == large.tobytes()


def test_what_does_not_fit_is_a_clear_error(
    made: Made, lora: Concept, hint: Path, tmp_path: Path, toy_base: Path
) -> None:
    net = Applied(made("scribble"))
    cases: list[tuple[list[Applied], list[ControlImage], str]] = [
        ([net], [], "is a ControlNet and needs a hint"),
        ([net], [ControlImage(hint, "canny")], "was trained to follow scribble, and .*edges.png is canny"),
        ([Applied(lora)], [ControlImage(hint, "canny")], "No ControlNet here follows canny on this base"),
        ([Applied(lora)], [ControlImage(hint)], "Which type of hint is"),
        ([net], [ControlImage(hint, "scribble"), ControlImage(hint, "depth")], "named follow: scribble. Train one"),
    ]
    for concepts, hints, told in cases:
        with pytest.raises(UsageError, match=told):
            drawn(tmp_path / "out", *concepts, base=str(toy_base), control_images=hints)
    with pytest.raises(BadDataError, match=r"none.png does not exist"):
        drawn(tmp_path / "out", net, control_images=[ControlImage(tmp_path / "none.png")])
    assert not (tmp_path / "out").exists()


def test_the_bases_own_controlnet_is_found_by_its_type(
    made: Made, hint: Path, tmp_path: Path, toy_base: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    concept = made("scribble")
    monkeypatch.setattr(controls, "CONTROLS_FOLDER", concept.folder.parent)
    own = drawn(tmp_path / "own", base=str(toy_base), control_images=[ControlImage(hint, "scribble", 0.5)])
    assert own == drawn(tmp_path / "named", Applied(concept, 0.5), control_images=[ControlImage(hint)])


def test_a_mistyped_kind_is_told_and_a_word_of_ones_own_is_a_kind(made: Made) -> None:
    taught = made("scribble")
    net = Concept(taught.folder, taught.record.model_copy(deep=True))
    net.record.settings["control"] = "circles"
    with pytest.raises(UsageError, match="Did you mean 'canny'"):
        with_controlnets([], parse_control_images(["a.png"], ["cany"]), "sha256:0")
    hints = parse_control_images(["a.png"], ["circles"])
    assert with_controlnets([Applied(net)], hints, "sha256:0")[1] == hints


def test_words_become_hints(tmp_path: Path) -> None:
    (tmp_path / "a:1.png").touch()
    file = str(tmp_path / "a:1.png")
    assert parse_control_images([file, "b.png:0.8"], ["canny", "depth"]) == [
        ControlImage(Path(file), "canny"), ControlImage(Path("b.png"), "depth", 0.8)
    ]  # fmt: skip
    assert parse_control_images(["b.png"], []) == [ControlImage(Path("b.png"))]
    for files, kinds, told in [
        (["a", "b"], ["canny"], "names 2 pictures and `control_types` 1"),
        (["a:x"], [], "'x' in 'a:x' is no"),
        (["a:nan"], [], "'nan' in 'a:nan' is no"),
        (["a:inf"], [], "'inf' in 'a:inf' is no"),
    ]:
        with pytest.raises(UsageError, match=told):
            parse_control_images(files, kinds)
