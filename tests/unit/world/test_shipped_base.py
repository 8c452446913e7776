"""What is shipped: the base is a plain Stable Diffusion folder that draws what it is asked for."""

from __future__ import annotations

import json
from pathlib import Path

import numpy as np
import pytest
import torch
from diffusers import StableDiffusionPipeline
from PIL import Image

from booth.families.loading import EMBEDDED_FOLDER
from booth.world.judges import FOLDER, Judges, Labels
from booth.world.judges import SIDE as SIDE_OF_JUDGES
from booth.world.pixels import reduced
from booth.world.score import held_out_prompts
from booth.world.vocabulary import COLOURS, SCENES

ASSETS = EMBEDDED_FOLDER.parent
WORLD_ASSETS = ASSETS.parent / "world" / "assets"
SIDE = json.loads((EMBEDDED_FOLDER / "vae" / "config.json").read_text())["sample_size"]


@pytest.fixture(scope="module")
def judges() -> Judges:
    return Judges()


@pytest.fixture(scope="module")
def drawn() -> tuple[list[str], list[str], np.ndarray]:
    """Nouns, scenes and pictures of a dozen held-out combinations, by diffusers alone."""
    pipe = StableDiffusionPipeline.from_pretrained(EMBEDDED_FOLDER, torch_dtype=torch.float32)
    pipe.set_progress_bar_config(disable=True)
    wanted = held_out_prompts(12, seed=3, nouns=Labels.read(FOLDER).nouns)
    generators = [torch.Generator().manual_seed(i) for i in range(len(wanted))]
    images = pipe([w[0] for w in wanted], num_inference_steps=15, generator=generators).images
    return [w[1] for w in wanted], [w[2] for w in wanted], np.stack([np.asarray(image) for image in images])


def test_no_path_of_the_machine_it_was_trained_on_is_told() -> None:
    for file in ASSETS.rglob("*.json"):
        assert "/work" not in file.read_text(encoding="utf-8"), file
        assert "/root" not in file.read_text(encoding="utf-8"), file


@pytest.mark.essential
def test_plain_diffusers_draws_what_it_is_asked_for(drawn, judges: Judges) -> None:
    nouns, scenes, images = drawn
    assert images.shape == (12, SIDE, SIDE, 3)
    verdicts = judges.look(reduced(images, SIDE_OF_JUDGES))
    assert sum(v.scene == s for v, s in zip(verdicts, scenes, strict=True)) >= 10
    assert sum(v.objects[0] == n for v, n in zip(verdicts, nouns, strict=True)) >= 5  # by chance 0.3


def test_every_word_of_the_world_is_known_to_the_tokenizer() -> None:
    from transformers import CLIPTokenizer

    tokenizer = CLIPTokenizer.from_pretrained(EMBEDDED_FOLDER / "tokenizer")
    words = {
        w
        for text in (*Labels.read(FOLDER).nouns, *COLOURS, *(s.phrases[0] for s in SCENES.values()))
        for w in text.lower().split()
    }
    for word in words:
        assert len(tokenizer(word, add_special_tokens=False).input_ids) == 1, word


def test_photographs_survive_the_autoencoder() -> None:
    """The bundled photos of the demo stand in for a camera's: encode and decode keeps 20 dB and more."""
    from booth.families.loading import load_family
    from booth.world.reconstruction import psnr, reconstruct

    photos = sorted((WORLD_ASSETS / "demo").glob("*.png"))
    pixels = np.stack(
        [np.asarray(Image.open(p).convert("RGB").resize((SIDE, SIDE), Image.Resampling.BOX)) for p in photos]
    )
    vae = load_family(str(EMBEDDED_FOLDER)).components()["vae"]
    assert psnr(pixels, reconstruct(vae, pixels)).mean() > 20  # type: ignore[arg-type]


def test_the_folder_is_the_standard_layout() -> None:
    index = json.loads((EMBEDDED_FOLDER / "model_index.json").read_text())
    assert index["_class_name"] == "StableDiffusionPipeline"
    for part in ("vae", "text_encoder", "tokenizer", "unet", "scheduler"):
        assert Path(EMBEDDED_FOLDER, part).is_dir()


def test_a_region_is_drawn_anew_though_the_latents_are_not_of_four_channels() -> None:
    from booth.families.loading import load_family
    from booth.generate.draw import draw
    from booth.generate.start import Start

    model = load_family(str(EMBEDDED_FOLDER))
    before = Image.new("RGB", (SIDE, SIDE), (40, 120, 200))
    mask = Image.new("L", (SIDE, SIDE))
    inside = slice(SIDE // 4, SIDE * 3 // 4)
    mask.paste(255, (inside.start, inside.start, inside.stop, inside.stop))
    channels = model.components()["unet"].config.in_channels  # type: ignore[union-attr]
    (after,) = draw(model, ["a dog on the beach"], [0], steps=2, starts=[Start(before, 1.0, mask)])
    changed = (np.asarray(after) != np.asarray(before)).any(-1)
    assert changed[inside, inside].mean() > 0.9
    assert not changed[: inside.start].any()
    assert model.components()["unet"].config.in_channels == channels != 4  # type: ignore[union-attr]
