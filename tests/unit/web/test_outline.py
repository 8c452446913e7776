"""A first mask without a network."""

from __future__ import annotations

import io

import numpy as np
import pytest
from fastapi.testclient import TestClient
from PIL import Image, ImageDraw
from web_client import raw

from booth.web.outline import outline


def drawn(seed: int, size: tuple[int, int] = (200, 150)) -> tuple[Image.Image, np.ndarray]:
    """A thing of two colours before a mottled ground, and where it is."""
    lot = np.random.default_rng(seed)
    ground = lot.integers(60, 140, (size[1] // 5, size[0] // 5, 3), dtype=np.uint8)
    image = Image.fromarray(ground).resize(size, Image.Resampling.NEAREST)
    where = Image.new("1", size)
    left, top = int(lot.integers(30, 60)), int(lot.integers(20, 40))
    box, patch = (left, top, left + 90, top + 80), (left + 30, top + 20, left + 60, top + 50)
    for on, fill in ((ImageDraw.Draw(image), (220, 40, 30)), (ImageDraw.Draw(where), 1)):
        on.ellipse(box, fill=fill)  # type: ignore[arg-type]
    ImageDraw.Draw(image).rectangle(patch, fill=(240, 220, 40))
    return image, np.asarray(where)


@pytest.mark.parametrize("seed", range(4))
def test_what_has_other_colours_than_the_border_is_found_as_one_piece(seed: int) -> None:
    image, where = drawn(seed)
    found = np.asarray(outline(image)) > 127
    assert found.shape == where.shape
    assert (found & where).sum() / (found | where).sum() > 0.8


@pytest.mark.parametrize("size", [(9, 300), (1, 1), (64, 64)])
def test_a_plain_picture_gets_some_mask_and_no_error(size: tuple[int, int]) -> None:
    assert outline(Image.new("RGB", size, (90, 90, 90))).size == size


def test_it_is_a_start_that_nothing_is_kept_of(client: TestClient) -> None:
    image, where = drawn(1)
    data = io.BytesIO()
    image.save(data, "PNG")
    key = client.post("/api/photos", json={"name": "thing"}).json()["id"]
    photo = client.put(f"/api/photos/{key}/upload?name=a", **raw(data.getvalue())).json()["id"]  # type: ignore[arg-type]
    answer = client.get(f"/media/photos/{key}/{photo}?size=outline")
    assert answer.headers["content-type"] == "image/png"
    found = np.asarray(Image.open(io.BytesIO(answer.content))) > 127
    assert (found & where).sum() / (found | where).sum() > 0.8
    assert client.get(f"/media/photos/{key}/{photo}?size=mask").status_code == 404
