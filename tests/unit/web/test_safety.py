"""Who is let in, and who is not."""

from __future__ import annotations

import json
import os
import socket
import subprocess
import sys
from pathlib import Path

import pytest
from fastapi.testclient import TestClient
from markupsafe import escape
from web_client import PORT, TOKEN, png, raw

from booth.core.errors import UsageError
from booth.web.home import Home
from booth.web.messages import LANGUAGE
from booth.web.pages import media
from booth.web.safety import MARK
from booth.web.serve import _listen, is_loopback, serve
from booth.web.studio import Studio, hold

PLACES = ("/photos", "/runs", "/api/jobs", "/api/photos", "/api/openapi.json", "/media/runs/0123456789ab/previews/1/0")


@pytest.mark.parametrize("place", [*PLACES, "/media/photos/0123456789ab/0123456789ab", "/queue"])
def test_nothing_is_shown_without_the_token_media_least_of_all(stranger: TestClient, place: str) -> None:
    answer = stranger.get(place)
    assert answer.status_code == 401
    assert answer.json()["code"] == "token"


@pytest.mark.parametrize("token", ["", "old", TOKEN[:-1], TOKEN + "x", "é" * 40])
def test_a_stale_token_is_none(stranger: TestClient, token: str) -> None:
    assert stranger.get("/photos", headers={"authorization": b"Bearer " + token.encode()}).status_code == 401
    assert stranger.get("/login", params={"token": token}).status_code == 401


def test_the_address_that_is_printed_lets_in_and_the_cookie_is_for_this_site_alone(stranger: TestClient) -> None:
    answer = stranger.get("/login", params={"token": TOKEN})
    cookie = answer.headers["set-cookie"].lower()
    assert answer.status_code == 303
    assert answer.headers["location"] == "/"
    assert "httponly" in cookie
    assert "samesite=strict" in cookie
    assert stranger.get("/photos").status_code == 200


def test_who_is_not_let_in_is_told_in_the_language_of_the_browser(client: TestClient, stranger: TestClient) -> None:
    german, form = {"accept-language": "de-DE,de;q=0.9"}, {"content-type": "text/plain"}
    with_english = german | {"cookie": f"{LANGUAGE}=en"}  # which was chosen in the studio
    far = {"sec-fetch-site": "cross-site"}
    for answer, code, word in (
        (stranger.get("/api/jobs", headers=german), 401, "Das Token fehlt"),
        (stranger.get("/api/jobs"), 401, "The token is missing"),
        (stranger.get("/api/jobs", headers=with_english), 401, "The token is missing"),
        (client.get("/photos", headers=german | {"host": "evil.example"}), 400, "Dieser Name des Rechners"),
        (client.get("/photos", headers=german | {"origin": "null"}), 403, "von anderswo"),
        (client.request("TRACE", "/photos", headers=german), 405, "nicht erlaubt"),
        (client.get("/photos/a%5cb", headers=german), 400, "keinen Sinn"),
        (client.post("/api/photos", content=b"x", headers=german | form), 415, "Sende"),
        (client.post("/api/photos", json={}, headers=german | far), 403, "von anderswo"),
        (client.get("/api/jobs/0123456789ab", headers=german), 404, "Hier ist nichts"),
        (client.get("/api/jobs/0123456789ab"), 404, "There is nothing here"),
        (client.post("/api/draw", json={"prompt": "x", "count": 99}, headers=german), 422, "muss höchstens 16 sein"),
        (client.post("/api/concepts/restore/x", headers=german), 404, "Hier ist nichts"),
    ):
        assert answer.status_code == code, answer.text
        assert word in answer.json()["error"]


@pytest.mark.parametrize("host", ["evil.example", f"evil.example:{PORT}", "127.0.0.1:1", "127.0.0.1.evil.example", ""])
def test_a_foreign_host_is_refused_with_the_token_too(client: TestClient, host: str) -> None:
    assert client.get("/photos", headers={"host": host}).status_code == 400


@pytest.mark.parametrize(
    "origin", ["http://evil.example", "null", "https://127.0.0.1:1", "file://", "http://127.0.0.1"]
)
def test_a_foreign_origin_is_refused_with_the_token_too(client: TestClient, origin: str) -> None:
    expected = 200 if origin == "http://127.0.0.1" else 403  # the port may be left out of its own address
    assert client.get("/photos", headers={"origin": origin}).status_code == expected
    assert client.post("/api/photos", json={}, headers={"origin": origin}).status_code == (
        201 if expected == 200 else 403
    )


@pytest.mark.parametrize("kind", ["application/x-www-form-urlencoded", "multipart/form-data; boundary=x", "text/plain"])
def test_no_form_changes_anything(client: TestClient, studio: Studio, kind: str) -> None:
    answer = client.post("/api/photos", content=b'{"name": "forged"}', headers={"content-type": kind})
    assert answer.status_code == 415
    assert list(studio.home.photos.iterdir()) == []


def test_a_change_needs_a_header_that_no_other_site_can_send(client: TestClient) -> None:
    del client.headers[MARK]
    assert client.post("/api/photos", json={}).status_code == 403
    client.headers[MARK] = "1"
    assert client.post("/api/photos", json={}, headers={"sec-fetch-site": "cross-site"}).status_code == 403
    assert client.request("TRACE", "/photos").status_code == 405


@pytest.mark.parametrize(
    "place",
    ["/media/photos/..%2f..%2fetc/passwd", "/media/runs/..%2f..%2f/previews/1/0", "//etc/passwd", "/static/../app.py",
     "/static/..%2fapp.py", "/photos/..%5c..%5cwindows", "/concepts/%00", "/runs/C:%5C"],
)  # fmt: skip
def test_no_address_leads_out(client: TestClient, place: str) -> None:
    answer = client.get(place)
    assert answer.status_code in (400, 404, 422)
    assert b"root:" not in answer.content


@pytest.mark.parametrize("key", ["0123456789ab", "../../etc", "a" * 12, "%2e%2e", "1;drop table job", "' or 1=1 --"])
def test_an_id_of_someone_else_s_making_is_nobody(client: TestClient, key: str) -> None:
    for place in (
        "/runs/{}",
        "/photos/{}",
        "/concepts/{}",
        "/api/jobs/{}",
        "/plan/{}",
        "/media/drawings/{}/0",
        "/jobs/{}",
    ):
        assert client.get(place.format(key)).status_code in (400, 404)


def test_what_is_sent_back_says_what_a_browser_may_do_with_it(client: TestClient) -> None:
    for place in ("/photos", "/login", "/static/studio.css", "/nothing"):
        headers = client.get(place).headers
        policy = headers["content-security-policy"]
        assert "default-src 'none'" in policy
        assert "unsafe" not in policy
        assert headers["x-content-type-options"] == "nosniff"
        assert headers["cross-origin-resource-policy"] == "same-origin"


@pytest.mark.parametrize(
    "words", ["<script>alert(1)</script>", '"><img src=x onerror=alert(1)>', "{{7*7}}", "'; rm -rf /"]
)
def test_names_and_captions_are_shown_as_text(client: TestClient, words: str) -> None:
    key = client.post("/api/photos", json={"name": words}).json()["id"]
    photo = client.put(f"/api/photos/{key}/upload", params={"name": words}, **raw(png())).json()["id"]  # type: ignore[arg-type]
    kept = client.put(f"/api/photos/{key}/{photo}/caption", json={"text": words, "version": "none"})
    assert kept.status_code == 200
    shown = client.get(f"/photos/{key}").text
    assert str(escape(words)) in shown
    assert "<script>alert" not in shown
    assert "<img src=x" not in shown


def test_terminal_characters_in_a_caption_or_prompt_are_refused(client: TestClient) -> None:
    key = client.post("/api/photos", json={}).json()["id"]
    photo = client.put(f"/api/photos/{key}/upload", **raw(png())).json()["id"]  # type: ignore[arg-type]
    wrong = {"text": "red \x1b[31m dog", "version": "none"}
    assert client.put(f"/api/photos/{key}/{photo}/caption", json=wrong).status_code == 400
    assert client.post("/api/draw", json={"prompt": "a dog\x1b]0;x\x07"}).status_code == 400


def test_a_prompt_is_never_an_option(client: TestClient, studio: Studio) -> None:
    client.post("/api/draw", json={"prompt": "--out=/etc"})
    (job,) = studio.library.all()
    assert job.argv[-2:] == ("--", "--out=/etc")


def test_a_link_in_the_library_is_not_followed(client: TestClient, studio: Studio, tmp_path: Path) -> None:
    secret = tmp_path / "secret"
    secret.mkdir()
    (secret / "1.png").write_bytes(png())
    (secret / "concept.json").write_text("{}")
    (studio.home.photos / "linked").symlink_to(secret)
    (studio.home.concepts / "linked").symlink_to(secret)
    inside = studio.home.photos / "set"
    inside.mkdir()
    (inside / "1.png").symlink_to(secret / "1.png")
    assert client.get("/api/concepts").json()["concepts"] == []
    sets = client.get("/api/photos").json()["sets"]
    assert [(s["name"], s["count"]) for s in sets] == [("set", 0)]


def test_a_picture_that_is_a_link_is_not_shown(studio: Studio, tmp_path: Path) -> None:
    (tmp_path / "secret.png").write_bytes(png())
    out = studio.home.concepts / "x"
    (out / "samples").mkdir(parents=True)
    (out / "samples" / "1.png").symlink_to(tmp_path / "secret.png")
    assert studio.places.of(out).samples() == []
    assert media.KINDS[".png"] == "image/png"


def test_more_than_can_be_sent_is_refused_before_it_is_read(client: TestClient) -> None:
    headers = {"content-type": "application/octet-stream", "content-length": str(2**40)}
    assert client.put("/api/photos/0123456789ab/upload", content=b"x", headers=headers).status_code == 413


@pytest.mark.parametrize("host", ["0.0.0.0", "192.168.1.5", "::", "example.org"])
def test_others_can_reach_it_only_with_a_token_of_one_s_own(tmp_path: Path, host: str) -> None:
    how = {"port": 0, "hosts": (), "renew": False, "assistant": False, "tell": print}
    with pytest.raises(UsageError, match="`token`"):
        serve(tmp_path, host=host, token=None, **how)  # type: ignore[arg-type]
    with pytest.raises(UsageError, match="16 ASCII"):
        serve(tmp_path, host=host, token="short", **how)  # type: ignore[arg-type]
    assert UsageError.exit_code == 2
    assert not is_loopback(host)


def test_two_studios_do_not_share_a_folder(home: Home) -> None:
    held = hold(home)
    with pytest.raises(UsageError, match="Another studio"):
        hold(home)
    held.close()
    hold(home).close()


def test_the_token_is_kept_for_its_owner_alone(home: Home) -> None:
    token = home.token()
    assert (home.studio / "token").stat().st_mode & 0o077 == 0
    assert home.token() == token
    assert home.token(renew=True) != token


@pytest.mark.essential
def test_the_server_loads_no_torch_and_asks_nobody(tmp_path: Path) -> None:
    probe = (
        "import sys, json; import booth.web.app, booth.web.serve;"
        "print(json.dumps([m for m in ('torch', 'diffusers', 'transformers', 'peft') if m in sys.modules]))"
    )
    done = subprocess.run([sys.executable, "-c", probe], capture_output=True, text=True, env=os.environ, check=True)
    assert json.loads(done.stdout) == []
    static = Path(media.__file__).parent.parent / "static"
    pages = [*(static.parent / "templates").glob("*.html"), *static.glob("*.js"), *static.glob("*.css")]
    for page in pages:
        if page.name != "htmx.min.js":
            text = page.read_text().replace("http://www.w3.org/2000/svg", "")
            assert "http://" not in text, page.name
            assert "https://" not in text, page.name


def test_who_opens_the_address_as_soon_as_it_is_told_is_not_refused() -> None:
    with _listen("127.0.0.1", 0) as listening:
        socket.create_connection(listening.getsockname(), timeout=5).close()
