"""Pictures of what was learned, at the same prompts and seeds whenever they are drawn: samples and previews."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass, field
from pathlib import Path

from PIL.Image import Image

from booth.core.family import Family
from booth.core.method import Subject
from booth.data.captions import with_subject
from booth.data.control_images import ControlImages
from booth.data.photos import PhotoSet
from booth.generate.draw import STEPS, draw
from booth.generate.png import SAMPLERS, parameters_text, save_png
from booth.generate.prompts import file_names

CONTEXTS = ("", " on the beach", " in the jungle", " in the snow")  # what is drawn of every subject
THINGS = ("", " of a dog", " of a teapot", " of the beach")  # and in every style


@dataclass(frozen=True)
class Scenes:
    """What is drawn of a run, whenever it is drawn: the subject in a few contexts, or control images to follow."""

    prompts: list[str]
    control_images: list[list[Image]]  # of each ControlNet in place, one a prompt
    offsets: list[int] = field(default_factory=list[int])  # of each picture's seed from the run's

    @classmethod
    def of(
        cls, subject: Subject, control_images: ControlImages | None, photos: list[PhotoSet], side: int, seeds: int = 1
    ) -> Scenes:
        """Each subject in several places, or several things in a style; with hints, each one's first few pictures.

        `photos` are those of each of `subject.all`; each scene is drawn at so many `seeds`, one beside the other.
        """
        prompts, images = cls._once(subject, control_images, photos, side)
        offsets = [scene + again * len(prompts) for scene in range(len(prompts)) for again in range(seeds)]
        often = [[image for image in each for _ in range(seeds)] for each in images]
        return cls([prompt for prompt in prompts for _ in range(seeds)], often, offsets)

    @staticmethod
    def _once(
        subject: Subject, control_images: ControlImages | None, photos: list[PhotoSet], side: int
    ) -> tuple[list[str], list[list[Image]]]:
        if control_images is None:
            return [prompt for s in subject.all for prompt in sample_prompts(s)], []
        shown = [(s, p) for s, each in zip(subject.all, photos, strict=True) for p in each.photos[: len(CONTEXTS)]]
        prompts = [with_subject(p.caption, s) if p.caption else s.prompt for s, p in shown]
        return prompts, [[control_images.of(p, side) for _, p in shown]]


def sample_prompts(subject: Subject) -> list[str]:
    """Four prompts that show what was learned: the subject in several places, or several things in the style."""
    if subject.kind == "style":
        return [f"a picture{thing} in {subject.name}" for thing in THINGS]
    return [f"{subject.prompt}{context}" for context in CONTEXTS]


def draw_samples(
    model: Family, scenes: Scenes, seed: int, folder: Path, on_picture: Callable[[int], None] | None = None
) -> list[Path]:
    """Draw the scenes, each with a seed of its own that is always the same; a broken picture stops no training."""
    folder.mkdir(parents=True, exist_ok=True)
    prompts = scenes.prompts
    if not prompts:  # a ControlNet draws nothing without a hint, not even no picture
        return []
    seeds = [seed + offset for offset in scenes.offsets]
    files = [folder / name for name in file_names(prompts, seeds)]
    control_images = scenes.control_images
    drawn = draw(
        model, prompts, seeds, steps=STEPS, control_images=control_images, require_finite=False, on_picture=on_picture
    )
    for picture, file, prompt, s in zip(drawn, files, prompts, seeds, strict=True):
        size = f"{picture.width}x{picture.height}"
        sampler = SAMPLERS[model.sampler]
        how = {"Steps": STEPS, "Sampler": sampler, "CFG scale": model.guidance, "Seed": s, "Size": size}
        save_png(picture, file, parameters_text(prompt, "", how))
    return files
