"""A ControlNet from the command line: train it, make a hint, draw."""

from pathlib import Path

import pytest
import torch
from diffusers import StableDiffusionXLControlNetPipeline
from PIL import Image
from told import last_object

from bases import write_base
from booth.concept import Concept
from harness import computing_as_we_do, read_controlnet


@pytest.mark.essential
def test_from_pictures_to_a_drawing_that_follows_a_hint(booth_cli, toy_base: Path, five_photos: Path) -> None:
    options = ["--set", "control=scribble", "--set", "batch_size=1", "--steps", 1, "--base", toy_base]
    trained = booth_cli("train", five_photos, "--method", "controlnet", *options)
    assert trained.exit_code == 0, trained.stderr
    assert trained.stdout.splitlines()[-1].endswith("concepts/scribble-controlnet")
    assert "Hints: scribble, made from the pictures." in trained.stderr
    assert "PROMPT --control HINT" in trained.stderr
    concept = Concept.load("concepts/scribble-controlnet")
    assert concept.record.settings["caption_dropout"] == 0.5

    made = booth_cli("hint", five_photos / "0.png", "--type", "scribble", "--json")
    assert last_object(made) == {"type": "scribble", "hints": ["hints/0.png"]}
    words = ["generate", concept.folder, "a dog", "--steps", 1, "--control", "hints/0.png"]
    drawn = booth_cli(*words, "--control-type", "scribble")
    assert drawn.exit_code == 0, drawn.stderr
    assert drawn.stdout == "pictures/a-dog-0.png\n"
    assert "resized to 32x32" in drawn.stderr
    assert "does not name the subject" not in drawn.stderr

    wrong = booth_cli(*words, "--control-type", "depth")
    assert (wrong.exit_code, "trained to follow scribble" in wrong.stderr) == (2, True)
    for size in (-8, 0, 33, 10**9):
        absurd = booth_cli(*words, "--size", size, "--out", "absurd")
        assert (absurd.exit_code, f"A picture of {size} pixels cannot be drawn" in absurd.stderr) == (2, True)
    absurd = booth_cli(*words, "--upscale", 10**6, "--out", "absurd")
    assert (absurd.exit_code, "--upscale 1000000 makes" in absurd.stderr) == (2, True)
    assert not Path("absurd").exists()


def test_a_concept_and_a_hint_together_on_stable_diffusion_xl(booth_cli, five_photos: Path, tmp_path: Path) -> None:
    base, photo = write_base("stable_diffusion_xl", tmp_path / "xl"), five_photos / "0.png"
    how = ["--base", base, "--steps", 2, "--set", "batch_size=1", "--set", "learning_rate=0.05", "--json"]
    trained = [
        booth_cli("train", photo, "--method", *words, *how)
        for words in (["controlnet", "--set", "control=scribble"], ["lora", "--class", "dog"])
    ]
    for result in trained:
        assert result.exit_code == 0, (result.stderr, result.stdout)
    net, lora = (last_object(result)["concept"] for result in trained)
    assert booth_cli("hint", photo, "--type", "scribble").exit_code == 0
    following = ["--concept", net, "--control", "hints/0.png:0.8", "--control-type", "scribble"]
    drawn = booth_cli("generate", lora, "a photo of sks dog", *following, "--steps", 2, "--guidance", 4)
    assert drawn.exit_code == 0, drawn.stderr

    pipe = StableDiffusionXLControlNetPipeline.from_pretrained(base, controlnet=read_controlnet(Path(net)))
    pipe.load_lora_weights(lora, weight_name="pytorch_lora_weights.safetensors")
    pipe.set_progress_bar_config(disable=True)
    with computing_as_we_do(pipe):
        (theirs,) = pipe(
            "a photo of sks dog",
            image=Image.open("hints/0.png").convert("RGB").resize((16, 16), Image.Resampling.LANCZOS),
            height=16,
            width=16,
            num_inference_steps=2,
            guidance_scale=4.0,
            controlnet_conditioning_scale=0.8,
            generator=torch.Generator().manual_seed(0),
        ).images
    with Image.open("pictures/a-photo-of-sks-dog-0.png") as ours:
        assert ours.tobytes() == theirs.tobytes()


@pytest.mark.parametrize(
    ("words", "code", "told"),
    [
        (["--set", "control=pose"], 2, "'pose' is no control that makes one"),
        (["--set", "prior_weight=1"], 2, "the base is locked"),
    ],
)
def test_settings_that_make_no_sense_are_told(
    booth_cli, toy_base: Path, five_photos: Path, words: list[str], code: int, told: str
) -> None:
    result = booth_cli("train", five_photos, "--method", "controlnet", "--base", toy_base, *words)
    assert (result.exit_code, told in result.stderr) == (code, True)
    assert not Path("concepts").exists()
