"""LPIPS against the published networks written out layer by layer, on random weights."""

from __future__ import annotations

from pathlib import Path

import numpy as np
import pytest
import torch
from PIL import Image
from safetensors.torch import save_file
from torch import nn

from booth.core.errors import BadDataError
from booth.core.metric import Refused
from booth.evaluate.lpips import Lpips, file_of
from booth.registry import METRICS
from planes import drawn, evidence

CHANNELS = {"alex": (6, 8, 10, 6, 4), "vgg": (4, 6, 6, 8, 8)}


def conv(inputs: int, outputs: int, kernel: int = 3, stride: int = 1, padding: int = 1) -> list[nn.Module]:
    return [nn.Conv2d(inputs, outputs, kernel, stride, padding), nn.ReLU()]


def published(net: str) -> tuple[nn.Sequential, tuple[int, ...], dict[int, int]]:
    """torchvision's `features` with fewer channels; after which layers LPIPS looks; the slice of each convolution."""
    a, b, c, d, e = CHANNELS[net]
    if net == "alex":
        pool = nn.MaxPool2d(3, 2)
        layers = [*conv(3, a, 11, 4, 2), pool, *conv(a, b, 5, 1, 2), pool, *conv(b, c), *conv(c, d), *conv(d, e)]
        return nn.Sequential(*layers), (1, 4, 7, 9, 11), {0: 1, 3: 2, 6: 3, 8: 4, 10: 5}
    pool = nn.MaxPool2d(2, 2)
    layers = [*conv(3, a), *conv(a, a), pool, *conv(a, b), *conv(b, b), pool, *conv(b, c), *conv(c, c), *conv(c, c)]
    layers += [pool, *conv(c, d), *conv(d, d), *conv(d, d), pool, *conv(d, e), *conv(e, e), *conv(e, e)]
    slices = {0: 1, 2: 1, 5: 2, 7: 2, 10: 3, 12: 3, 14: 3, 17: 4, 19: 4, 21: 4, 24: 5, 26: 5, 28: 5}
    return nn.Sequential(*layers), (3, 8, 15, 22, 29), slices


def write(net: str, file: Path, linear: str = "lin{}.model.1.weight") -> tuple[nn.Sequential, list[torch.Tensor]]:
    torch.manual_seed(1)
    trunk, _, slices = published(net)
    weights = [torch.rand(1, channels, 1, 1) for channels in CHANNELS[net]]
    tensors = {f"net.slice{slices[int(k.split('.')[0])]}.{k}": v for k, v in trunk.state_dict().items()}
    tensors |= {linear.format(k): weight for k, weight in enumerate(weights)}
    file.parent.mkdir(parents=True, exist_ok=True)
    save_file(tensors, file)
    return trunk, weights


def by_hand(trunk: nn.Sequential, ends: tuple[int, ...], weights: list[torch.Tensor], *images: Image.Image) -> float:
    shift, scale = np.array([-0.03, -0.088, -0.188]), np.array([0.458, 0.448, 0.45])
    found: list[list[np.ndarray]] = []
    for image in images:
        pixels = (np.asarray(image, dtype=np.float64) / 127.5 - 1 - shift) / scale
        x, maps = torch.tensor(pixels).permute(2, 0, 1)[None].float(), []
        for i, layer in enumerate(trunk):
            x = layer(x)
            if i in ends:
                features = x[0].detach().double().numpy()
                maps.append(features / (np.linalg.norm(features, axis=0) + 1e-10))
        found.append(maps)
    return sum(
        float(np.einsum("c,chw->hw", w.flatten().double().numpy(), (a - b) ** 2).mean())
        for a, b, w in zip(*found, weights, strict=True)
    )


def noise(seed: int) -> Image.Image:
    return Image.fromarray(np.random.default_rng(seed).integers(0, 255, (67, 70, 3), dtype=np.uint8))


@pytest.mark.parametrize("net", CHANNELS)
def test_the_distance_is_that_of_the_formula(net: str, tmp_path: Path) -> None:
    trunk, weights = write(net, tmp_path / "x.safetensors")
    expected = by_hand(trunk, published(net)[1], weights, noise(0), noise(1))
    network = Lpips(net, tmp_path / "x.safetensors")
    first, same, second = network.distances([noise(0), noise(1), noise(0)])
    assert first == pytest.approx(expected, rel=1e-4)
    assert second == pytest.approx(expected, rel=1e-4)
    assert expected > 0.01
    assert same == 0
    write(net, tmp_path / "y.safetensors", "lins.{}.model.1.weight")  # its other name for the same layer
    assert Lpips(net, tmp_path / "y.safetensors").distances([noise(0), noise(1)]) == [first]


def test_div_is_the_mean_over_pairs_of_each_prompt(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("BOOTH_CACHE", str(tmp_path))
    metric = METRICS["lpips"]()
    rows = drawn((noise(0), "a"), (noise(1), "b"), (noise(2), "a"), (noise(2), "b"), (noise(1), "a"), (noise(9), "c"))
    with pytest.raises(Refused, match=r"no .*lpips-alex.safetensors.*save_model"):
        metric.measure(evidence(drawn=rows), None)
    write("alex", file_of("alex"))
    network = Lpips("alex", file_of("alex"))
    (score,) = metric.measure(evidence(drawn=rows), None)
    of_a = network.distances([noise(0), noise(2), noise(1)])
    assert score.units == pytest.approx((sum(of_a) / 3, *network.distances([noise(1), noise(2)])))
    assert score.name == "lpips/alex"
    assert score.details["weights"].startswith("sha256:")
    with pytest.raises(Refused, match="two seeds"):
        metric.measure(evidence(drawn=rows[:2]), None)
    with pytest.raises(Refused, match="photos"):
        metric.measure(evidence(drawn=drawn((noise(0), "a"), (noise(1), "a"), reference=True)), None)


def test_a_file_of_another_network_is_named(tmp_path: Path) -> None:
    write("vgg", tmp_path / "x.safetensors")
    with pytest.raises(BadDataError, match=r"net.slice2.3.weight.*net='alex'"):
        Lpips("alex", tmp_path / "x.safetensors")
