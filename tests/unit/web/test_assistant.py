"""What an assistant may do at /mcp."""

from __future__ import annotations

from collections.abc import Iterator
from typing import Any

import pytest
from fastapi.testclient import TestClient
from web_client import PORT, TOKEN

from booth.web.app import create_app
from booth.web.catalogue import Catalogue
from booth.web.home import Home
from booth.web.safety import Door
from booth.web.studio import open_studio

BEARER = {"authorization": f"Bearer {TOKEN}", "accept": "application/json, text/event-stream"}


@pytest.fixture(params=[False, True], ids=["looks", "trains"])
def served(
    home: Home, request: pytest.FixtureRequest, monkeypatch: pytest.MonkeyPatch
) -> Iterator[tuple[TestClient, bool]]:
    monkeypatch.setattr(Catalogue, "begin", lambda _: None)  # the methods are not asked for here
    studio = open_studio(home, Door(TOKEN, PORT), training_by_assistant=request.param)
    with TestClient(create_app(studio), base_url=f"http://127.0.0.1:{PORT}") as client:
        yield client, request.param


def call(client: TestClient, method: str, **parameters: Any) -> dict[str, Any]:
    message = {"jsonrpc": "2.0", "id": 1, "method": method, "params": parameters}
    answer = client.post("/mcp", json=message, headers=BEARER | {"mcp-protocol-version": "2025-06-18"})
    assert answer.status_code == 200, answer.text
    return answer.json()["result"]


def test_it_looks_and_trains_only_where_that_was_switched_on(served: tuple[TestClient, bool]) -> None:
    client, trains = served
    about = {"protocolVersion": "2025-06-18", "capabilities": {}, "clientInfo": {"name": "test", "version": "1"}}
    call(client, "initialize", **about)
    names = {tool["name"] for tool in call(client, "tools/list")["tools"]}
    assert {"list_runs", "list_concepts", "look_at_wall"} <= names
    assert ({"train", "draw_pictures", "stop_job"} <= names) == trains
    told = call(client, "tools/call", name="list_runs", arguments={})
    assert not told.get("isError")
    drawn = call(client, "tools/call", name="draw_pictures", arguments={"drawing": {"prompt": "a dog"}})
    assert bool(drawn.get("isError")) != trains


def test_it_needs_the_token(served: tuple[TestClient, bool]) -> None:
    client, _ = served
    message = {"jsonrpc": "2.0", "id": 1, "method": "tools/list", "params": {}}
    assert client.post("/mcp", json=message, headers={"x-booth-studio": "1"}).status_code == 401
    assert client.post("/mcp", json=message, headers=BEARER | {"origin": "http://evil.example"}).status_code == 403
