"""Concepts with every part that an exporter can meet, large enough that a wrong scale or layer shows."""

from __future__ import annotations

from pathlib import Path

import pytest

from booth.concept import Concept


@pytest.fixture(scope="session")
def adapted(teach) -> Concept:
    """A LoRA on denoiser and text encoder whose alpha is not its rank."""
    options = {"rank": 4, "alpha": 6.0, "train_text_encoder": True}
    return teach("lora", learning_rate=3e-2, text_encoder_learning_rate=3e-2, token="ukj", **options)


@pytest.fixture
def here(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    """An empty folder to write into."""
    monkeypatch.chdir(tmp_path)
    return tmp_path
