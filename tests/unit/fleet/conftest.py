"""A fleet of a few subjects on the toy base, and what its place holds."""

from __future__ import annotations

import os
from collections.abc import Callable
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from PIL import Image

from booth.fleet import claim, driver
from booth.fleet.driver import Fleet
from booth.fleet.manifest import Entry, read_manifest

Subjects = Callable[..., Path]


@pytest.fixture(autouse=True)
def own_cache(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """Nothing is written outside the test's folder, and nothing waits for the disk or for others to settle."""
    monkeypatch.setenv("BOOTH_CACHE", str(tmp_path / "cache"))
    monkeypatch.setattr(os, "fsync", lambda handle: None)
    monkeypatch.setattr(claim, "SETTLING", 0)
    monkeypatch.setattr(claim, "LOOK", 0.01)
    monkeypatch.setattr(driver, "LOOK", 0.01)


@pytest.fixture
def subjects(tmp_path: Path) -> Subjects:
    """Folders of photos, four each, of the names that are asked for."""

    def make(*names: str, home: str = "photos") -> Path:
        for number, name in enumerate(names):
            folder = tmp_path / home / name
            folder.mkdir(parents=True)
            rng = np.random.default_rng(number)
            for i in range(4):
                pixels = rng.integers(0, 90, (64, 64, 3), dtype=np.uint8)
                pixels[16 + i : 48 + i, 16:48] = (200, 40 * number, 60 + 10 * i)
                Image.fromarray(pixels).save(folder / f"{i}.png")
                (folder / f"{i}.txt").write_text("a photo of a sks dog")
        return tmp_path / home

    return make


@pytest.fixture
def asked(toy_base: Path) -> Callable[..., list[Entry]]:
    """The runs that a manifest asks for, on the toy base, short."""

    def read(source: Path, **settings: Any) -> list[Entry]:
        given = {"noun": "dog", "base": str(toy_base), "checkpoint_every": 1}
        values = {"steps": 3, "batch_size": 2, "rank": 2, "prior_weight": 0.0} | settings
        return read_manifest(source, None, given, [f"{key}={value}" for key, value in values.items()])

    return read


@pytest.fixture
def unmeasured() -> Fleet:
    """Nothing is drawn."""
    return Fleet(evaluate=False)


@pytest.fixture
def lines() -> list[str]:
    """What is told."""
    return []
