"""LoCon, LoHa, LoKr and DoRA files of other trainers: the weights that peft merges, against the files' formulas."""

from __future__ import annotations

from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest
import torch
from diffusers import StableDiffusionPipeline
from peft.tuners.lokr.layer import factorization
from peft.tuners.tuners_utils import BaseTunerLayer
from safetensors.torch import load_file, save_file
from torch import Tensor

from bases import write_base
from booth.concept import Concept
from booth.core.errors import BadDataError
from booth.core.family import Family
from booth.export.base_files import BaseFiles
from booth.export.lora.read import read_layers
from booth.export.parts import parts_of
from booth.export.run import export
from booth.generate.concepts import Applied, attached
from booth.importing.lokr_form import first_side
from booth.importing.run import import_file
from harness import draw, slow

PROMPT = "a photo of ukj dog"
# What LyCORIS adapts by default, a layer of each kind: attention, feed-forward, projections and the 3x3 convolutions,
# the residual blocks' own layers, and the first and last convolutions.
ENDINGS = ("attn2.to_k", "attn1.to_out.0", "ff.net.0.proj", "proj_in", "conv1", "downsamplers.0.conv", "conv_shortcut",
           "time_emb_proj", "conv_in", "conv_out", "time_embedding.linear_1")  # fmt: skip
Drawn = Callable[..., Tensor]
Made = tuple[dict[str, Tensor], Callable[[Tensor], Tensor]]  # a layer's tensors, and from its weight to the new one


def numbers(seed: int) -> Drawn:
    generator = torch.Generator().manual_seed(seed)
    return lambda *shape: 0.3 * torch.randn(*shape, generator=generator)


def locon(weight: Tensor, r: Drawn) -> Made:
    """W + alpha / rank B A, with another rank for 3x3 convolutions."""
    rank = 2 if weight.ndim == 4 and weight.shape[-1] > 1 else 4
    ones = [1] * (weight.ndim - 2)
    down, up = r(rank, *weight.shape[1:]), r(len(weight), rank, *ones)
    change = (up.double().flatten(1) @ down.double().flatten(1)).view(weight.shape) * 1.5 / rank
    return {"lora_down.weight": down, "lora_up.weight": up, "alpha": torch.tensor(1.5)}, lambda w: w + change


def locon_with_core(weight: Tensor, r: Drawn) -> Made:
    if weight.ndim != 4 or weight.shape[-1] == 1:
        return locon(weight, r)
    out, inside, *kernel = weight.shape
    down, mid, up = r(3, inside, 1, 1), r(3, 3, *kernel), r(out, 3, 1, 1)
    f = [t.double() for t in (up.flatten(1), mid, down.flatten(1))]
    change = torch.einsum("oi,ijkl,jc->ockl", *f)
    return {"lora_down.weight": down, "lora_mid.weight": mid, "lora_up.weight": up}, lambda w: w + change


def dora(weight: Tensor, r: Drawn) -> Made:
    """m (W + B A) / |W + B A| over rows, as LyCORIS trains it with wd_on_output."""
    tensors, plain = locon(weight, r)
    length = weight.flatten(1).norm(dim=1).view(-1, *[1] * (weight.ndim - 1)) * (1 + r(1).abs())

    def changed(w: Tensor) -> Tensor:
        merged = plain(w)
        return merged * (length.double() / merged.flatten(1).norm(dim=1).view(length.shape))

    return tensors | {"dora_scale": length}, changed


def loha(weight: Tensor, r: Drawn) -> Made:
    rank, (out, *inside) = (2 if weight.ndim == 4 else 3), weight.shape
    inner = inside[0] * (weight[0, 0].numel())
    t = {f"hada_w{i}_{side}": r(out, rank) if side == "a" else r(rank, inner) for i in (1, 2) for side in "ab"}
    d = {name: tensor.double() for name, tensor in t.items()}
    change = (d["hada_w1_a"] @ d["hada_w1_b"]) * (d["hada_w2_a"] @ d["hada_w2_b"]) * 1.2 / rank
    return t | {"alpha": torch.tensor(1.2)}, lambda w: w + change.view(weight.shape)


def loha_with_core(weight: Tensor, r: Drawn) -> Made:
    if weight.ndim != 4 or weight.shape[-1] == 1:
        return loha(weight, r)
    out, inside, *kernel = weight.shape
    halves, t = [], {}
    for i in (1, 2):
        a, b, core = r(2, out), r(2, inside), r(2, 2, *kernel)
        t |= {f"hada_w{i}_a": a, f"hada_w{i}_b": b, f"hada_t{i}": core}
        halves.append(torch.einsum("ijkl,jr,ip->prkl", core.double(), b.double(), a.double()))
    return t | {"alpha": torch.tensor(2.0)}, lambda w: w + halves[0] * halves[1]


def lokr(weight: Tensor, r: Drawn, factor: int = -1, rank: int = 2, core: bool = False, whole: bool = False) -> Made:
    """W + alpha / rank C (x) (B A), the sides split as LyCORIS splits them; scale 1 where both blocks are whole."""
    out, inside, *kernel = weight.shape
    (a, b), (c, d) = factorization(out, factor), factorization(inside, factor)
    t: dict[str, Tensor] = {"lokr_w1": r(a, c), "alpha": torch.tensor(0.5)}
    scale = 0.5 / rank
    if whole or rank >= max(b, d) / 2:
        t["lokr_w2"], scale = r(b, d, *kernel), 1.0
        second = t["lokr_w2"].double()
    elif core and kernel and kernel[0] > 1:
        t |= {"lokr_t2": r(rank, rank, *kernel), "lokr_w2_a": r(rank, b), "lokr_w2_b": r(rank, d)}
        f = [t[f"lokr_{name}"].double() for name in ("t2", "w2_b", "w2_a")]
        second = torch.einsum("ijkl,jr,ip->prkl", *f)
    else:
        inner = d * weight[0, 0].numel()
        t |= {"lokr_w2_a": r(b, rank), "lokr_w2_b": r(rank, inner)}
        second = (t["lokr_w2_a"].double() @ t["lokr_w2_b"].double()).view(b, d, *kernel)
    first = t["lokr_w1"].double().view(a, c, *[1] * len(kernel))
    return t, lambda w: w + scale * torch.kron(first, second.contiguous())


def lokr_of_two(weight: Tensor, r: Drawn) -> Made:
    """decompose_both: the first block in two factors as well."""
    t, _ = lokr(weight, r, factor=4)
    a, c = t.pop("lokr_w1").shape
    t |= {"lokr_w1_a": r(a, 2), "lokr_w1_b": r(2, c)}
    first = t["lokr_w1_a"].double() @ t["lokr_w1_b"].double()
    kernel = weight.shape[2:]
    if "lokr_w2" in t:
        second = t["lokr_w2"].double()
    else:
        second = t["lokr_w2_a"].double() @ t["lokr_w2_b"].double()
        second = second.view(len(second), -1, *kernel)
    return t, lambda w: w + 0.25 * torch.kron(first.view(a, c, *[1] * len(kernel)), second)


KINDS: dict[str, tuple[str, Callable[[Tensor, Drawn], Made]]] = {
    "locon with a core": ("locon", locon_with_core),
    "dora": ("dora", dora),
    "loha with a core": ("loha", loha_with_core),
    "lokr": ("lokr", lokr),
    "lokr with a core": ("lokr", lambda w, r: lokr(w, r, factor=2, core=True)),
    "lokr whole": ("lokr", lambda w, r: lokr(w, r, whole=True)),
    "lokr of both": ("lokr", lambda w, r: lokr(w, r, factor=2, whole=w.ndim == 2)),
    "lokr with two factored blocks": ("lokr", lokr_of_two),
}


def foreign(model: Family, make: Callable[[Tensor, Drawn], Made], file: Path) -> dict[str, Tensor]:
    """Write such a file; the weights that it makes, by component and canonical name."""
    tensors: dict[str, Tensor] = {}
    expected: dict[str, Tensor] = {}
    layers = [("unet", n, m) for n, m in model.components()["unet"].named_modules() if f".{n}".endswith(
        tuple(f".{e}" for e in ENDINGS)) and hasattr(m, "weight")]  # fmt: skip
    layers += [("text_encoder", n, m) for n, m in model.components()["text_encoder"].named_modules()
               if n.endswith(("layers.1.self_attn.q_proj", "layers.1.mlp.fc2"))]  # fmt: skip
    for i, (component, name, module) in enumerate(layers):
        held, change = make(module.weight.detach(), numbers(i))
        path = f"text_model.{name.removeprefix('text_model.')}" if component == "text_encoder" else name
        key = ("lora_unet_" if component == "unet" else "lora_te_") + path.replace(".", "_")
        tensors |= {f"{key}.{ending}": tensor for ending, tensor in held.items()}
        expected[f"{component}.{name}"] = change(module.weight.detach().double())
    save_file(tensors, file, metadata={"modelspec.trigger_phrase": "ukj dog"})
    return expected


def merged(model: Family, concept: Concept) -> tuple[dict[str, Tensor], dict[str, Tensor]]:
    """Weights of all adapted layers before, and as peft merges them."""
    before: dict[str, Tensor] = {}
    after: dict[str, Tensor] = {}
    with attached(model, [Applied(concept)]):
        for component in ("unet", "text_encoder"):
            for name, layer in model.components()[component].named_modules():
                if isinstance(layer, BaseTunerLayer):
                    weight: Any = layer.get_base_layer().weight
                    before[f"{component}.{name}"] = weight.detach().clone()
                    layer.merge()
                    after[f"{component}.{name}"] = weight.detach().clone()
                    layer.unmerge()
    return before, after


@pytest.mark.parametrize("kind", KINDS)
def test_peft_merges_what_the_files_own_arithmetic_gives(kind: str, toy: Family, toy_base: Path, here: Path):
    method, make = KINDS[kind]
    expected = foreign(toy, make, here / "rex.safetensors")
    concept = import_file(here / "rex.safetensors", base=str(toy_base))
    assert concept.record.method == method
    before, after = merged(toy, concept)
    assert expected.keys() <= after.keys()
    for name, weight in after.items():
        target = expected.get(name, before[name].double())
        torch.testing.assert_close(weight.double(), target, rtol=0, atol=1e-6 * float(target.abs().max()), msg=name)
    assert any(not torch.allclose(after[name].double(), before[name].double(), atol=1e-2) for name in expected)
    # And so does the arithmetic that exports go by, which they can do at once.
    layers = parts_of(concept.folder, concept.record).layers
    for name, target in expected.items():
        component, _, module = name.partition(".")
        path = f"text_model.{module.removeprefix('text_model.')}" if component == "text_encoder" else module
        change = before[name].double() + layers[component][path].change(before[name])
        torch.testing.assert_close(change, target, rtol=0, atol=1e-6 * float(target.abs().max()), msg=name)


def test_a_locon_draws_what_diffusers_draws(toy: Family, toy_base: Path, here: Path):
    foreign(toy, locon, here / "rex.safetensors")
    tensors = load_file(here / "rex.safetensors")
    # diffusers' loader takes one alpha for all layers of a name, and text encoders only where all layers are adapted.
    tensors = {n: t for n, t in tensors.items() if n.startswith("lora_unet_") and not n.endswith("alpha")}
    save_file(tensors, here / "plain.safetensors", metadata={"modelspec.trigger_phrase": "ukj dog"})
    concept = import_file(here / "plain.safetensors", base=str(toy_base))
    assert {k: concept.record.settings[k] for k in ("rank", "conv_rank", "alpha")} == {
        "rank": 4, "conv_rank": 4, "alpha": 4.0}  # fmt: skip
    pipe = StableDiffusionPipeline.from_pretrained(toy_base)
    bare = draw(pipe, PROMPT)
    pipe.load_lora_weights(str(here), weight_name="plain.safetensors")
    theirs = draw(pipe, PROMPT)
    with attached(toy, [Applied(concept)]):
        ours = draw(toy.pipeline(), PROMPT)
    assert torch.allclose(ours, theirs, atol=1e-3)
    assert not torch.allclose(theirs, bare, atol=1e-2)


@pytest.mark.parametrize("kind", ["loha with a core", "lokr"])
def test_an_imported_file_goes_out_again(kind: str, toy: Family, toy_base: Path, here: Path):
    foreign(toy, KINDS[kind][1], here / "rex.safetensors")
    concept = import_file(here / "rex.safetensors", base=str(toy_base))
    done = export(concept, "kohya")
    assert done.check.passed
    again = import_file(done.file, base=str(toy_base))
    assert again.record.method == concept.record.method
    first, second = merged(toy, concept)[1], merged(toy, again)[1]
    assert all(torch.allclose(first[name], second[name], atol=1e-6) for name in first)


def over_columns(weight: Tensor, r: Drawn) -> Made:
    """DoRA as OneTrainer trains it by default: m (W + B A) / |W + B A| over columns."""
    tensors, plain = locon(weight, r)
    length = weight.transpose(0, 1).flatten(1).norm(dim=1).view(1, -1, *[1] * (weight.ndim - 2)) * (1 + r(1).abs())

    def changed(w: Tensor) -> Tensor:
        merged = plain(w)
        return merged * (length.double() / merged.transpose(0, 1).flatten(1).norm(dim=1).view(length.shape))

    return tensors | {"dora_scale": length}, changed


def with_lengths(weight: Tensor, r: Drawn) -> Made:
    """DoRA over a LoHa."""
    tensors, plain = loha(weight, r)
    length = weight.flatten(1).norm(dim=1).view(-1, *[1] * (weight.ndim - 1)) * (1 + r(1).abs())
    return tensors | {
        "dora_scale": length
    }, lambda w: plain(w) * (length.double() / plain(w).flatten(1).norm(dim=1).view(length.shape))


def unbalanced(weight: Tensor, r: Drawn) -> Made:
    out, inside, *kernel = weight.shape
    first, second = r(out, 1), r(1, inside, *kernel)
    change = torch.kron(first.double().view(out, 1, *[1] * len(kernel)), second.double())
    return {"lokr_w1": first, "lokr_w2": second}, lambda w: w + change


def mixed(weight: Tensor, r: Drawn) -> Made:
    return loha(weight, r) if weight.ndim == 2 else locon(weight, r)


def glora(weight: Tensor, r: Drawn) -> Made:
    """W + alpha / rank (W A1 A2 + B1 B2)."""
    out, inside = weight.shape[0], weight.shape[1]
    if weight.ndim > 2 and weight.shape[-1] > 1:
        return locon(weight, r)
    t = {"a1.weight": r(inside, 3), "a2.weight": r(3, inside), "b1.weight": r(out, 3), "b2.weight": r(3, inside)}
    a1, a2, b1, b2 = (x.double() for x in t.values())
    scale = 1.5 / 3
    return t | {"alpha": torch.tensor(1.5)}, lambda w: w + scale * (w.flatten(1) @ a1 @ a2 + b1 @ b2).view(w.shape)


def oft(weight: Tensor, r: Drawn) -> Made:
    """Rows turned by blocks (I + Q)(I - Q)^-1."""
    blocks = 0.1 * r(len(weight) // 4, 4, 4)
    q = blocks.double() - blocks.double().transpose(1, 2)
    turns = (torch.eye(4) + q) @ torch.linalg.inv(torch.eye(4) - q)
    return (
        {"oft_blocks": blocks},
        lambda w: (
            torch.block_diag(*turns).T.double() @ w.flatten(1)
            if w.ndim == 2
            else ((torch.block_diag(*turns).T.double() @ w.flatten(1)).view(w.shape))
        ),
    )


def plain(weight: Tensor, r: Drawn) -> Made:
    """What LyCORIS calls full, and extractions write of layers that are not worth factors."""
    change = r(*weight.shape)
    return {"diff": change}, lambda w: w + change.double()


MERGED = {"dora over columns": over_columns, "loha with lengths": with_lengths, "unbalanced lokr": unbalanced,
          "mixed": mixed, "glora": glora, "oft": oft, "plain differences": plain}  # fmt: skip


@pytest.mark.parametrize("kind", [kind if kind in ("mixed", "glora") else slow(kind) for kind in MERGED])
def test_what_no_adapter_holds_is_merged_exactly(kind: str, toy: Family, toy_base: Path, here: Path):
    before = {c: {n: t.clone() for n, t in toy.components()[c].state_dict().items()} for c in ("unet", "text_encoder")}
    # The head of 4 channels has no blocks of 4 that a turn by rows could have.
    expected = foreign(toy, MERGED[kind], here / "rex.safetensors")
    concept = import_file(here / "rex.safetensors", base=str(toy_base))
    assert concept.record.method == "dreambooth"
    assert "merged into the weights of the base" in concept.record.data["imported"]["notes"][0]
    changed = 0
    with attached(toy, [Applied(concept)]):
        for component, state in before.items():
            for name, tensor in toy.components()[component].state_dict().items():
                target = expected.get(f"{component}.{name.removesuffix('.weight')}")
                target = state[name].double() if target is None or not name.endswith(".weight") else target
                atol = 1e-6 * float(target.abs().max())
                torch.testing.assert_close(tensor.double(), target, rtol=0, atol=atol, msg=f"{component}.{name}")
                changed += not torch.allclose(tensor, state[name], atol=1e-2)
    assert changed > len(expected) / 2


def test_what_makes_no_layer_is_refused(toy: Family, toy_base: Path, here: Path):
    def refused(make: Callable[[Tensor, Drawn], Made], match: str) -> None:
        foreign(toy, make, here / "x.safetensors")
        with pytest.raises(BadDataError, match=match):
            import_file(here / "x.safetensors", base=str(toy_base))

    def misfit(weight: Tensor, r: Drawn) -> Made:
        tensors, change = loha(weight, r)
        return tensors | {"hada_w2_b": r(7, 3)}, change

    def wider(weight: Tensor, r: Drawn) -> Made:
        tensors, change = lokr(weight, r, whole=True)
        return tensors | {"lokr_w1": r(*(2 * side for side in tensors["lokr_w1"].shape))}, change

    def empty(weight: Tensor, r: Drawn) -> Made:
        return {"lora_down.weight": r(0, *weight.shape[1:]), "lora_up.weight": r(len(weight), 0)}, lambda w: w

    def endless(weight: Tensor, r: Drawn) -> Made:
        tensors, change = locon(weight, r)
        return tensors | {"alpha": torch.tensor(torch.inf)}, change

    refused(misfit, "do not fit each other")
    refused(wider, "another architecture than the base")
    refused(empty, "have rank 0, so that they hold no numbers")
    refused(endless, "the alpha of .* is inf")
    assert not (here / "concepts").exists()


def test_the_sides_are_split_as_peft_splits_them():
    for width in (1, 7, 12, 16, 32, 320, 640, 768, 1280, 2048, 2560, 5120):
        for factor in (-1, *range(1, 20)):
            assert first_side(width, factor) == factorization(width, factor)[0], (width, factor)


def test_kohyas_own_names_for_xl_are_the_original_ones(tmp_path: Path):
    """sd-scripts numbers XL's blocks as its authors' code does."""
    shapes = BaseFiles(write_base("stable_diffusion_xl", tmp_path / "xl")).shapes
    attention = "attentions.0.transformer_blocks.1.attn2.to_k"
    names = {
        "lora_unet_input_blocks_3_1_transformer_blocks_1_attn2_to_k": f"down_blocks.1.{attention}",
        "lora_unet_middle_block_1_proj_in": "mid_block.attentions.0.proj_in",
        "lora_unet_output_blocks_0_0_in_layers_2": "up_blocks.0.resnets.0.conv1",
    }
    tensors: dict[str, Tensor] = {}
    for key, module in names.items():
        out, *inside = shapes["unet"][f"{module}.weight"]
        tensors |= {f"{key}.lora_down.weight": torch.ones(1, *inside), f"{key}.lora_up.weight": torch.ones(out, 1)}
    parts = read_layers(tensors, {}, shapes)
    assert parts.unknown == []
    assert set(parts.layers["unet"]) == set(names.values())
