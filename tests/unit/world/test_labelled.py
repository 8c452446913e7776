"""The world as a labelled set."""

from __future__ import annotations

from pathlib import Path

import pytest

from booth.augment.readers import read_set
from booth.core.errors import UsageError
from booth.world.labelled import write_labelled


def test_groups_are_individuals_and_classes_are_told_by_the_pattern_alone(tmp_path: Path) -> None:
    write_labelled(tmp_path / "set", "dog", ["stripes", "dots"], ["dots"], few=2, many=4, test=2, seed=1)
    found = read_set(tmp_path / "set")
    train = found.side("train")
    assert dict(train.counts) == {"stripes": 4, "dots": 2}
    assert len(train.groups) == 3
    assert found.side("test").counts == {"stripes": 2, "dots": 2}
    assert all(p.context for p in found.pictures)


def test_what_the_world_has_not_is_told(tmp_path: Path) -> None:
    with pytest.raises(UsageError, match="'blobs' is none of the classes' patterns"):
        write_labelled(tmp_path / "set", "dog", ["stripes", "blobs"], [], few=2, many=2, test=2, seed=0)
    with pytest.raises(UsageError, match="The world has no 'dgo'"):
        write_labelled(tmp_path / "set", "dgo", ["stripes"], [], few=2, many=2, test=2, seed=0)
