"""OFT, BOFT, IA3 and VeRA as peft writes them: its own merge, and the method that goes on from them."""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any

import pytest
import torch
from peft import BOFTConfig, IA3Config, OFTConfig, VeraConfig, get_peft_model, get_peft_model_state_dict
from safetensors.torch import save_file
from torch import Tensor, nn

from booth.core.family import Family
from booth.export.base_files import BaseFiles
from booth.export.layer import Layer
from booth.export.lora.read import read_layers
from booth.importing.run import import_file, open_content
from booth.importing.start import read_form

ATTENTION = ["to_q", "to_k", "to_v", "to_out.0"]


def _config(kind: str) -> Any:
    return {
        "oft": lambda: OFTConfig(r=0, oft_block_size=4, use_cayley_neumann=False, target_modules=ATTENTION),
        "oft by its series": lambda: OFTConfig(r=0, oft_block_size=4, target_modules=ATTENTION),
        "oft of one block": lambda: OFTConfig(
            r=0, oft_block_size=4, use_cayley_neumann=False, block_share=True, target_modules=ATTENTION
        ),
        "boft": lambda: BOFTConfig(boft_block_size=4, boft_n_butterfly_factor=1, target_modules=ATTENTION),
        "ia3": lambda: IA3Config(
            target_modules=[*ATTENTION, "ff.net.2", "ff.net.0.proj"], feedforward_modules=["ff.net.2", "ff.net.0.proj"]
        ),
        "ia3 elsewhere": lambda: IA3Config(target_modules=[*ATTENTION, "ff.net.2"], feedforward_modules=[]),
        "vera": lambda: VeraConfig(r=8, target_modules=ATTENTION, save_projection=False),
        "vera with its matrices": lambda: VeraConfig(r=8, target_modules=ATTENTION),
        "vera of another key": lambda: VeraConfig(
            r=8, target_modules=ATTENTION, projection_prng_key=7, save_projection=False
        ),
    }[kind]()


# Which method holds a file of peft's; none where it has to be merged.
HELD = {
    "oft": "oft", "oft by its series": "dreambooth", "oft of one block": "oft", "boft": "boft", "ia3": "ia3",
    "ia3 elsewhere": "dreambooth", "vera": "vera", "vera with its matrices": "vera", "vera of another key": "lora",
}  # fmt: skip


def _written(kind: str, toy: Family, folder: Path) -> dict[str, tuple[Tensor, Tensor | None]]:
    """Write peft's files of random numbers; the weights and biases that it merges, by module."""
    bare: Any = toy.sites.denoiser
    unet = type(bare).from_config(bare.config)
    unet.load_state_dict(bare.state_dict())
    config = _config(kind)
    model: Any = get_peft_model(unet, config)
    generator = torch.Generator().manual_seed(5)
    with torch.no_grad():
        for name, p in model.named_parameters():
            if p.requires_grad:
                start = 1.0 if "ia3_l" in name or "boft_s" in name else 0.0
                p.copy_(start + 0.2 * torch.randn(p.shape, generator=generator))
    state = {name: t.contiguous().clone() for name, t in get_peft_model_state_dict(model).items()}
    save_file(state, folder / "adapter_model.safetensors", metadata={"modelspec.trigger_phrase": "ukj dog"})
    values = {k: sorted(v) if isinstance(v, set) else v for k, v in config.to_dict().items()}
    (folder / "adapter_config.json").write_text(json.dumps(values, default=str))
    merged = model.merge_and_unload()
    ends = tuple(f".{name}" for name in (*ATTENTION, "ff.net.2", "ff.net.0.proj"))
    return {n: (m.weight.detach(), m.bias.detach() if m.bias is not None else None)
            for n, m in merged.named_modules() if isinstance(m, nn.Linear) and n.endswith(ends)}  # fmt: skip


@pytest.mark.parametrize("kind", HELD)
def test_a_file_of_pefts_is_read_as_peft_merges_it(kind: str, toy: Family, toy_base: Path, here: Path) -> None:
    after = _written(kind, toy, here)
    concept = import_file(here / "adapter_model.safetensors", base=str(toy_base))
    assert concept.record.method == HELD[kind]
    content = open_content(here / "adapter_model.safetensors", pickles=False)
    reading = read_layers(dict(content.plain or {}), content.metadata, BaseFiles(toy_base).shapes)
    assert reading.unknown == []
    changed = 0
    bare: Any = toy.sites.denoiser
    live: dict[str, Any] = dict(bare.named_modules())
    for name, layer in reading.layers["unet"].items():
        weight, bias = after[name]
        before = live[name].weight.detach()
        torch.testing.assert_close(before + layer.change(before).float(), weight, rtol=0, atol=2e-5, msg=name)
        if layer.scales_bias is not None and bias is not None:
            torch.testing.assert_close(live[name].bias.detach() * layer.scales_bias, bias, rtol=0, atol=1e-6)
        changed += not torch.allclose(before, weight, atol=1e-3)
    assert changed == len(reading.layers["unet"])


@pytest.mark.parametrize("kind", [kind for kind, method in HELD.items() if method != "dreambooth"])
def test_training_starts_from_it(kind: str, toy: Family, toy_base: Path, here: Path) -> None:
    _written(kind, toy, here)
    form, _ = read_form(here / "adapter_model.safetensors", str(toy_base), toy)
    assert form.method == HELD[kind]
    assert form.tensors
    assert not form.on_base


@pytest.mark.parametrize("fed", [False, True])
def test_ia3_of_lycoris_is_held_where_it_means_the_same(fed: bool, toy: Family, toy_base: Path, here: Path) -> None:
    shapes = BaseFiles(toy_base).shapes["unet"]
    ends = ("ff.net.2.weight", "ff.net.0.proj.weight") if fed else ("to_k.weight", "to_v.weight")
    tensors: dict[str, Tensor] = {}
    for name, shape in shapes.items():
        if name.endswith(ends):
            key = f"lora_unet_{name.removesuffix('.weight').replace('.', '_')}"
            tensors |= {f"{key}.weight": torch.randn(shape[1] if fed else shape[0]),
                        f"{key}.on_input": torch.tensor(int(fed))}  # fmt: skip
    save_file(tensors, here / "x.safetensors", metadata={"modelspec.trigger_phrase": "ukj dog"})
    assert read_form(here / "x.safetensors", str(toy_base), toy)[0].method == "ia3"
    rows = {k: torch.zeros_like(t) if k.endswith("on_input") else torch.randn(shapes[_name(k, shapes)][0])
            for k, t in tensors.items()}  # fmt: skip
    save_file(rows, here / "y.safetensors", metadata={"modelspec.trigger_phrase": "ukj dog"})
    concept = import_file(here / "y.safetensors", base=str(toy_base))
    assert concept.record.method == ("dreambooth" if fed else "ia3")


def _name(key: str, shapes: Any) -> str:
    flat = {name.replace(".", "_"): name for name in shapes}
    return flat[f"{key.removeprefix('lora_unet_').rpartition('.')[0]}_weight"]


@pytest.mark.parametrize("whole", [False, True])
def test_the_first_blocks_of_lycoris_are_the_turns_or_what_is_added_to_none(whole: bool) -> None:
    weight, added = torch.randn(8, 6), 0.1 * torch.randn(2, 4, 4)
    blocks = added + torch.eye(4) if whole else added
    turns = torch.block_diag(*(added + torch.eye(4)).double())
    change = Layer({"oft_diag": blocks}).change(weight)
    torch.testing.assert_close(weight.double() + change, turns.T @ weight.double())
