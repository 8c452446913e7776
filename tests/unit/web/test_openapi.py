"""The HTTP interface against its own description: whatever is sent, the answer is one that it tells of."""

from __future__ import annotations

from typing import Any

import pytest
from fastapi.testclient import TestClient
from web_client import png, raw

from booth.web.pages import settings
from booth.web.studio import Studio

schemathesis = pytest.importorskip("schemathesis", reason="pip install schemathesis to test the HTTP interface")
hypothesis = pytest.importorskip("hypothesis")

EXAMPLES = 6  # of each operation; always the same
NEVER_ENDS = "/api/runs/{key}/stream"


@pytest.fixture
def known(studio: Studio, client: TestClient, monkeypatch: pytest.MonkeyPatch) -> dict[str, str]:
    """Something to ask about: a set of photos, one of them, and jobs."""
    monkeypatch.setattr(settings, "_examined", lambda: {"device": "cpu"})
    monkeypatch.setattr(settings, "empty", lambda: 0)  # the cache is everybody's
    key = client.post("/api/photos", json={"name": "thing"}).json()["id"]
    photo = client.put(f"/api/photos/{key}/upload?name=a", **raw(png(64))).json()["id"]  # type: ignore[arg-type]
    job = studio.keeper.add("generate", ["generate"]).id
    return {"photos": key, "photo": photo, "jobs": job, "draw": job}


def test_every_answer_is_one_that_the_description_tells_of(client: TestClient, known: dict[str, str]) -> None:
    schema = schemathesis.openapi.from_dict(client.get("/api/openapi.json").json())
    checks = [
        schemathesis.checks.not_a_server_error, schemathesis.specs.openapi.checks.status_code_conformance,
        schemathesis.specs.openapi.checks.response_schema_conformance,
        schemathesis.specs.openapi.checks.content_type_conformance,
    ]  # fmt: skip
    asked: set[str] = set()
    for found in schema.get_all_operations():
        operation = found.ok()
        if operation.path != NEVER_ENDS:
            asked.add(operation.label)
            _try(operation, client, known, checks)
    assert len(asked) > 40


def _try(operation: Any, client: TestClient, known: dict[str, str], checks: list[Any]) -> None:
    @hypothesis.settings(
        max_examples=EXAMPLES, deadline=None, derandomize=True, database=None,
        suppress_health_check=list(hypothesis.HealthCheck), phases=[hypothesis.Phase.generate],
    )  # fmt: skip
    @hypothesis.given(case=operation.as_strategy(), there=hypothesis.strategies.booleans())
    def ask(case: Any, there: bool) -> None:
        room = case.path.split("/")[2]
        if there and "key" in case.path_parameters and room in known:
            case.path_parameters["key"] = known[room]
            if "photo" in case.path_parameters:
                case.path_parameters["photo"] = known["photo"]
        sent = case.as_transport_kwargs(base_url=str(client.base_url))
        wanted = {k: sent[k] for k in ("method", "url", "params", "json", "data", "headers") if sent.get(k) is not None}
        if "data" in wanted:
            wanted["content"] = wanted.pop("data")
        case.validate_response(client.request(**wanted), checks=checks)

    ask()
