"""The base's own score: pictures for prompts of held-out combinations, judged (`booth world score`)."""

from __future__ import annotations

from collections.abc import Collection
from typing import Any

import numpy as np

from booth.families.loading import load_family, resolve_base
from booth.generate.draw import draw
from booth.world.captions import prompt
from booth.world.judges import Judges
from booth.world.sampling import sample_factors
from booth.world.vocabulary import NOUNS, SCENES


def held_out_prompts(
    count: int, seed: int, nouns: Collection[str] = tuple(NOUNS)
) -> list[tuple[str, str, str, str | None]]:
    """(prompt, noun, scene, colour or None) of single objects in combinations that training never showed."""
    rng = np.random.default_rng([seed, 77])
    wanted: list[tuple[str, str, str, str | None]] = []
    while len(wanted) < count:
        factors = sample_factors(rng, "held_out", two_share=0.0)
        noun, scene = factors.objects[0].identity.noun, factors.scene
        if noun not in nouns:
            continue
        # Half of the prompts ask for a colour as well, so that the joint figure tests the binding of all three.
        colour = factors.objects[0].colour if len(wanted) % 2 else None
        if len(wanted) % 2 and colour is None:
            continue
        wanted.append((prompt(noun, scene, colour=colour), noun, scene, colour))
    return wanted


def score(
    base: str = "embedded", pictures: int = 400, seed: int = 0, *, steps: int = 30, guidance: float = 5.0
) -> dict[str, Any]:
    """Object, scene, colour and joint accuracy (0..1) of `pictures` drawings, with the judges' own errors beside."""
    model = load_family(str(resolve_base(base)))
    judges = Judges()
    wanted = held_out_prompts(pictures, seed, judges.labels.nouns)
    images = draw(
        model,
        [w[0] for w in wanted],
        [seed + i for i in range(pictures)],
        steps=steps,
        guidance=guidance,
        batch_size=16,
    )
    verdicts = judges.look(np.stack([np.asarray(image.convert("RGB")) for image in images]))
    objects = np.array([v.objects[0] == noun for v, (_, noun, _, _) in zip(verdicts, wanted, strict=True)])
    scenes = np.array([v.scene == scene for v, (_, _, scene, _) in zip(verdicts, wanted, strict=True)])
    asked = np.array([colour is not None for *_, colour in wanted])
    colours = np.array([v.colour == colour for v, (*_, colour) in zip(verdicts, wanted, strict=True)])
    by_noun = {n: objects[[w[1] == n for w in wanted]] for n in judges.labels.nouns}
    by_scene = {s: scenes[[w[2] == s for w in wanted]] for s in SCENES}
    return {
        "object": round(float(objects.mean()), 4),
        "scene": round(float(scenes.mean()), 4),
        "colour": round(float(colours[asked].mean()), 4),
        "joint": round(float((objects & scenes & (colours | ~asked)).mean()), 4),
        "pictures": pictures,
        "seed": seed,
        "steps": steps,
        "guidance": guidance,
        "judge_errors": {k: round(1 - judges.errors[k], 4) for k in ("object", "scene", "colour")},
        "worst_nouns": sorted(((round(float(v.mean()), 2), k) for k, v in by_noun.items() if len(v)))[:8],
        "worst_scenes": sorted(((round(float(v.mean()), 2), k) for k, v in by_scene.items() if len(v)))[:5],
    }
