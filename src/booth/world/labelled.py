"""The world as a labelled set: one noun in several patterns, of which some are scarce, and a large test side."""

from __future__ import annotations

import csv
import io
from dataclasses import replace
from pathlib import Path

import numpy as np
from PIL import Image

from booth.core.errors import UsageError
from booth.world.identity import MARK_COLOURS, PALETTES, PATTERNS, Identity, sample_identity
from booth.world.render import Factors, render
from booth.world.sampling import sample_placement, sample_scene
from booth.world.vocabulary import NOUNS, SCENES

COLUMNS = ("image", "label", "group", "split", "context")
VIEWS = 2  # pictures of one individual, which are one group
OFF = 150  # sum of differences by which a pattern's colour stands off the body


def write_labelled(
    out: Path, noun: str, labels: list[str], scarce: list[str], few: int, many: int, test: int, seed: int
) -> Path:
    """Write pictures of patterns and their table: `few` of the scarce ones, `many` of others, `test` of each.

    Every individual is new, is shown twice, and both pictures are one group. UsageError for an unknown word.
    """
    if noun not in NOUNS:
        raise UsageError(
            f"The world has no {noun!r}.", f"It has {', '.join(NOUNS)}.", code="world.noun_unknown", field="noun"
        )
    for label in (*labels, *scarce):
        if label not in PATTERNS[1:] or (label in scarce and label not in labels):
            raise UsageError(
                f"{label!r} is none of the classes' patterns.",
                f"There are: {', '.join(PATTERNS[1:])}.",
                code="world.label_unknown",
                field="labels",
            )
    if out.exists() and any(out.iterdir()):
        raise UsageError(f"{out} is not empty.", "Name another folder with `out`.", code="out.not_empty", field="out")
    rows: list[tuple[str, ...]] = []
    for label in labels:
        for split, count in (("train", few if label in scarce else many), ("test", test)):
            for i in range(count):
                rng = np.random.default_rng([seed, PATTERNS.index(label), split == "test", i // VIEWS])
                identity = _patterned(rng, noun, label)
                view = np.random.default_rng([seed, PATTERNS.index(label), split == "test", i // VIEWS, i % VIEWS])
                scene = sample_scene(view)
                placement = replace(
                    sample_placement(view, identity, scene, accessory_share=0), colour=None, material=None
                )
                pixels = render(Factors((placement,), scene, seed=int(view.integers(2**31)))).image
                name = f"images/{label}-{split}-{i:04d}.png"
                (out / "images").mkdir(parents=True, exist_ok=True)
                Image.fromarray(pixels).save(out / name)
                rows.append((name, label, f"{label}-{split}-{i // VIEWS}", split, SCENES[scene].phrases[0]))
    stream = io.StringIO()
    csv.writer(stream, lineterminator="\n").writerows([COLUMNS, *rows])
    (out / "metadata.csv").write_text(stream.getvalue(), encoding="utf-8")
    return out / "metadata.csv"


def _patterned(rng: np.random.Generator, noun: str, pattern: str) -> Identity:
    """An individual with that pattern and nothing else that would tell the class."""
    plain = sample_identity(rng, noun, held_out=None)
    body = PALETTES[plain.palette]
    colours = [n for n, c in MARK_COLOURS.items() if body is None or np.abs(np.subtract(c, body[1])).sum() > OFF]
    colour = colours[int(rng.integers(len(colours)))]
    return replace(plain, pattern=pattern, pattern_colour=colour, part="none", part_colour="none")
