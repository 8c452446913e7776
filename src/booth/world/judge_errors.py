"""How often the judges are wrong, on renders that they have not seen."""

from __future__ import annotations

import numpy as np
import torch
from torch import Tensor

from booth.world.judge_targets import UNMENTIONED, labels_of
from booth.world.judges import ACCESSORY_NAMES, COLOUR_NAMES, NOUN_NAMES, SCENE_NAMES, SIDE, Judges
from booth.world.lineups import identity_groups, lineups
from booth.world.sampling import UPRIGHT_SHARE, render_many


def picks_the_right_one(vectors: Tensor) -> float:
    """Share of line-ups (G, n, 2, D) in which the first picture's nearest second picture is of the same individual."""
    return (torch.einsum("gd,gnd->gn", vectors[:, 0, 0], vectors[:, :, 1]).argmax(1) == 0).float().mean().item()


def presence_threshold(judges: Judges, workers: int) -> float:
    """The probability at which as many empty scenes are taken for pictures of things as things are overlooked."""
    kind = {"workers": workers, "size": SIDE, "upright_share": UPRIGHT_SHARE, "designer": "any"}
    empty, shown = (
        judges.presence(render_many(500, seed=911, split="any", empty_share=share, **kind)[0]) for share in (1.0, 0.0)
    )
    return where_errors_are_equal(shown, empty, torch.linspace(0.02, 0.98, 97))


def where_errors_are_equal(above: Tensor, below: Tensor, among: Tensor) -> float:
    """The threshold with as large a share of `above` below it as of `below` above it."""
    missed = torch.stack([((above < t).float().mean() - (below >= t).float().mean()).abs() for t in among])
    return round(float(among[missed.argmin()]), 4)


def measure_errors(judges: Judges, workers: int, count: int = 2_000) -> dict[str, float]:
    """Accuracies on renders with other seeds, and the identity threshold with its equal error rate."""
    judges.errors["presence_threshold"] = presence_threshold(judges, workers)
    kind = {"workers": workers, "size": SIDE, "upright_share": UPRIGHT_SHARE}
    images, captions, factors = render_many(count, seed=909, split="any", designer="any", **kind)
    verdicts, labels = judges.look(images), [labels_of(f) for f in factors]
    single = [i for i, y in enumerate(labels) if y[0] >= 0 > y[1]]
    shown = [i for i, y in enumerate(labels) if y[0] >= 0]
    empty = [i for i, y in enumerate(labels) if y[0] < 0]
    coloured = [i for i in single if labels[i][3] != UNMENTIONED]
    result = {
        "object": _share([verdicts[i].objects[0] == NOUN_NAMES[labels[i][0]] for i in single]),
        "scene": _share([v.scene == SCENE_NAMES[y[2]] for v, y in zip(verdicts, labels, strict=True)]),
        "colour": _share([verdicts[i].colour == COLOUR_NAMES[labels[i][3]] for i in coloured]),
        "accessory": _share([verdicts[i].accessory == ACCESSORY_NAMES[labels[i][4]] for i in single]),
    }
    result["presence_threshold"] = judges.presence_threshold
    result["empty"] = _share([v.empty for v in (verdicts[i] for i in empty)])
    result["not_empty"] = _share([not v.empty for v in (verdicts[i] for i in shown)])
    # What the base is asked for and has never seen: the judges have to know it.
    for name, split, designer in (("combination", "held_out", "seen"), ("designer", "any", "held_out")):
        strange, _, told = render_many(1_000, seed=910, split=split, designer=designer, empty_share=0.0, **kind)
        seen = [(v, f.objects[0]) for v, f in zip(judges.look(strange), told, strict=True) if len(f.objects) == 1]
        result[f"object_in_held_out_{name}"] = _share([v.objects[0] == o.identity.noun for v, o in seen])
    pictures, _ = identity_groups(250, seed=808, held_out=True, workers=workers)
    vectors = judges.identities(pictures.reshape(-1, 64, 64, 3)).reshape(*pictures.shape[:3], -1)  # (G, 8, 2, D)
    result["identity_near"] = picks_the_right_one(vectors)  # among seven that differ in one or two marks
    same = torch.einsum("gd,gd->g", vectors[:, 0, 0], vectors[:, 0, 1])
    rival = torch.einsum("gd,grd->gr", vectors[:, 0, 0], vectors[:, 1:, 1]).flatten()
    pictures = lineups(400, seed=707, workers=workers)
    vectors = judges.identities(pictures.reshape(-1, 64, 64, 3)).reshape(*pictures.shape[:3], -1)  # (G, 11, 2, D)
    result["identity"] = picks_the_right_one(vectors)  # among ten of the same noun
    same = torch.cat([same, torch.einsum("gd,gd->g", vectors[:, 0, 0], vectors[:, 0, 1])])
    other = torch.einsum("gd,grd->gr", vectors[:, 0, 0], vectors[:, 1:, 1]).flatten()
    threshold = where_errors_are_equal(same, other, torch.linspace(-1, 1, 401))
    result["identity_threshold"] = threshold
    result["identity_equal_error"] = (other >= threshold).float().mean().item()
    result["identity_near_taken_for_same"] = (rival >= threshold).float().mean().item()
    turned = [[captions[j] for j in np.roll(np.arange(200), shift)] for shift in range(20)]
    cosine = torch.stack([judges.agree(images[:200], words) for words in turned])
    result["agreement"] = (cosine.argmax(0) == 0).float().mean().item()  # own caption against nineteen others
    return {k: round(v, 4) for k, v in result.items()}


def _share(right: list[bool]) -> float:
    return float(np.mean(right))
