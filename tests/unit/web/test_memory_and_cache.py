"""What a run holds while it goes on, and what the machine keeps for later ones."""

from __future__ import annotations

import json
import os
import subprocess
import sys
from pathlib import Path
from typing import Any

import pytest
from fastapi.testclient import TestClient

from booth.core.process import process_memory, this_process
from booth.web.studio import Studio

MEGABYTE = 10**6


def run_of_this_process(studio: Studio, **step: Any) -> str:
    """The id of a run that this process makes, and that took one step."""
    work = studio.home.concepts / "rex.run"
    work.mkdir(parents=True)
    (work / "lock").write_text(json.dumps(this_process()))
    told = [
        {"kind": "plan", "data": {"stages": [{"steps": 3}]}},
        {"kind": "step", "phase": "training", "done": 1, "data": {"loss": 0.5, "seconds": 0.1, **step}},
    ]
    (work / "events.jsonl").write_text("".join(json.dumps(line) + "\n" for line in told))
    return studio.places.of(studio.home.concepts / "rex").id


def test_a_run_shows_what_its_process_holds_now(studio: Studio, client: TestClient) -> None:
    key = run_of_this_process(studio)
    now = client.get(f"/api/runs/{key}").json()["memory_now"]
    mine = process_memory(os.getpid())
    assert mine is not None
    assert abs(now["process"] - mine) < 50 * MEGABYTE
    assert now["process"] % (10 * MEGABYTE) == 0
    assert now["device"] is None
    assert '<div id="memory-now"><dt>' in client.get(f"/runs/{key}").text


def test_a_run_on_a_gpu_shows_what_it_holds_there(studio: Studio, client: TestClient) -> None:
    key = run_of_this_process(studio, device_bytes=3 * 10**9)
    assert client.get(f"/api/runs/{key}").json()["memory_now"]["device"] == 3 * 10**9


def test_a_run_whose_process_is_gone_holds_nothing(studio: Studio, client: TestClient) -> None:
    key = run_of_this_process(studio)
    child = subprocess.Popen([sys.executable, "-c", ""])
    child.wait()
    lock = this_process() | {"pid": child.pid, "started": "long ago"}
    (studio.home.concepts / "rex.run" / "lock").write_text(json.dumps(lock))
    assert client.get(f"/api/runs/{key}").json()["memory_now"] is None
    assert '<div id="memory-now" hidden>' in client.get(f"/runs/{key}").text
    assert process_memory(child.pid) is None


@pytest.fixture
def cache(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    """A cache with something of every kind."""
    monkeypatch.setenv("BOOTH_CACHE", str(tmp_path / "cache"))
    for name in ("latents/a", "class_pictures/b", "untouched/c", "photos/d", "fleet/e", "lpips-alex.safetensors"):
        file = tmp_path / "cache" / name
        file.parent.mkdir(parents=True, exist_ok=True)
        file.write_bytes(b"x" * 1500)
    return tmp_path / "cache"


def test_the_cache_is_shown_and_emptied_of_what_is_made_again(client: TestClient, cache: Path) -> None:
    page = client.get("/settings").text
    assert str(cache) in page
    assert page.count("1.5 kB") == 3
    assert client.post("/api/cache/empty").json()["freed"] == 4500
    left = {file.relative_to(cache).as_posix() for file in cache.rglob("*") if file.is_file()}
    assert left == {"photos/d", "fleet/e", "lpips-alex.safetensors"}
    assert "/api/cache/empty" not in client.get("/settings").text  # there is nothing to do


def test_the_cache_is_left_alone_while_a_run_may_read_it(studio: Studio, client: TestClient, cache: Path) -> None:
    run_of_this_process(studio)
    answer = client.post("/api/cache/empty", headers={"accept-language": "de"})
    assert answer.status_code == 409
    assert "Etwas läuft" in answer.json()["error"]
    assert (cache / "latents" / "a").is_file()
