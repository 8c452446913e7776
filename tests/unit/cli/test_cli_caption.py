"""booth caption."""

from __future__ import annotations

import json
import re
import shutil
from pathlib import Path

import pytest
from PIL import Image
from told import last_object

from booth.data.photos import load_photos
from booth.families import image_to_text


@pytest.fixture
def photos(booth_cli, monkeypatch: pytest.MonkeyPatch) -> Path:
    """Three photos, one with a caption, and a model that tells their colour."""

    class Painter:
        def __init__(self, name: str, device: str) -> None:
            assert name == "painter"

        def __call__(self, image: Image.Image, prompt: str | None) -> str:
            return f"{prompt or 'a square of'} {image.getpixel((0, 0))[0]}"  # type: ignore[index]

    monkeypatch.setattr(image_to_text, "Captioner", Painter)
    folder = Path("photos")
    folder.mkdir()
    for i, red in enumerate((10, 20, 30)):
        Image.new("RGB", (40, 40), (red, 0, 0)).save(folder / f"{i}.png")
    (folder / "1.txt").write_text("my own words")
    return folder


def captions(folder: Path) -> list[str | None]:
    return [p.caption for p in load_photos([folder]).photos]


def test_missing_captions_are_written_and_all_are_shown(booth_cli, photos: Path) -> None:
    result = booth_cli("caption", photos, "--model", "painter")
    assert result.exit_code == 0, result.stderr
    assert captions(photos) == ["a square of 10", "my own words", "a square of 30"]
    assert [re.split(" {2,}", line)[1:] for line in result.stdout.splitlines()] == [
        ["written", "a square of 10"],
        ["kept", "my own words"],
        ["written", "a square of 30"],
    ]
    assert "2 captions written, 1 kept" in result.stderr
    assert sorted(p.name for p in photos.iterdir()) == ["0.png", "0.txt", "1.png", "1.txt", "2.png", "2.txt"]


def test_captions_are_written_anew_on_request_only(booth_cli, photos: Path) -> None:
    again = booth_cli("caption", photos, "--model", "painter", "--overwrite", "--prompt", "red", "--json")
    assert [row["caption"] for row in last_object(again)["captions"]] == ["red 10", "red 20", "red 30"]
    assert captions(photos) == ["red 10", "red 20", "red 30"]
    nothing = booth_cli("caption", photos, "--model", "painter", "--json")
    assert [row["written"] for row in last_object(nothing)["captions"]] == [False] * 3


def test_pictures_of_a_controlnets_set_are_captioned_where_its_list_has_no_prompt(booth_cli, photos: Path) -> None:
    rows = []
    for i, words in enumerate(["from the list", "", None]):
        for part in ("source", "target"):
            (photos / part).mkdir(exist_ok=True)
            shutil.copy(photos / f"{i}.png", photos / part / f"{i}.png")
        rows.append(
            {"source": f"source/{i}.png", "target": f"target/{i}.png"} | ({} if words is None else {"prompt": words})
        )
    (photos / "prompt.json").write_text("\n".join(map(json.dumps, rows)))
    result = booth_cli("caption", photos, "--model", "painter", "--overwrite")
    assert result.exit_code == 0, result.stderr
    assert "2 captions written, 1 kept" in result.stderr
    assert "1 stand in a list such as metadata.jsonl: edit them there." in result.stderr
    assert captions(photos) == ["from the list", "a square of 20", "a square of 30"]  # as they are trained with
    assert sorted(p.name for p in photos.rglob("*/*.txt")) == ["1.txt", "2.txt"]
    assert not list((photos / "source").glob("*.txt"))
    again = booth_cli("caption", photos, "--model", "painter", "--overwrite", "--prompt", "red", "--json")
    assert [row["caption"] for row in last_object(again)["captions"]] == ["from the list", "red 20", "red 30"]


def test_captions_of_a_metadata_file_stay_there(booth_cli, photos: Path) -> None:
    (photos / "metadata.jsonl").write_text(json.dumps({"file_name": "0.png", "text": "from the list"}))
    assert booth_cli("caption", photos, "--model", "painter", "--overwrite").exit_code == 0
    assert captions(photos) == ["from the list", "a square of 20", "a square of 30"]
    assert not (photos / "0.txt").exists()
