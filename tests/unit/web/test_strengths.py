"""The studio offers a strength for what can be drawn with more or less of it, and for nothing else."""

from __future__ import annotations

import json
import re
import shutil

import pytest
from fastapi.testclient import TestClient

from booth.catalogue import describe_methods
from booth.core.commit import MANIFEST
from booth.core.concept import RECORD
from booth.core.method import Method, Subject
from booth.registry import METHODS
from booth.web import catalogue, describe
from booth.web.studio import Studio

# The settings of a method, and the one that its last stage is trained by.
TAUGHT = (
    ("lora", {}, "lora"),
    ("dreambooth", {}, "dreambooth"),
    ("two_stage", {}, "dreambooth"),
    ("two_stage", {"second": "lora"}, "lora"),
)


@pytest.fixture
def known(monkeypatch: pytest.MonkeyPatch) -> None:
    """The methods as a child process would describe them, told at once."""
    monkeypatch.setattr(describe, "describe_methods", lambda: describe_methods(sizes=False))
    monkeypatch.setattr(catalogue, "_made", lambda *_: json.loads(json.dumps(describe.describe(), default=str)))


@pytest.mark.usefixtures("known")
def test_only_what_has_a_strength_gets_a_slider(studio: Studio, client: TestClient) -> None:
    for number, (name, settings, last) in enumerate(TAUGHT):
        method: Method = METHODS[name](METHODS[name].Config(**settings), Subject("sks", "dog"))
        assert method.plan()[-1].method.name == last
        folder = studio.home.concepts / f"{number}-{name}"
        folder.mkdir(parents=True)
        told = {
            "method": name,
            "prompt": "a photo of sks dog",
            "stages": [{"method": s.method.name} for s in method.plan()],
        }
        (folder / RECORD).write_text(json.dumps(told))
        (folder / MANIFEST).write_text("{}")
    client.app.state.catalogue.get()  # type: ignore[attr-defined]
    offered = {c["name"]: c["has_strength"] for c in client.get("/api/concepts").json()["concepts"]}
    for number, (name, settings, _) in enumerate(TAUGHT):
        method = METHODS[name](METHODS[name].Config(**settings), Subject("sks", "dog"))
        assert offered[f"{number}-{name}"] == method.has_strength
    shown = client.get("/draw").text
    assert "<legend>Concepts and their strengths</legend>" in shown
    uses = re.findall(r'<div class="use".*?</div>', shown, re.S)
    assert len(uses) == len(TAUGHT)
    assert sum('type="range"' in use for use in uses) == sum(offered.values()) == 2
    for name in (name for name, has_strength in offered.items() if has_strength):
        shutil.rmtree(studio.home.concepts / name)
    assert "<legend>Concepts</legend>" in client.get("/draw").text
