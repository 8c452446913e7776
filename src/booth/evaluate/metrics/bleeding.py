"""Bleeding: does one subject show where only another was asked for, once several are loaded?"""

from __future__ import annotations

import math
from collections.abc import Sequence
from dataclasses import dataclass
from typing import ClassVar

import torch
from torch import Tensor

from booth.core.encoder import Encoder
from booth.core.metric import Drawn, Evidence, Metric, Score, Shared, by_prompt


@dataclass(frozen=True)
class Likeness:
    """Cosines of pictures in which one subject was asked for, the mean over references: (pictures,)."""

    own: Tensor
    others: Tensor  # (other subjects, pictures)

    @property
    def margin(self) -> Tensor:
        """Own minus other."""
        return self.own - self.others.mean(0)

    def to_json(self) -> dict[str, float]:
        """The two means."""
        return {"own": round(float(self.own.mean()), 4), "other": round(float(self.others.mean()), 4)}


class Bleeding(Metric[Encoder]):
    """How far own-minus-other likeness falls against each concept alone, at the same prompts and seeds.

    Own is the mean cosine with the photos of the subject asked for, other that with the photos of the other subjects
    in use, which were not asked for. Units are the prompts of each subject. The part `other` is how much more other
    there is than in what the untouched base draws; it is all that is known of subjects that were taught in one run,
    since none of them can be loaded alone. The part `together` is how much of own is lost where all subjects are asked
    for in one prompt. `subjects` holds the means; `worst` says which subject was asked for and which one shows most
    beside it, against alone or the base.
    """

    name = "bleeding"
    title = "bleeding between subjects"
    better = "lower"
    range = (-2.0, 2.0)
    needs = ("subjects_together", "drawn_together")
    role = "subject"
    not_of_styles = "styles that are used together are meant to mix"
    parts: ClassVar[dict[str, str]] = {
        "other": "likeness to another subject, over the base",
        "together": "likeness lost where all are asked for",
    }
    source = "image alignment of several concepts (Custom Diffusion, 2212.04488), against each one alone"

    def measure(self, evidence: Evidence, encoder: Encoder) -> list[Score]:
        shared, together = evidence.subjects_together, evidence.drawn_together
        likenesses: list[dict[str, Likeness]] = []
        units: dict[str, list[float]] = {"": [], "other": [], "together": []}
        for i, one in enumerate(shared):
            sets = {"untouched": one.untouched, "alone": one.alone, "loaded": one.loaded, "together": together}
            found = {name: _likeness(drawn, i, shared, encoder) for name, drawn in sets.items() if drawn}
            loaded = found["loaded"]
            risen = (loaded.others - found["untouched"].others).mean(0)
            units["other"] += by_prompt(risen.tolist(), one.loaded)
            units["together"] += by_prompt((loaded.own - found["together"].own).tolist(), one.loaded)
            if "alone" in found:
                units[""] += by_prompt((found["alone"].margin - loaded.margin).tolist(), one.loaded)
            likenesses.append(found)
        details = {
            "subjects": {
                one.subject.name: {name: likeness.to_json() for name, likeness in found.items()}
                for one, found in zip(shared, likenesses, strict=True)
            },
            "worst": _worst(shared, likenesses),
        }
        return [self.score(values, encoder, part, **details) for part, values in units.items() if values]


def _likeness(drawn: Sequence[Drawn], index: int, shared: Sequence[Shared], encoder: Encoder) -> Likeness:
    pictures = encoder.images([d.image for d in drawn])
    cosine = torch.stack([(pictures @ encoder.images(one.references).T).mean(1) for one in shared])
    return Likeness(cosine[index], torch.cat([cosine[:index], cosine[index + 1 :]]))


def _worst(shared: Sequence[Shared], likenesses: Sequence[dict[str, Likeness]]) -> list[str]:
    """Who was asked for, and whose likeness rose most in those pictures."""
    most, pair = -math.inf, ["", ""]
    for i, found in enumerate(likenesses):
        risen = (found["loaded"].others - found.get("alone", found["untouched"]).others).mean(1)
        others = [one.subject.name for j, one in enumerate(shared) if j != i]
        if float(risen.max()) > most:
            most, pair = float(risen.max()), [shared[i].subject.name, others[int(risen.argmax())]]
    return pair
