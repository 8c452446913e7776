"""Whether a file draws what its concept draws: one small picture by each, compared pixel by pixel."""

from __future__ import annotations

from collections.abc import Generator
from contextlib import contextmanager
from typing import Any

import numpy as np
import torch
from PIL import Image as Images
from PIL.Image import Image

from booth.concept import Concept
from booth.core import file_names
from booth.core.family import Family
from booth.core.method import Subject
from booth.core.sites import PlacedControl
from booth.export.component_files import canonical
from booth.export.exporter import Job, Loaded
from booth.families.loading import load_family
from booth.generate.concepts import Applied, attached
from booth.generate.draw import draw
from booth.registry import METHODS

SIDE = 256  # pixels at most
STEPS = 4
SEED = 0


def greatest_difference(job: Job, loaded: Loaded) -> int:
    """The greatest difference of a colour of a pixel, of 255, between drawing with the concept and with the file.

    Both are drawn in float32 on the CPU from the concept's prompt and one seed, at the base's side or 256 pixels if
    that is less; a ControlNet follows a drawn disc. The two sides share no code that puts trained weights in place.
    """
    model = load_family(str(job.need_base("Comparing pictures").folder))
    with attached(model, [Applied(Concept(job.folder, job.record))]):
        ours = _picture(model, job)
    with _as_loaded(model, job, loaded):
        theirs = _picture(model, job)
    return int(np.abs(ours.astype(int) - theirs.astype(int)).max())


@contextmanager
def _as_loaded(model: Family, job: Job, loaded: Loaded) -> Generator[None]:
    """The model as a program has it after loading the file; it is not the base any more afterwards."""
    components = model.components()
    for component, weights in loaded.weights.items():
        if component == file_names.CONTROLNET:
            assert model.sites.control is not None
            net = model.sites.control.copy(True)
            net.load_state_dict(weights)
            model.sites.control.placed[component] = PlacedControl(net, job.record.settings["control"])
        else:
            live = components[component].state_dict()
            components[component].load_state_dict({n: weights.get(canonical(component, n), t) for n, t in live.items()})
    if not loaded.rows:
        yield
        return
    kind: Any = METHODS["textual_inversion"]
    words = job.record.subject
    vectors = len(next(iter(loaded.rows.values())))
    token = kind(kind.Config(vectors=vectors), Subject(words.token, words.noun))
    for group in token.attach(model, SEED):
        for name, parameter in group.parameters.items():
            with torch.no_grad():
                parameter.copy_(loaded.rows[name.removesuffix(".rows")])
    try:
        yield
    finally:
        token.detach(model)


def _picture(model: Family, job: Job) -> np.ndarray:
    side = min(model.resolution, SIDE) // model.multiple * model.multiple
    nets = len(model.sites.control.placed) if model.sites.control else 0
    control_images = [[_disc(side)]] * nets
    (image,) = draw(
        model, [job.record.prompt or "a photo"], [SEED], steps=STEPS, size=side, control_images=control_images
    )
    return np.asarray(image.convert("RGB"))


def _disc(side: int) -> Image:
    return Images.radial_gradient("L").resize((side, side)).point([255] * 128 + [0] * 128).convert("RGB")
