"""Photos that are sent: what is taken, what is refused, what is removed, and what is never overwritten."""

from __future__ import annotations

import io
import struct
import zlib
from pathlib import Path

import pytest
from fastapi.testclient import TestClient
from PIL import Image
from web_client import png, raw

from booth.web.limited import child
from booth.web.photos import PhotoSets, plain_name
from booth.web.studio import Studio


@pytest.fixture
def key(client: TestClient) -> str:
    """An empty set."""
    return client.post("/api/photos", json={"name": "rex"}).json()["id"]


def send(client: TestClient, key: str, data: bytes, name: str = "photo.png"):
    return client.put(f"/api/photos/{key}/upload", params={"name": name}, **raw(data))  # type: ignore[arg-type]


def phone_photo() -> bytes:
    """A JPEG that was taken upright, with the place in it."""
    exif = Image.Exif()
    exif[0x0112] = 6
    exif[0x010F] = "Camera"
    exif.get_ifd(0x8825).update({1: "N", 2: (48.0, 8.0, 0.0)})
    data = io.BytesIO()
    Image.open(io.BytesIO(png(160))).resize((200, 120)).save(data, "JPEG", exif=exif.tobytes(), quality=95)
    return data.getvalue()


def bomb() -> bytes:
    """A PNG of a few kilobytes that says it is 30,000 pixels wide and high."""

    def chunk(kind: bytes, data: bytes) -> bytes:
        return struct.pack(">I", len(data)) + kind + data + struct.pack(">I", zlib.crc32(kind + data))

    header = chunk(b"IHDR", struct.pack(">IIBBBBB", 30_000, 30_000, 8, 2, 0, 0, 0))
    return b"\x89PNG\r\n\x1a\n" + header + chunk(b"IDAT", zlib.compress(bytes(10**6))) + chunk(b"IEND", b"")


def test_where_and_how_a_photo_was_taken_is_removed_and_it_stands_upright(
    client: TestClient, studio: Studio, key: str
) -> None:
    told = send(client, key, phone_photo(), "IMG_1.JPG").json()
    assert told["located"]
    assert told["turned"]
    file = studio.home.photos / "rex" / told["file"]
    with Image.open(file) as image:
        assert image.size == (120, 200)
        assert not image.getexif()
    assert b"Camera" not in file.read_bytes()
    kinds = {v["kind"] for v in client.get(f"/api/photos/{key}").json()["photos"][0]["verdicts"]}
    assert {"located", "turned"} <= kinds


def test_what_stands_behind_a_picture_is_not_kept(client: TestClient, studio: Studio, key: str) -> None:
    told = send(client, key, png() + b"<script>alert(1)</script>PK\3\4").json()
    assert b"script" not in (studio.home.photos / "rex" / told["file"]).read_bytes()


@pytest.mark.parametrize(
    "data",
    [b"GIF89a<script>", b"<svg onload='x'/>", b"%PDF-1.7", b"MZ" * 99, b"\x89PNG\r\n",
     b"\xff\xd8\xff" + b"x" * 500, png()[:200], b"#!/bin/sh\nrm -rf /"],
)  # fmt: skip
def test_what_is_no_photo_is_refused_in_one_sentence(client: TestClient, studio: Studio, key: str, data: bytes) -> None:
    answer = send(client, key, data)
    assert answer.status_code == 400
    assert answer.json()["error"].endswith(".")
    assert list((studio.home.photos / "rex").iterdir()) == []


def test_a_bomb_is_refused_by_its_size(client: TestClient, key: str) -> None:
    answer = send(client, key, bomb())
    assert answer.status_code == 400
    assert "megapixel" in answer.json()["error"]


def test_a_child_that_takes_too_much_is_told_of(monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> None:
    monkeypatch.setattr("booth.web.limited.WAIT", 0.001)
    assert "more time or memory" in child(["take", str(tmp_path), "x"], png())["error"]


@pytest.mark.parametrize(
    ("name", "stem"),
    [("../../etc/passwd", "passwd"), ("C:\\Windows\\x.png", "x"), ("a/b/\0.png", "photo"), ("", "photo"),
     ("dog-masklabel.png", "photo"), ("….png", "photo"), ("my dog (1).jpeg", "my-dog-1"), (".hidden", "hidden")],
)  # fmt: skip
def test_a_name_is_never_a_path(name: str, stem: str) -> None:
    assert plain_name(name) == stem


def test_a_caption_that_was_changed_on_the_disk_is_not_overwritten(
    client: TestClient, studio: Studio, key: str
) -> None:
    told = send(client, key, png()).json()
    place = f"/api/photos/{key}/{told['id']}/caption"
    first = client.put(place, json={"text": "mine", "version": "none"}).json()
    (studio.home.photos / "rex" / "photo.txt").write_text("theirs\n")
    answer = client.put(place, json={"text": "mine again", "version": first["version"]})
    assert answer.status_code == 409
    assert answer.json()["text"] == "theirs"
    assert (studio.home.photos / "rex" / "photo.txt").read_text() == "theirs\n"
    again = {"text": "mine again", "version": answer.json()["version"]}
    assert client.put(place, json=again).status_code == 200


def test_captions_are_replaced_after_a_preview_and_taken_back(client: TestClient, studio: Studio, key: str) -> None:
    for seed, words in enumerate(("a dog in snow", "a dog", "a cat")):
        photo = send(client, key, png(seed=seed)).json()["id"]
        client.put(f"/api/photos/{key}/{photo}/caption", json={"text": words, "version": "none"})
    wish = {"find": "a dog", "put": "sks dog"}
    preview = client.post(f"/api/photos/{key}/replace", json=wish).json()["changes"]
    texts = lambda: sorted(f.read_text().strip() for f in (studio.home.photos / "rex").glob("*.txt"))  # noqa: E731
    assert [c["after"] for c in preview] == ["sks dog", "sks dog in snow"] or len(preview) == 2
    assert texts() == ["a cat", "a dog", "a dog in snow"]
    client.post(f"/api/photos/{key}/replace", json=wish | {"apply": True})
    assert texts() == ["a cat", "sks dog", "sks dog in snow"]
    (studio.home.photos / "rex" / "photo.txt").write_text("theirs\n")
    assert client.post(f"/api/photos/{key}/undo", json={}).json()["count"] == 1
    assert texts() == ["a cat", "a dog", "theirs"]


def test_a_mask_proves_how_much_it_covers_and_a_job_gets_both_cropped(
    client: TestClient, studio: Studio, key: str
) -> None:
    photo = send(client, key, png(128)).json()["id"]
    painted = Image.new("L", (64, 64), 0)
    painted.paste(255, (0, 0, 32, 64))
    data = io.BytesIO()
    painted.save(data, "PNG")
    answer = client.put(f"/api/photos/{key}/{photo}/mask", **raw(data.getvalue()))  # type: ignore[arg-type]
    assert answer.json()["mask"] == pytest.approx(0.5, abs=0.02)
    assert client.get(f"/api/photos/{key}").json()["photos"][0]["mask"] == pytest.approx(0.5, abs=0.02)
    client.put(f"/api/photos/{key}/{photo}/crop", json={"box": [0.25, 0.0, 0.75, 1.0]})
    place, hashes = PhotoSets(studio.home).get(key).snapshot()  # type: ignore[union-attr]
    assert set(hashes) == {"photo.png", "photo-masklabel.png"}
    with Image.open(place / "photo.png") as image, Image.open(place / "photo-masklabel.png") as mask:
        assert image.size == mask.size == (64, 128)
        assert mask.getpixel((10, 10)) == 255
        assert mask.getpixel((50, 10)) == 0
    with Image.open(studio.home.photos / "rex" / "photo.png") as image:
        assert image.size == (128, 128)  # the photo itself stays as it was
    assert client.put(f"/api/photos/{key}/{photo}/crop", json={"box": [0.5, 0.5, 0.51, 0.51]}).status_code == 400


def test_verdicts_tell_twins_and_blur(client: TestClient, key: str) -> None:
    send(client, key, png(seed=1), "one.png")
    send(client, key, png(seed=1), "two.png")
    soft = io.BytesIO()
    Image.linear_gradient("L").convert("RGB").save(soft, "PNG")
    send(client, key, soft.getvalue(), "soft.png")
    found = {p["name"]: [v["kind"] for v in p["verdicts"]] for p in client.get(f"/api/photos/{key}").json()["photos"]}
    assert "same" in found["two.png"]
    assert "blurred" in found["soft.png"]
    assert found["one.png"] == []


def test_a_removed_photo_comes_back_with_its_caption(client: TestClient, studio: Studio, key: str) -> None:
    photo = send(client, key, png()).json()["id"]
    client.put(f"/api/photos/{key}/{photo}/caption", json={"text": "a dog", "version": "none"})
    undo = client.delete(f"/api/photos/{key}/{photo}").json()["undo"]
    assert client.get(f"/api/photos/{key}").json()["photos"] == []
    assert client.post(f"/api/restore/{undo}", json={}).status_code == 200
    assert client.get(f"/api/photos/{key}").json()["photos"][0]["caption"] == "a dog"
    assert client.post("/api/restore/photo-..-1", json={}).status_code == 404
