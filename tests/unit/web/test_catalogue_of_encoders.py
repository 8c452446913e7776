"""What scores is asked of a child process, and asked again when what is installed changes."""

from __future__ import annotations

import sys
from pathlib import Path
from typing import Any

import pytest
from huggingface_hub import constants

from booth.web import catalogue
from booth.web.catalogue import Catalogue
from booth.web.home import Home


@pytest.fixture
def asked(monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> list[tuple[str, ...]]:
    """Each time that a child process would be asked, with nothing installed but what a test installs."""
    made: list[tuple[str, ...]] = []

    def answer(*what: str) -> dict[str, Any]:
        made.append(what)
        return {"encoders": [{"name": f"answer {len(made)}"}]}

    packages = tmp_path / "site-packages"
    packages.mkdir()
    monkeypatch.setattr(catalogue, "_made", answer)
    monkeypatch.setattr(sys, "path", [str(packages)])
    monkeypatch.setattr(constants, "HF_HUB_CACHE", str(tmp_path / "hub"))
    return made


def test_it_is_asked_again_when_a_package_or_a_model_comes(asked: list[Any], home: Home, tmp_path: Path) -> None:
    known = Catalogue(home)
    assert known.encoders() == known.encoders() == Catalogue(home).encoders() == [{"name": "answer 1"}]
    assert asked == [("encoders",)]
    (tmp_path / "site-packages" / "efficientnet").mkdir()
    assert known.encoders() == [{"name": "answer 2"}]
    snapshot = tmp_path / "hub" / "models--facebook--dino-vits16" / "snapshots" / "abc"
    snapshot.mkdir(parents=True)
    assert known.encoders() == [{"name": "answer 3"}]
    (snapshot / "model.safetensors").touch()
    assert known.encoders() == known.encoders() == [{"name": "answer 4"}]
    assert len(asked) == 4
