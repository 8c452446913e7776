"""Short lessons for the toy base."""

from __future__ import annotations

import json
import os
from pathlib import Path
from typing import Any

import pytest
from lessons import Lesson, Taught, blank, short_run

from booth.concept import Concept
from booth.config import RunConfig
from booth.train import samples
from booth.train.run import train


@pytest.fixture(scope="session")
def cache(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """Class pictures are drawn once a session."""
    return tmp_path_factory.mktemp("cache")


@pytest.fixture(autouse=True)
def own_cache(cache: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """Nothing is written outside the tests' folders."""
    monkeypatch.setenv("BOOTH_CACHE", str(cache))


@pytest.fixture(autouse=True)
def no_waiting(monkeypatch: pytest.MonkeyPatch) -> None:
    """A slow disk does not slow the tests; that files are forced to the disk is tested with the commit protocol."""
    monkeypatch.setattr(os, "fsync", lambda handle: None)


@pytest.fixture
def no_samples(monkeypatch: pytest.MonkeyPatch) -> None:
    """Samples are blank, which saves most of a short run's time."""
    monkeypatch.setattr(samples, "draw", blank)


@pytest.fixture(scope="session")
def taught(toy_base: Path, same_photos: Path, tmp_path_factory: pytest.TempPathFactory) -> Taught:
    """The concept of an unbroken run as `lesson` configures it, without samples: taught once, and only to be read."""
    folder, known = tmp_path_factory.mktemp("taught"), dict[str, Concept]()

    def teach(method: str = "lora", **options: Any) -> Concept:
        asked = json.dumps([method, options], sort_keys=True)
        if asked not in known:
            given = {"base": str(toy_base), "photos": [same_photos]} | options
            with pytest.MonkeyPatch.context() as patch:
                patch.setattr(samples, "draw", blank)
                known[asked] = train(short_run(method, folder / str(len(known)), **given))
        return known[asked]

    return teach


@pytest.fixture
def lesson(toy_base: Path, photos_folder: Path, tmp_path: Path) -> Lesson:
    """Make the configuration of a short run: lesson("lora", "out", seed=1, rank=2)."""

    def make(method: str = "lora", out: str = "out", **options: Any) -> RunConfig:
        given = {"base": str(toy_base), "photos": [photos_folder]} | options
        return short_run(method, tmp_path / out, **given)

    return make
