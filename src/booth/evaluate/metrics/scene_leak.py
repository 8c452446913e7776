"""Leftovers by name: does a photo's scene come back where another scene was asked for?"""

from __future__ import annotations

from typing import TYPE_CHECKING

from booth.core.metric import Evidence, Metric, Refused, Score, by_prompt
from booth.evaluate.prompt_factors import prompt_factors

if TYPE_CHECKING:
    from booth.evaluate.encoders.world import WorldJudges


class SceneLeak(Metric["WorldJudges"]):
    """Share of drawings that the judge finds in a photo's scene, over the prompts that ask for a scene in no photo.

    `photos` counts the drawings for each photo with that scene, `scenes` names it, `of` is how many were looked at.
    """

    name = "scene_leak"
    title = "scenes of photos"
    better = "lower"
    range = (0.0, 1.0)
    needs = ("drawn", "photos")
    role = "judge"
    source = "background leak (2604.01973), by a judge that names scenes"

    def measure(self, evidence: Evidence, encoder: WorldJudges) -> list[Score]:
        scenes = [verdict.scene for verdict in encoder.verdicts(evidence.photos)]
        wanted = [prompt_factors(d.plain, evidence.subject.noun).scene for d in evidence.drawn]
        rows = [d for d, scene in zip(evidence.drawn, wanted, strict=True) if scene is not None and scene not in scenes]
        if not rows:
            raise Refused("no prompt asks for a scene that is in no photo")
        found = [verdict.scene for verdict in encoder.verdicts([d.image for d in rows])]
        counts = {str(i): n for i, scene in enumerate(scenes, 1) if (n := found.count(scene))}
        details = {"photos": counts, "scenes": {i: scenes[int(i) - 1] for i in counts}, "of": len(rows)}
        return [self.score(by_prompt([scene in scenes for scene in found], rows), encoder, **details)]
