"""Subjects of the world for studies."""

from __future__ import annotations

import numpy as np

from booth.evaluate.subjects import world_subject
from booth.world.identity import is_held_out


def test_lookalikes_stand_where_the_photos_were_taken() -> None:
    subject = world_subject(7, "dog", photos=3)
    assert is_held_out(subject.identity)
    assert len(subject.photos) == len(subject.lookalikes) == len(subject.unseen) == 3
    for photo, other, unseen in zip(subject.photos, subject.lookalikes, subject.unseen, strict=True):
        corner, same = (np.asarray(image)[:12, :12] for image in (photo, other))
        assert np.array_equal(corner, same)
        assert photo.tobytes() != other.tobytes()
        assert not np.array_equal(corner, np.asarray(unseen)[:12, :12])
