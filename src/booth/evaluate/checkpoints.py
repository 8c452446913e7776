"""The judge that a run asks between steps: a few fixed prompts, compared with the untouched base."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

import torch
from PIL.Image import Image
from torch import Tensor

from booth.core.encoder import Encoder, Role
from booth.core.errors import NotAvailableError
from booth.core.family import Family
from booth.core.json_values import Json
from booth.core.method import Subject
from booth.core.metric import Refused
from booth.core.rng import derived_seed
from booth.data.prior import class_prompt
from booth.evaluate.encoders import likeness_role, load_encoders, with_role
from booth.evaluate.metrics.copying import Originals
from booth.evaluate.protocol import paired_prompts
from booth.generate.draw import draw
from booth.train.selection import Marks

CONTEXTS = ("in the jungle", "in the snow", "on the beach", "on top of pink fabric")
THINGS = ("of a dog", "of a car", "of a teapot", "of the beach")  # what is drawn in a style, as many
CLASS_PICTURES = 2
STEPS = 12  # denoising steps: enough to see what is there
LEAST = 0.02  # a gap between floor and ceiling below this is no scale


class CheckpointJudge:
    """Scores subject, prompt, what is left of the class, and originality, each from 0 to 1.

    Subject: from the base without the token (0) to the photos among themselves (1), by prompt. Prompt: from the
    photos, which ignore it (0), to the base without the token (1). Class: the mean cosine of class pictures with those
    of the base at the same seeds. Original: 0 for a picture that copies a photo.
    """

    def __init__(self, model: Family, subject: Subject, photos: Sequence[Image], seed: int) -> None:
        self._model, self._photos = model, list(photos)
        encoders = load_encoders(scale=model.scale)
        self._subject_by = _first(encoders, likeness_role(subject))
        self._prompt_by, self._class_by = _first(encoders, "prompt"), _first(encoders, "distribution")
        is_style = subject.kind == "style"
        asked = [f"a picture {t} in {{}}" for t in THINGS] if is_style else [f"a {{}} {c}" for c in CONTEXTS]
        pairs = paired_prompts(asked, subject)
        self.prompts, self._plain = [prompt for prompt, _ in pairs], [plain for _, plain in pairs]
        self._class = [class_prompt(subject.noun, subject.kind)] * CLASS_PICTURES
        count = len(CONTEXTS) + CLASS_PICTURES
        self._seeds = [derived_seed(seed, "checkpoint", i) for i in range(count)]
        base = self._draw(self._plain + self._class)
        drawn, self._base_class = base[: len(CONTEXTS)], self._class_by.images(base[len(CONTEXTS) :])
        self._references = self._subject_by.images(self._photos)
        among = self._references @ self._references.T
        others = ~torch.eye(len(photos), dtype=torch.bool)
        self._ceiling = float(among[others].mean()) if len(photos) > 1 else 1.0
        self._floor = self._likeness(drawn)
        self._texts = self._prompt_by.read(self._plain)
        self._followed = self._agreement(drawn)
        self._ignored = (self._prompt_by.images(self._photos) @ self._texts.T).mean(0)  # (prompts,)
        try:
            self._originals = Originals(self._photos, self._subject_by)
        except Refused:
            self._originals = None  # of a single photo nobody can say what a copy is

    def score(self) -> Marks:
        """Draw with the model as it is now."""
        images = self._draw(self.prompts + self._class)
        drawn, classes = images[: len(self.prompts)], images[len(self.prompts) :]
        likeness = self._likeness(drawn)
        subject = _between(likeness, self._floor, torch.full_like(likeness, self._ceiling), 0.0)
        prompt = _between(self._agreement(drawn), self._ignored, self._followed, 1.0)
        cosine = (self._class_by.images(classes) * self._base_class).sum(1)
        kept = float(cosine.mean().clamp(0, 1))
        original = torch.ones(len(drawn))
        if self._originals is not None:
            original = (~self._originals.compare(drawn, self._subject_by)[1].any(1)).float()
        units = subject * prompt * original * kept
        scores = {"subject": subject, "prompt": prompt, "original": original}
        means = {name: float(values.mean()) for name, values in scores.items()}
        return Marks(means | {"class": kept}, units.tolist())

    def about(self) -> dict[str, Json]:
        """Prompts and encoders."""
        by = {"subject": self._subject_by, "prompt": self._prompt_by, "class": self._class_by}
        return {"prompts": self.prompts, "encoders": {use: encoder.name for use, encoder in by.items()}}

    def _draw(self, prompts: list[str]) -> list[Image]:
        """Also of a checkpoint that draws no numbers: its pictures are black, and so are its marks."""
        how: dict[str, Any] = {"steps": STEPS, "batch_size": 4, "require_finite": False}
        return [i.convert("RGB") for i in draw(self._model, prompts, self._seeds, **how)]

    def _likeness(self, drawn: Sequence[Image]) -> Tensor:
        return (self._subject_by.images(drawn) @ self._references.T).mean(1)  # (prompts,)

    def _agreement(self, drawn: Sequence[Image]) -> Tensor:
        return (self._prompt_by.images(drawn) * self._texts).sum(1)  # (prompts,)


def _between(values: Tensor, floor: Tensor, ceiling: Tensor, unknown: float) -> Tensor:
    """Where values lie from floor (0) to ceiling (1); `unknown` where the two are too near to tell."""
    gap = ceiling - floor
    share = ((values - floor) / gap.clamp(min=LEAST)).clamp(0, 1)
    return torch.where(gap < LEAST, torch.full_like(share, unknown), share)


def _first(encoders: Sequence[Encoder], role: Role) -> Encoder:
    found = with_role(encoders, role)
    if not found:
        raise NotAvailableError(
            f"No encoder here serves as {role}, so checkpoints cannot be scored.",
            "Train with `until=steps`, or run `hf download openai/clip-vit-base-patch32` while online.",
            code="encoder.none_here",
            field="until",
        )
    return found[0]
