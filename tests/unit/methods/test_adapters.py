"""The adapters against peft's own merges and the formulas of their papers, and where they sit."""

from __future__ import annotations

import copy
import itertools
import json
import math
from pathlib import Path
from typing import Any

import pytest
import torch
from peft import PeftModel
from peft.tuners.tuners_utils import BaseTunerLayer
from safetensors import safe_open
from torch import Tensor, nn

from booth.core.errors import BadDataError, UsageError
from booth.core.family import Family
from booth.core.method import Method, Subject
from booth.methods.t_lora import last_singular
from booth.registry import METHODS
from harness import load_with_diffusers, make_method, slow, tensors, train, write

LORA_FILE = "pytorch_lora_weights.safetensors"
LOW_RANK = ["locon", "dora", "rslora"]
FOLDERS = ["loha", "lokr", "oft", "boft", "ia3", "vera"]
SMALL: dict[str, dict[str, Any]] = {
    "oft": {},
    "boft": {},
    "ia3": {},
    "lokr": {"rank": 2},
    "t_lora": {"rank": 4, "min_rank": 1},
}


def make(name: str, subject: Subject | None = None, **settings: Any) -> Any:
    given = SMALL.get(name, {"rank": 4}) | settings
    return make_method(name, subject, **given) if subject else make_method(name, **given)


def randomise(method: Method, model: Family, seed: int = 0) -> dict[str, Tensor]:
    """Attach and move away from the start, as after a long training; the tensors by name."""
    parameters = {n: p for g in method.attach(model, seed) for n, p in g.parameters.items()}
    generator = torch.Generator().manual_seed(seed + 1)
    with torch.no_grad():
        for p in parameters.values():
            p.add_(0.05 * torch.randn(p.shape, generator=generator))
    return {n.removeprefix("unet."): p.detach() for n, p in parameters.items()}


def predict(unet: nn.Module) -> Tensor:
    generator = torch.Generator().manual_seed(0)
    x, words = torch.randn(2, 4, 8, 8, generator=generator), torch.randn(2, 7, 32, generator=generator)
    with torch.no_grad():
        return unet(x, torch.tensor([10, 700]), encoder_hidden_states=words).sample


def weight(model: Family, name: str) -> Tensor:
    return model.components()["unet"].get_submodule(name).weight.detach()


def adapted(model: Family) -> dict[str, Any]:
    unet = model.components()["unet"]
    return {n: m for n, m in unet.named_modules() if isinstance(m, BaseTunerLayer)}


@pytest.mark.parametrize(("setting", "told"), [({"blocks": "attn2"}, "attn2"), ({"targets": ("convolution",)}, "conv")])
def test_a_text_encoder_that_would_not_be_trained_is_told(toy: Family, setting: dict[str, Any], told: str):
    method = make("locon", train_text_encoder=True, **setting)
    with pytest.raises(UsageError, match=f"train_text_encoder=true trains nothing.*{told}"):
        method.attach(toy, 0)
    assert adapted(toy) == {}


@pytest.mark.parametrize("name", LOW_RANK)
def test_what_diffusers_loads_and_fuses_predicts_the_same(toy: Family, toy_base: Path, tmp_path: Path, name: str):
    base = predict(toy.components()["unet"])
    method = make(name)
    randomise(method, toy)
    pipe = load_with_diffusers(toy_base, write(toy, method, tmp_path / "c"))
    pipe.fuse_lora(components=["unet"])  # peft's merge
    pipe.unload_lora_weights()
    ours = predict(toy.components()["unet"])
    torch.testing.assert_close(predict(pipe.unet), ours, atol=1e-4, rtol=1e-4)
    assert not torch.allclose(ours, base, atol=1e-2)


@pytest.mark.parametrize("name", FOLDERS)
def test_what_peft_loads_and_merges_predicts_the_same(toy: Family, tmp_path: Path, name: str):
    unet = toy.components()["unet"]
    bare, base = copy.deepcopy(unet), predict(unet)
    method = make(name)
    randomise(method, toy)
    folder = write(toy, method, tmp_path / "c")
    merged = PeftModel.from_pretrained(bare, folder / "unet").merge_and_unload()
    assert not any(isinstance(m, BaseTunerLayer) for m in merged.modules())
    torch.testing.assert_close(predict(merged), predict(unet), atol=1e-4, rtol=1e-4)
    assert not torch.allclose(predict(unet), base, atol=1e-3)


def test_locon_is_two_convolutions(toy: Family):
    name = "down_blocks.0.resnets.0.conv1"
    method = make("locon", rank=4, conv_rank=3, alpha=6.0)
    f = randomise(method, toy)
    a, b = f[f"{name}.lora_A.weight"], f[f"{name}.lora_B.weight"]
    assert a.shape == (3, 16, 3, 3)
    assert b.shape == (16, 3, 1, 1)
    layer, x = toy.components()["unet"].get_submodule(name), torch.randn(1, 16, 8, 8)
    delta = 6 / 3 * torch.einsum("or,rikl->oikl", b.flatten(1), a)
    expected = nn.functional.conv2d(x, layer.base_layer.weight + delta, layer.base_layer.bias, padding=1)
    torch.testing.assert_close(layer(x), expected, atol=1e-5, rtol=1e-5)
    convolutions = {n for n in adapted(toy) if "attn" not in n and ".ff." not in n}
    ours = {n for n, m in toy.components()["unet"].named_modules() if isinstance(m, nn.Conv2d) and ".lora_" not in n}
    left = {n.removesuffix(".base_layer") for n in ours} - convolutions
    assert all(n.rpartition(".")[2] in {"conv_in", "conv_out", "conv_shortcut", "proj_in", "proj_out"} for n in left)


def test_dora_is_the_normalised_sum_with_a_magnitude_for_each_row(toy: Family):
    name = "down_blocks.0.attentions.0.transformer_blocks.0.attn1.to_q"
    start = weight(toy, name).clone()
    method = make("dora", rank=4)
    (group,) = method.attach(toy, 0)
    magnitude = group.parameters[f"unet.{name}.lora_magnitude_vector"]
    torch.testing.assert_close(magnitude.detach(), start.norm(dim=1))
    method.detach(toy)
    f = randomise(method, toy)
    a, b, m = (f[f"{name}.{part}"] for part in ("lora_A.weight", "lora_B.weight", "lora_magnitude_vector"))
    whole = start + b @ a
    expected = m[:, None] * whole / whole.norm(dim=1, keepdim=True)
    x = torch.randn(3, start.shape[1])
    layer = toy.components()["unet"].get_submodule(name)
    torch.testing.assert_close(layer(x), x @ expected.T, atol=1e-5, rtol=1e-5)


@pytest.mark.parametrize(("settings", "scale"), [({"rank": 16, "alpha": 8.0}, 2.0), ({"rank": 9, "alpha": None}, 3.0)])
def test_rslora_scales_by_the_root_of_the_rank(toy: Family, settings: dict[str, Any], scale: float):
    make("rslora", **settings).attach(toy, 0)
    assert {layer.scaling["default"] for layer in adapted(toy).values()} == {scale}
    assert METHODS["rslora"].Config().alpha / math.sqrt(METHODS["rslora"].Config().rank) == 1.0


def test_loha_and_lokr_are_the_products_of_their_papers(toy: Family):
    name = "down_blocks.1.attentions.0.transformer_blocks.0.ff.net.2"
    unet = toy.components()["unet"]
    for kind in ("loha", "lokr"):
        method = make(kind, rank=2, alpha=3.0)
        f = {n.removeprefix(f"{name}."): t for n, t in randomise(method, toy).items() if n.startswith(name)}
        if kind == "loha":
            delta = (f["hada_w1_a"] @ f["hada_w1_b"]) * (f["hada_w2_a"] @ f["hada_w2_b"])
        else:
            delta = torch.kron(f["lokr_w1"], f["lokr_w2_a"] @ f["lokr_w2_b"])
        layer = unet.get_submodule(name)
        x = torch.randn(2, layer.base_layer.in_features)
        expected = x @ (layer.base_layer.weight + 3 / 2 * delta).T + layer.base_layer.bias
        torch.testing.assert_close(layer(x), expected, atol=1e-5, rtol=1e-5)
        method.detach(toy)


def test_oft_rotates_and_leaves_the_base_s_angles(toy: Family):
    name = "down_blocks.0.attentions.0.transformer_blocks.0.attn1.to_q"
    start = weight(toy, name).clone()
    randomise(make("oft", block_size=8), toy)
    layer = toy.components()["unet"].get_submodule(name)
    effective = layer(torch.eye(16)).T.detach()  # W R^T: its rows are the base's, turned
    torch.testing.assert_close(effective @ effective.T, start @ start.T, atol=1e-6, rtol=1e-5)
    assert not torch.allclose(effective, start, atol=1e-3)


@pytest.mark.parametrize("name", [*LOW_RANK, *FOLDERS])
def test_strength_goes_from_the_base_to_what_was_trained(toy: Family, name: str):
    unet = toy.components()["unet"]
    base = predict(unet)
    method = make(name)
    randomise(method, toy)
    full = predict(unet)
    method.set_strength(0.5)
    half = predict(unet)
    method.set_strength(0.0)
    torch.testing.assert_close(predict(unet), base, atol=1e-5, rtol=1e-5)
    method.set_strength(1.0)
    assert torch.equal(predict(unet), full)
    assert (half - base).norm() < (full - base).norm()
    assert not torch.allclose(half, base, atol=1e-3)


def test_blocks_and_ranks_choose_by_pattern_and_stand_in_the_file(toy: Family, toy_base: Path, tmp_path: Path):
    ranks = {"mid_block.*to_k$": 2, "to_k": 5}  # the first that fits counts
    method = make("lora", rank=4, blocks="attn2", targets=("attention",), ranks=ranks)
    train(toy, method, 1)
    layers = adapted(toy)
    assert layers
    assert all(".attn2." in n for n in layers)
    for name, layer in layers.items():
        expected = 4 if not name.endswith("to_k") else 2 if name.startswith("mid_block") else 5
        assert layer.r["default"] == expected, name
        assert layer.scaling["default"] == 1.0  # no alpha: 1 whatever the rank
    folder = write(toy, method, tmp_path / "c")
    with safe_open(folder / LORA_FILE, "pt") as file:
        header = json.loads(file.metadata()["lora_adapter_metadata"])
    assert torch.equal(predict(load_with_diffusers(toy_base, folder).unet), predict(toy.components()["unet"]))
    assert sorted(header["unet.target_modules"]) == sorted(layers)
    assert set(header["unet.rank_pattern"].values()) == {2, 5}


def test_one_alpha_stands_over_every_rank(toy: Family):
    make("loha", rank=4, alpha=8.0, targets=("attention",), ranks={"to_q": 2}).attach(toy, 0)
    scales = {n.rpartition(".")[2]: layer.scaling["default"] for n, layer in adapted(toy).items()}
    assert scales == {"to_q": 4.0, "to_k": 2.0, "to_v": 2.0, "0": 2.0}


@pytest.mark.parametrize(
    ("name", "settings", "told"),
    [
        ("lora", {"blocks": "no_such_block"}, "no_such_block.*Set blocks"),
        ("lora", {"ranks": {"attn7": 2}}, "'attn7'"),
        ("oft", {"block_size": 7}, "blocks of 7 do not divide"),
        ("oft", {"targets": ("convolution",)}, "linear layers only"),
        ("boft", {"block_size": 32}, "64, the reach of 2 factors of blocks of 32, does not divide"),
        ("boft", {"targets": ("convolution",)}, "linear layers only"),
        ("t_lora", {"targets": ("convolution",)}, "linear layers only"),
        ("vera", {"targets": ("convolution",)}, "No layer"),
    ],
)
def test_settings_that_fit_no_layer_are_usage_errors(toy: Family, name: str, settings: dict[str, Any], told: str):
    before = set(tensors(toy))
    with pytest.raises(UsageError, match=told):
        make(name, **settings).attach(toy, 0)
    assert set(tensors(toy)) == before


@pytest.mark.parametrize("settings", [{"blocks": "("}, {"ranks": {"[": 3}}])
def test_a_pattern_must_be_a_regular_expression(settings: dict[str, Any]):
    with pytest.raises(ValueError, match="no regular expression"):
        make("lora", **settings)


@pytest.mark.parametrize("kinds", [("lora", "loha", "oft"), ("boft", "lora", "t_lora"), ("vera", "vera", "ia3")])
@pytest.mark.parametrize("order", [slow(o) if o[0] == 0 else o for o in itertools.permutations(range(3))])
def test_adapters_of_three_kinds_nest_and_leave_in_any_order(
    toy: Family, order: tuple[int, ...], kinds: tuple[str, ...]
):
    unet = toy.components()["unet"]
    base, names = predict(unet), [n for n, _ in unet.named_modules()]
    methods = [make(kind, Subject(kind, "dog")) for kind in kinds]
    for seed, method in enumerate(methods):
        before = predict(unet)
        randomise(method, toy, seed)
        assert not torch.allclose(predict(unet), before, atol=1e-3)
    for i in order:
        methods[i].detach(toy)
    assert torch.equal(predict(unet), base)
    assert [n for n, _ in unet.named_modules()] == names


@pytest.mark.parametrize("name", FOLDERS)
def test_restore_names_what_does_not_fit_and_leaves_nothing_behind(toy: Family, tmp_path: Path, name: str):
    with pytest.raises(BadDataError, match=r"adapter_model\.safetensors is missing"):
        make(name).restore(toy, tmp_path)
    method = make(name)
    train(toy, method, 1)
    write(toy, method, tmp_path / "c")
    method.detach(toy)
    other = {"oft": {"block_size": 4}, "boft": {"block_size": 8}, "ia3": {"targets": ("attention",)}}.get(
        name, {"rank": 3}
    )
    with pytest.raises(BadDataError, match=r"unet/adapter_model\.safetensors does not fit"):
        make(name, **other).restore(toy, tmp_path / "c")
    assert not adapted(toy)


@pytest.mark.parametrize("name", ["boft", "ia3", "vera", "t_lora"])
def test_a_strength_of_nothing_is_the_base_and_one_of_one_as_trained(toy: Family, name: str):
    base = predict(toy.components()["unet"])
    method = make(name)
    randomise(method, toy)
    whole = predict(toy.components()["unet"])
    method.set_strength(0.0)
    assert torch.allclose(predict(toy.components()["unet"]), base, atol=1e-6)
    method.set_strength(0.5)
    half = predict(toy.components()["unet"])
    assert not torch.allclose(half, base, atol=1e-4)
    assert not torch.allclose(half, whole, atol=1e-4)
    method.set_strength(1.0)
    assert torch.equal(predict(toy.components()["unet"]), whole)


def test_ia3_scales_what_attention_gives_and_feed_forward_takes(toy: Family):
    f = randomise(make("ia3"), toy)
    block = "down_blocks.0.attentions.0.transformer_blocks.0"
    for name, taken in ((f"{block}.attn1.to_k", False), (f"{block}.ff.net.2", True)):
        layer = toy.components()["unet"].get_submodule(name)
        factor, inner = f[f"{name}.ia3_l"].flatten(), layer.base_layer
        x = torch.randn(3, inner.in_features)
        expected = inner(x * factor) if taken else inner(x) * factor
        torch.testing.assert_close(layer(x), expected, atol=1e-5, rtol=1e-5)


def test_boft_is_a_rotation_that_reaches_far_and_a_scale(toy: Family):
    name = "down_blocks.0.attentions.0.transformer_blocks.0.attn1.to_q"
    f = randomise(make("boft", block_size=4, factors=2), toy)
    layer = toy.components()["unet"].get_submodule(name)
    wide = layer.base_layer.in_features
    rotation = layer.rotated(torch.eye(wide))
    torch.testing.assert_close(rotation @ rotation.T, torch.eye(wide), atol=1e-5, rtol=0)
    reached = (rotation.abs() > 1e-6).sum(1)
    assert bool((reached <= 8).all())
    assert bool((reached > 4).any())
    x = torch.randn(3, wide)
    expected = (x @ rotation @ layer.base_layer.weight.T) * f[f"{name}.boft_s"].flatten()
    torch.testing.assert_close(layer(x), expected, atol=1e-5, rtol=1e-5)


def test_vera_shares_its_matrices_and_saves_two_vectors_a_layer(toy: Family, tmp_path: Path):
    method = make("vera", rank=5)
    f = randomise(method, toy)
    layers = adapted(toy)
    shared = {id(t) for layer in layers.values() for t in layer._shared}
    assert len(shared) == 2
    assert sum(t.numel() for t in f.values()) == sum(5 + layer.base_layer.weight.shape[0] for layer in layers.values())
    name, layer = next(iter(layers.items()))
    down, up = layer._shared
    given, taken = layer.base_layer.weight.shape
    b, d = f[f"{name}.vera_lambda_b"], f[f"{name}.vera_lambda_d"]
    update = b[:, None] * up[:given] @ (d[:, None] * down[:, :taken])
    x = torch.randn(3, taken)
    torch.testing.assert_close(layer(x) - layer.base_layer(x), x @ update.T, atol=1e-5, rtol=1e-5)


def test_t_lora_gives_noise_fewer_ranks(toy: Family):
    name = "down_blocks.0.attentions.0.transformer_blocks.0.attn1.to_q"
    method = make("t_lora", rank=8, min_rank=2)
    parameters = {n: p for g in method.attach(toy, 0) for n, p in g.parameters.items()}
    layer = toy.components()["unet"].get_submodule(name)
    x = torch.randn(2, 5, layer.base_layer.in_features)
    torch.testing.assert_close(layer(x), layer.base_layer(x), atol=1e-5, rtol=0)  # begins as the base
    a, b, s = (parameters[f"unet.{name}.{part}"] for part in ("t_lora_A", "t_lora_B", "t_lora_S"))
    torch.testing.assert_close(a @ a.T, torch.eye(8), atol=1e-5, rtol=0)
    torch.testing.assert_close(b.T @ b, torch.eye(8), atol=1e-5, rtol=0)
    with torch.no_grad():
        s.add_(1.0)
    whole = b @ torch.diag(s) @ a - layer.start_B @ torch.diag(layer.start_S) @ layer.start_A
    torch.testing.assert_close(layer(x) - layer.base_layer(x), x @ whole.T, atol=1e-4, rtol=0)

    words = torch.randn(2, 7, 32)
    toy.components()["unet"](torch.randn(2, 4, 8, 8), torch.tensor([0, 999]), encoder_hidden_states=words)
    update = layer(x) - layer.base_layer(x)
    for row, ranks in ((0, 8), (1, 2)):
        kept = torch.zeros(8)
        kept[:ranks] = 1
        part = b @ torch.diag(s * kept) @ a - layer.start_B @ torch.diag(layer.start_S * kept) @ layer.start_A
        torch.testing.assert_close(update[row], x[row] @ part.T, atol=1e-4, rtol=0)
    assert layer.count(torch.tensor([0.5, 0.26])).tolist() == [5, 6]


def test_t_lora_starts_with_the_last_singular_values_of_a_random_matrix():
    generator = torch.Generator().manual_seed(0)
    for taken, given in ((96, 96), (64, 192)):
        _, _, values = last_singular(taken, given, 16, generator)
        real = torch.linalg.svdvals(torch.randn(given, taken, generator=generator) / 16)[-16:]
        torch.testing.assert_close(values, real, atol=0.04, rtol=0)


def test_t_lora_refuses_ranks_in_the_wrong_order():
    with pytest.raises(ValueError, match="min_rank is 8 and rank 4"):
        make("t_lora", rank=4, min_rank=8)
