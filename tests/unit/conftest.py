"""What several rooms' tests share: concepts of two steps, which is enough to differ from the base, and workers."""

from __future__ import annotations

import os
import sys
from collections.abc import Callable, Iterator
from pathlib import Path

import numpy as np
import pytest
from PIL import Image

import booth
from booth.concept import Concept
from booth.core.threads import computing_with
from booth.executor.job import Executor
from booth.executor.workers import make_executor

Teach = Callable[..., Concept]


@pytest.fixture(scope="module")
def workers() -> Iterator[Executor]:
    """Two processes, which find the package where these tests do."""
    with pytest.MonkeyPatch.context() as patch:
        patch.setenv("PYTHONPATH", os.pathsep.join(sys.path))
        with make_executor("2") as executor:
            yield executor


@pytest.fixture
def one_thread() -> Iterator[None]:
    """As many as workers have."""
    with computing_with(1):
        yield


@pytest.fixture(scope="session")
def five_photos(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A folder of five noisy squares."""
    folder = tmp_path_factory.mktemp("five") / "photos"
    folder.mkdir()
    rng = np.random.default_rng(0)
    for i in range(5):
        pixels = rng.integers(0, 255, (48, 48, 3), dtype=np.uint8)
        pixels[8:40, 8 : 32 + 2 * i] = (220, 40, 60)
        Image.fromarray(pixels).save(folder / f"{i}.png")
    return folder


@pytest.fixture(scope="session")
def teach(toy_base: Path, five_photos: Path, tmp_path_factory: pytest.TempPathFactory) -> Teach:
    """Teach a concept to the toy base in two steps; keywords as in `booth.train`."""
    folder = tmp_path_factory.mktemp("concepts")

    def run(method: str, **options: object) -> Concept:
        options = {"base": str(toy_base), "steps": 2, "token": "sks"} | options
        name = "-".join([method, *(str(options[k]) for k in ("token", "seed") if k in options)])
        return booth.train(five_photos, "dog", method=method, out=folder / name, **options)

    return run


@pytest.fixture(scope="session")
def lora(teach: Teach) -> Concept:
    """A LoRA that answers to sks."""
    return teach("lora", learning_rate=1e-2)


@pytest.fixture(scope="session")
def word(teach: Teach) -> Concept:
    """A Textual Inversion that answers to zwx."""
    return teach("textual_inversion", token="zwx", learning_rate=1e-1, keep_norm=False)


@pytest.fixture(scope="session")
def tuned(teach: Teach) -> Concept:
    """A fully fine-tuned denoiser that answers to ohwx."""
    return teach("dreambooth", token="ohwx", prior_weight=0.0, learning_rate=1e-3)


@pytest.fixture(scope="session")
def adapted(teach: Teach) -> Concept:
    """A LoRA on denoiser and text encoder whose alpha is not its rank."""
    options = {"rank": 4, "alpha": 6.0, "train_text_encoder": True}
    return teach("lora", learning_rate=3e-2, text_encoder_learning_rate=3e-2, token="ukj", **options)


@pytest.fixture
def here(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    """An empty folder to write into."""
    monkeypatch.chdir(tmp_path)
    return tmp_path
