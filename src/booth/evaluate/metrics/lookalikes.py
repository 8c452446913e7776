"""Does the right subject in another scene win against a look-alike on the same background?"""

from __future__ import annotations

from booth.core.encoder import Encoder
from booth.core.metric import Evidence, Metric, Score, by_prompt


class Lookalikes(Metric[Encoder]):
    """Share of (drawing, look-alike) pairs in which the drawing is nearer to the references (NearID, 2604.01973).

    Look-alikes are other individuals of the class, in NearID on the references' backgrounds. Those of the world's
    subjects stand as in the photos that are learned from. Chance is one half.
    """

    name = "lookalikes"
    title = "wins against look-alikes"
    better = "higher"
    range = (0.0, 1.0)
    needs = ("drawn", "references", "lookalikes")
    role = "subject"
    not_of_styles = "a style has no individual to be mistaken for another"
    source = "2604.01973"

    def measure(self, evidence: Evidence, encoder: Encoder) -> list[Score]:
        references = encoder.images(evidence.references).T
        drawn = (encoder.images([d.image for d in evidence.drawn]) @ references).mean(1)  # (N,)
        others = (encoder.images(evidence.lookalikes) @ references).mean(1)  # (M,)
        wins = (drawn[:, None] > others[None]).float().mean(1).tolist()
        return [self.score(by_prompt(wins, evidence.drawn), encoder, lookalikes=len(evidence.lookalikes))]
