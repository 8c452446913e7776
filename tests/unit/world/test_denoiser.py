"""What the denoiser's loss looks at."""

from __future__ import annotations

import numpy as np

from booth.world.denoiser import SUBJECT, subject_weights
from booth.world.identity import Identity
from booth.world.render import Factors, Placement


def test_places_within_a_subjects_reach_weigh_more_and_the_mean_stays() -> None:
    alone = Factors((Placement(Identity("dog", "dog"), x=32, y=32, size=32),), "beach")
    pair = Factors((alone.objects[0], Placement(Identity("cup", "cup"), x=96, y=96, size=32)), "beach")
    first, second = subject_weights([alone, pair]).astype(np.float32)
    assert first.shape == (1, 8, 8)
    assert abs(first.mean() - 1) < 1e-2
    assert abs(second.mean() - 1) < 1e-2
    assert abs(first[0, 1, 1] / first[0, 6, 6] - SUBJECT) < 1e-2
    assert second[0, 1, 1] == second[0, 6, 6] > second[0, 0, 7]
