"""Controls against OpenCV, transformers and cases worked by hand."""

from __future__ import annotations

import sys
from pathlib import Path

import cv2
import numpy as np
import pytest
import torch
from PIL import Image, ImageDraw
from transformers import DPTConfig, DPTForDepthEstimation, DPTImageProcessor

from booth.controls.canny import Canny
from booth.controls.depth import Depth
from booth.controls.filters import gaussian
from booth.controls.lines import Lines
from booth.controls.normals import Normals, encode, normals
from booth.controls.scribble import Scribble
from booth.controls.soft_edges import SoftEdges
from booth.core.errors import NotAvailableError
from booth.registry import CONTROLS
from booth.world.render import normals as normals_of_the_world

NETWORKS = {"depth", "normals"}


def drawing(width: int = 96, height: int = 80) -> Image.Image:
    """Soft shapes in colour."""
    image = Image.new("RGB", (width, height), (200, 180, 90))
    draw = ImageDraw.Draw(image)
    draw.ellipse((10, 12, 50, 60), fill=(30, 60, 180))
    draw.polygon([(50, 70), (90, 60), (70, 10)], fill=(240, 240, 250))
    noise = np.random.default_rng(0).normal(0, 6, (height, width, 3))
    return Image.fromarray(np.clip(np.asarray(image) + noise, 0, 255).astype(np.uint8))


def step(low: int, high: int) -> Image.Image:
    """A vertical edge between columns 255 and 256."""
    pixels = np.full((512, 512, 3), low, np.uint8)
    pixels[:, 256:] = high
    return Image.fromarray(pixels)


@pytest.mark.parametrize("name", CONTROLS)
def test_a_control_describes_itself_and_keeps_the_size(name: str) -> None:
    control = CONTROLS[name]()
    assert control.name == name
    assert control.title
    assert control.shows
    if name not in NETWORKS:
        hint = control(drawing())
        assert (hint.mode, hint.size) == ("RGB", (96, 80))
        assert hint.getextrema() != ((0, 0),) * 3
        assert control(Image.new("RGB", (64, 48), (90, 40, 10))).getextrema() == ((0, 0),) * 3  # nothing to be seen


def test_canny_is_opencvs() -> None:
    expected = cv2.Canny(np.asarray(drawing()), 100, 200)
    assert expected.any()
    assert np.array_equal(np.asarray(Canny()(drawing())), np.stack([expected] * 3, axis=-1))


def test_lines_lie_on_a_rectangles_sides() -> None:
    image = Image.new("RGB", (128, 128))
    ImageDraw.Draw(image).rectangle((30, 40, 99, 89), fill="white")
    drawn = np.asarray(Lines()(image))[..., 0] > 0
    sides = np.zeros((128, 128), np.uint8)
    cv2.rectangle(sides, (30, 40), (99, 89), 255, 1)
    near = cv2.dilate(sides, np.ones((3, 3), np.uint8)) > 0
    assert not (drawn & ~near).any()
    assert (cv2.dilate(drawn.astype(np.uint8), np.ones((5, 5), np.uint8)) > 0)[sides > 0].mean() > 0.95


@pytest.mark.parametrize("sigma", [0.5, 1.0, 5.0])
def test_the_gaussian_is_opencvs(sigma: float) -> None:
    pixels = np.asarray(drawing(), np.float32)
    assert np.abs(gaussian(pixels, sigma) - cv2.GaussianBlur(pixels, (0, 0), sigma)).max() < 0.01


def test_scribble_is_the_references_formula() -> None:
    """XDoG of ControlNet 1.1's annotator, without the overflow of its 8 bits."""
    image = drawing().resize((512, 520), Image.Resampling.BICUBIC)
    pixels = np.asarray(image, np.float32)
    blurred = [cv2.GaussianBlur(pixels, (0, 0), sigma) for sigma in (0.5, 5.0)]
    darker = np.clip(np.min(blurred[1] - blurred[0], axis=2), 0, 255)
    clear = np.abs(2 * darker - 32) > 0.1  # not within rounding of the threshold
    ours = np.asarray(Scribble()(image))[..., 0] > 0
    assert np.array_equal(ours[clear], (2 * darker > 32)[clear])
    assert 0.001 < ours.mean() < 0.5


@pytest.mark.parametrize("height", [255, 128])
def test_a_step_is_a_soft_edge_of_its_height(height: int) -> None:
    hint = np.asarray(SoftEdges()(step(0, height)), np.float64)[..., 0]
    assert np.ptp(hint, axis=0).max() == 0  # the same in each row
    row = hint[0]
    assert row[[255, 256]] == pytest.approx(255 * (height / 255) ** 0.5, rel=0.06)  # pixels are not infinitely small
    assert row.argmax() in (255, 256)
    assert np.allclose(row, row[::-1])
    assert row[:200].max() == 0


def test_without_opencv_the_error_names_the_line_that_installs_it(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setitem(sys.modules, "cv2", None)
    for control in (Canny(), Lines()):
        with pytest.raises(NotAvailableError, match=r"pip install 'booth\[control\]'"):
            control(drawing())
    assert Scribble()(drawing())


@pytest.fixture(scope="module")
def network(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A random DPT of the real class, in the layout of a cache."""
    folder = tmp_path_factory.mktemp("dpt")
    torch.manual_seed(0)
    config = DPTConfig(
        hidden_size=16, num_hidden_layers=4, num_attention_heads=2, intermediate_size=16, image_size=32, patch_size=8,
        backbone_out_indices=[0, 1, 2, 3], neck_hidden_sizes=[4, 4, 8, 8], fusion_hidden_size=8, is_hybrid=False,
    )  # fmt: skip
    DPTForDepthEstimation(config).save_pretrained(folder)
    size = {"height": 32, "width": 32}
    DPTImageProcessor(size=size, keep_aspect_ratio=False).save_pretrained(folder)
    return folder


def test_depth_is_what_the_network_says_from_black_to_white(network: Path) -> None:
    image = drawing()
    processor, model = DPTImageProcessor.from_pretrained(network), DPTForDepthEstimation.from_pretrained(network)
    with torch.no_grad():
        raw = model.eval()(**processor(images=image, return_tensors="pt")).predicted_depth
    raw = torch.nn.functional.interpolate(raw[None], size=(80, 96), mode="bicubic", align_corners=False)[0, 0]
    expected = ((raw - raw.min()) / (raw.max() - raw.min()) * 255).round().numpy()
    hint = np.asarray(Depth(("no-such/network", str(network)))(image))
    assert (hint.min(), hint.max()) == (0, 255)
    assert np.abs(hint[..., 0] - expected).max() <= 1
    assert np.asarray(Normals((str(network),))(image)).shape == (80, 96, 3)


@pytest.mark.parametrize("name", sorted(NETWORKS))
def test_without_the_network_the_error_says_how_to_get_it(
    name: str, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    control = CONTROLS[name]((str(tmp_path / "absent"),))
    with pytest.raises(NotAvailableError, match="hf download"):
        control(drawing())


def test_normals_of_a_plane_are_one_vector_at_any_size() -> None:
    for width in (64, 256):
        near = np.broadcast_to(np.linspace(0, 1, width, endpoint=False, dtype=np.float32), (48, width))
        slope = 1 / 8  # nearness rises by 1 over the width, and the scene is 1/8 of its width deep
        expected = np.array([-slope, 0, 1]) / np.hypot(slope, 1)
        assert np.abs(normals(near) - expected).max() < 1e-4
    colour = np.asarray(encode(normals(near)))[0, 0]
    assert colour.tolist() == np.rint((expected + 1) * 127.5).tolist()


def test_normals_are_those_of_the_world() -> None:
    near = np.random.default_rng(0).random((64, 64), dtype=np.float32)
    assert np.abs(normals(near) - normals_of_the_world(near)).max() < 1e-6
