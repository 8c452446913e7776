"""The queue through the HTTP interface: its order, what is taken out, and what is deleted and comes back."""

from __future__ import annotations

from fastapi.testclient import TestClient
from web_client import png, raw

from booth.web.studio import Studio


def test_jobs_are_moved_and_taken_out(studio: Studio, client: TestClient) -> None:
    ids = [studio.keeper.add("generate", ["generate"], about={"title": str(n)}).id for n in range(3)]

    def order() -> list[str]:
        return [str(ids.index(job.id)) for job in studio.library.queued()]

    for key, action, expected in (
        (ids[2], "earlier", "021"), (ids[2], "earlier", "201"), (ids[2], "earlier", "201"), (ids[0], "later", "210"),
        (ids[0], "later", "210"), (ids[1], "stop", "20"),
    ):  # fmt: skip
        assert client.post(f"/api/jobs/{key}", json={"action": action}).status_code == 200
        assert "".join(order()) == expected
    shown = client.get("/queue").text
    assert shown.index(ids[2]) < shown.index(ids[0])
    assert client.post(f"/api/jobs/{ids[1]}", json={"action": "remove"}).json() == {"removed": ids[1]}
    assert client.get(f"/api/jobs/{ids[1]}").status_code == 404
    assert client.post(f"/api/jobs/{ids[0]}", json={"action": "draw_now"}).status_code == 409
    assert client.post(f"/api/jobs/{ids[0]}", json={"action": "explode"}).status_code == 422


def test_a_photo_that_was_taken_out_comes_back_with_its_caption(client: TestClient) -> None:
    key = client.post("/api/photos", json={"name": "thing"}).json()["id"]
    photo = client.put(f"/api/photos/{key}/upload?name=a", **raw(png(64))).json()["id"]  # type: ignore[arg-type]
    client.put(f"/api/photos/{key}/{photo}/caption", json={"text": "a red dog", "version": "none"})
    undo = client.delete(f"/api/photos/{key}/{photo}").json()["undo"]
    assert client.get(f"/api/photos/{key}").json()["photos"] == []
    assert client.post(f"/api/restore/{undo}", json={}).status_code == 200
    (back,) = client.get(f"/api/photos/{key}").json()["photos"]
    assert back["caption"] == "a red dog"
    assert client.post(f"/api/restore/{undo}", json={}).status_code == 404
