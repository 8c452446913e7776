"""The base's own score: pictures for prompts of held-out combinations, judged (`booth world score`)."""

from __future__ import annotations

from collections.abc import Collection
from typing import Any

import numpy as np

from booth.families.loading import load_family, resolve_base
from booth.generate.draw import draw
from booth.world.captions import prompt
from booth.world.judges import SIDE, Judges
from booth.world.pixels import reduced
from booth.world.reconstruction import edge_strength
from booth.world.sampling import is_held_out_combination, render_many, sample_factors
from booth.world.vocabulary import ACCESSORIES, NOUNS, SCENES

OBJECT = "object_in_held_out_combination"  # what is drawn here: the judges' error with renders of the same kind


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


def accessory_prompts(count: int, seed: int, nouns: Collection[str] = tuple(NOUNS)) -> list[tuple[str, str, str]]:
    """(prompt, noun, accessory) of live subjects that wear something, in scenes where training showed their noun."""
    rng = np.random.default_rng([seed, 78])
    live, scenes, worn = ([*x] for x in ([n for n in NOUNS if NOUNS[n].live and n in nouns], SCENES, ACCESSORIES))
    wanted: list[tuple[str, str, str]] = []
    while len(wanted) < count:
        noun, scene, accessory = (str(rng.choice(options)) for options in (live, scenes, worn))
        if not is_held_out_combination(noun, scene):
            wanted.append((prompt(noun, scene, accessory=accessory), noun, accessory))
    return wanted


def empty_prompts(count: int) -> list[str]:
    """Scenes alone, each as often as the others."""
    phrases = [f"a photo of {scene.empty[0]}" for scene in SCENES.values()]
    return [phrases[i % len(phrases)] for i in range(count)]


def score(
    base: str = "embedded", pictures: int = 400, seed: int = 0, *, steps: int = 30, guidance: float | None = None
) -> dict[str, Any]:
    """Object, scene, colour and joint accuracy (0..1) of `pictures` drawings, with the judges' own errors beside.

    A quarter as many drawings more are asked for an accessory, and as many for an empty scene. `sharpness` is the mean
    strength of the drawings' strong edges over that of renders of the same kind. `guidance` is the base's own where it
    is None.
    """
    model = load_family(str(resolve_base(base)))
    guidance = model.guidance if guidance is None else guidance
    judges = Judges()
    wanted = held_out_prompts(pictures, seed, judges.labels.nouns)
    worn = accessory_prompts(max(pictures // 4, 1), seed, judges.labels.nouns)
    empty = empty_prompts(max(pictures // 4, 1))
    prompts = [w[0] for w in wanted] + [w[0] for w in worn] + empty
    images = draw(
        model, prompts, [seed + i for i in range(len(prompts))], steps=steps, guidance=guidance, batch_size=16
    )
    drawn = np.stack([np.asarray(image.convert("RGB")) for image in images])
    seen = judges.look(reduced(drawn, SIDE))
    verdicts, wearing, alone = seen[:pictures], seen[pictures : pictures + len(worn)], seen[pictures + len(worn) :]
    objects = np.array([v.objects[0] == noun for v, (_, noun, _, _) in zip(verdicts, wanted, strict=True)])
    scenes = np.array([v.scene == scene for v, (_, _, scene, _) in zip(verdicts, wanted, strict=True)])
    asked = np.array([colour is not None for *_, colour in wanted])
    colours = np.array([v.colour == colour for v, (*_, colour) in zip(verdicts, wanted, strict=True)])
    by_noun = {n: objects[[w[1] == n for w in wanted]] for n in judges.labels.nouns}
    by_scene = {s: scenes[[w[2] == s for w in wanted]] for s in SCENES}
    renders, _, _ = render_many(min(pictures, 400), seed=seed, split="held_out", workers=1, size=drawn.shape[1])
    return {
        "object": round(float(objects.mean()), 4),
        "scene": round(float(scenes.mean()), 4),
        "colour": round(float(colours[asked].mean()), 4),
        "joint": round(float((objects & scenes & (colours | ~asked)).mean()), 4),
        "accessory": round(float(np.mean([v.accessory == a for v, (_, _, a) in zip(wearing, worn, strict=True)])), 4),
        "empty": round(float(np.mean([v.empty for v in alone])), 4),
        "sharpness": round(float(edge_strength(drawn[:pictures]).mean() / edge_strength(renders).mean()), 4),
        "pictures": pictures,
        "seed": seed,
        "steps": steps,
        "guidance": guidance,
        "judge_errors": {
            k: round(1 - judges.errors[name], 4)
            for k, name in (("object", OBJECT), *((k, k) for k in ("scene", "colour", "accessory", "empty")))
            if name in judges.errors
        },
        "worst_nouns": sorted(((round(float(v.mean()), 2), k) for k, v in by_noun.items() if len(v)))[:8],
        "worst_scenes": sorted(((round(float(v.mean()), 2), k) for k, v in by_scene.items() if len(v)))[:5],
    }
