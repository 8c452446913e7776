"""Fixtures that every room's tests share."""

from __future__ import annotations

import gc
import sys
from collections.abc import Iterator
from pathlib import Path

import numpy as np
import pytest
import torch
from hypothesis import settings
from PIL import Image

sys.path.insert(0, str(Path(__file__).parent))

from booth.core.family import Family
from booth.evaluate import checkpoints, protocol
from booth.families.loading import load_family
from booth.registry import REGISTRIES
from booth.testing.toy import write_toy_base
from booth.train import samples
from tiers import left_out, read_durations

settings.register_profile("same", derandomize=True)  # the same examples at each run
settings.load_profile("same")
torch.set_num_threads(1)  # one thread: the same sums in the same order on every machine


@pytest.hookimpl(tryfirst=True)
def pytest_collection_modifyitems(config: pytest.Config, items: list[pytest.Item]) -> None:
    """Mark as slow what the default run leaves out; a test that is asked for by its name is run."""
    if any("::" in asked for asked in config.args):
        config.option.markexpr = ""
        return
    tests = {
        (item.path.relative_to(config.rootpath).as_posix(), item.name.partition("@")[0]): item
        for item in items
        if not item.get_closest_marker("slow")
    }
    asked = [(*test, item.get_closest_marker("essential") is not None) for test, item in tests.items()]
    for test in left_out(asked, read_durations()):
        tests[test].add_marker("slow")


def pytest_collection_finish(session: pytest.Session) -> None:
    """What is loaded by now stays, so that no garbage collection has to look through it: every training starts one."""
    if getattr(session.config.option, "loadgroup", False):
        grouped = [item for item in session.items if item.get_closest_marker("xdist_group")]
        if not all("@" in item.nodeid for item in grouped):  # as with pytest 9.2 and pytest-xdist 3.8
            raise pytest.UsageError("This pytest-xdist keeps no groups with this pytest: see pyproject.toml for both.")
    gc.collect()
    gc.freeze()
    gc.set_threshold(20_000, 20, 20)


@pytest.fixture(scope="module", autouse=True)
def kept() -> Iterator[None]:
    """What a module's tests had imported is not looked through either."""
    yield
    gc.collect()
    gc.freeze()


@pytest.fixture(scope="session", autouse=True)
def own_cache(tmp_path_factory: pytest.TempPathFactory) -> Iterator[None]:
    """Nothing that a test or a command of it keeps goes into the user's cache, or comes from there."""
    with pytest.MonkeyPatch.context() as patch:
        patch.setenv("BOOTH_CACHE", str(tmp_path_factory.mktemp("cache")))
        yield


@pytest.fixture(autouse=True)
def own_registries() -> Iterator[None]:
    """What a test names by its module, and so adds to a registry, is not there for the next one, in whatever order."""
    before = [(registry, dict(registry._entries)) for registry in REGISTRIES]
    yield
    for registry, entries in before:
        if registry._entries != entries:
            registry._entries.clear()
            registry._entries.update(entries)


@pytest.fixture(scope="session", autouse=True)
def drawn_in_two_steps() -> Iterator[None]:
    """Samples and quick evaluations, whose drawing is otherwise four fifths of what a short training costs."""
    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(samples, "STEPS", 2)
        patch.setattr(protocol, "QUICK_STEPS", 2)
        patch.setattr(checkpoints, "STEPS", 2)
        yield


@pytest.fixture(scope="session")
def toy_base(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """The folder of a random tiny base; read only."""
    return write_toy_base(tmp_path_factory.mktemp("base") / "toy")


@pytest.fixture
def toy(toy_base: Path) -> Family:
    """The tiny base, freshly loaded."""
    return load_family(str(toy_base))


def write_photos(folder: Path) -> Path:
    """Four small pictures of a coloured square, in a new folder."""
    folder.mkdir()
    rng = np.random.default_rng(0)
    for i in range(4):
        pixels = rng.integers(0, 90, (64, 64, 3), dtype=np.uint8)
        pixels[16 + i : 48 + i, 16:48] = (200, 40 + 10 * i, 60)
        Image.fromarray(pixels).save(folder / f"{i}.png")
    return folder


@pytest.fixture
def photos_folder(tmp_path: Path) -> Path:
    """Four small pictures of a coloured square."""
    return write_photos(tmp_path / "photos")


@pytest.fixture(scope="session")
def same_photos(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """The same pictures in a folder that is only read."""
    return write_photos(tmp_path_factory.mktemp("same") / "photos")
