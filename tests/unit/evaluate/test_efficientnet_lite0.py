"""EfficientNet-Lite0 as an encoder."""

from __future__ import annotations

import numpy as np
import pytest
import torch
from PIL import Image

from booth.evaluate.encoders import load_encoders
from booth.registry import ENCODERS

pytest.importorskip("efficientnet_lite_pytorch")


def picture(seed: int) -> Image.Image:
    small = np.random.default_rng(seed).integers(0, 255, (6, 8, 3), dtype=np.uint8)
    return Image.fromarray(small).resize((160, 120), Image.Resampling.BICUBIC)


def test_vectors_are_of_length_one_and_a_light_change_is_nearer_than_another_picture() -> None:
    encoder = ENCODERS["efficientnet-lite0"]()
    first, brighter, other = encoder.images([picture(0), picture(0).point(lambda v: min(255, v + 6)), picture(1)])
    assert torch.linalg.vector_norm(first).item() == pytest.approx(1, abs=1e-5)
    assert first @ brighter > first @ other
    about = encoder.about()
    assert about["weights"].startswith("sha256:")
    assert "supervised" in about["title"]


def test_it_is_used_only_where_it_is_called_for() -> None:
    assert "efficientnet-lite0" not in [e.name for e in load_encoders(scale="tiny")]
    assert [e.name for e in load_encoders(["efficientnet-lite0"])] == ["efficientnet-lite0"]
