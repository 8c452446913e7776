"""Hypernetwork files, against what each program computes by its own rules."""

from __future__ import annotations

from itertools import pairwise
from pathlib import Path

import pytest
import torch
from torch import nn

from booth.concept import Concept
from booth.core.errors import BadDataError
from booth.export import torch_files
from booth.export import torch_proof as torch_file
from booth.export.exporter import Job
from booth.export.hypernetwork import proof as reader
from booth.export.hypernetwork.networks import Hypernetwork, apply, from_fields
from booth.export.hypernetwork.write import HypernetworkPt
from booth.export.parts import Parts
from harness import slow

WIDTH = 8


def random_nets(structure: tuple[float, ...], activation: str, norm: bool) -> Hypernetwork:
    """Networks as AUTOMATIC1111 numbers their layers: activations take a number, `linear` takes none."""
    generator = torch.Generator().manual_seed(0)
    nets = []
    for _ in "kv":
        net, place = {}, 0
        for a, b in pairwise(structure):
            shape = (int(WIDTH * b), int(WIDTH * a))
            net[f"linear.{place}.weight"] = torch.randn(shape, generator=generator) / 3
            net[f"linear.{place}.bias"] = torch.randn(shape[0], generator=generator)
            last = b is structure[-1] and len(net) >= 2 * (len(structure) - 1)
            place += 1 + (activation != "linear" and not last)
            if norm:
                net[f"linear.{place}.weight"] = 1 + torch.randn(shape[0], generator=generator) / 9
                net[f"linear.{place}.bias"] = torch.randn(shape[0], generator=generator)
                place += 1
        nets.append(net)
    return Hypernetwork({WIDTH: (nets[0], nets[1])}, structure, activation, False, norm)


def job(hypernetwork: Hypernetwork, concept: Concept, folder: Path) -> Job:
    return Job(folder, concept.record, Parts(hypernetwork=hypernetwork), None)


def written(hypernetwork: Hypernetwork, concept: Concept, folder: Path) -> dict:
    exporter, work = HypernetworkPt(), job(hypernetwork, concept, folder)
    exporter.write(work, exporter.tensors(work), folder / "x.pt", {"a": "b"})
    return torch.load(folder / "x.pt", weights_only=True)


@pytest.mark.parametrize("activation", ["linear", "relu", "swish", "mish"])
@pytest.mark.parametrize("structure", [(1, 2, 1), (1, 2, 2, 1)])
def test_both_programs_compute_what_was_trained(activation: str, structure: tuple, lora: Concept, here: Path):
    hypernetwork = random_nets(structure, activation, norm=False)
    values = written(hypernetwork, lora, here)
    x = torch.randn(3, WIDTH, generator=torch.Generator().manual_seed(5))
    for program in (reader.automatic1111, reader.comfyui):
        reading = program(values)
        assert reading.refused is None
        for rebuilt, net in zip(reading.nets[WIDTH], hypernetwork.nets[WIDTH], strict=True):
            assert torch.allclose(rebuilt(x), apply(hypernetwork, net, x), atol=1e-5)


def test_the_default_form_is_the_formula(lora: Concept, here: Path):
    hypernetwork = random_nets((1, 2, 1), "relu", norm=False)
    net = hypernetwork.nets[WIDTH][0]
    x = torch.randn(3, WIDTH, generator=torch.Generator().manual_seed(5))
    first, second = nn.Linear(WIDTH, 2 * WIDTH), nn.Linear(2 * WIDTH, WIDTH)
    with torch.no_grad():
        first.weight.copy_(net["linear.0.weight"])
        first.bias.copy_(net["linear.0.bias"])
        second.weight.copy_(net["linear.2.weight"])
        second.bias.copy_(net["linear.2.bias"])
        assert torch.allclose(apply(hypernetwork, net, x), x + second(torch.relu(first(x))), atol=1e-6)


def test_every_field_is_written_and_the_activation_is_a_word(lora: Concept, here: Path):
    values = written(random_nets((1, 2, 1), "linear", norm=False), lora, here)
    assert set(values) >= {WIDTH, "step", "name", "layer_structure", "activation_func", "is_layer_norm",
                           "weight_initialization", "sd_checkpoint", "sd_checkpoint_name", "activate_output",
                           "use_dropout", "dropout_structure", "last_layer_dropout", "optional_info"}  # fmt: skip
    assert (values["activation_func"], values["use_dropout"], values["activate_output"]) == ("linear", False, False)
    assert list(values[WIDTH][0]) == ["linear.0.weight", "linear.0.bias", "linear.1.weight", "linear.1.bias"]


def test_what_the_programs_read_differently_is_found(lora: Concept, here: Path):
    hypernetwork = random_nets((1, 2, 1), "relu", norm=True)
    assert "layer norms" in HypernetworkPt().lost(job(hypernetwork, lora, here))[0]
    values = written(hypernetwork, lora, here)
    x = torch.randn(3, WIDTH, generator=torch.Generator().manual_seed(5))
    one, other = (program(values).nets[WIDTH][0](x) for program in (reader.automatic1111, reader.comfyui))
    assert torch.allclose(one, apply(hypernetwork, hypernetwork.nets[WIDTH][0], x), atol=1e-5)
    assert not torch.allclose(other, one, atol=1e-2)  # norms count as layers there, so that the last linear is active
    assert "dropout" in reader.comfyui(values | {"use_dropout": True}).refused
    assert "activation None" in reader.comfyui(values | {"activation_func": None}).refused


def test_a_file_comes_back_through_the_child_process_and_is_checked(lora: Concept, here: Path):
    hypernetwork = random_nets((1, 2, 1), "relu", norm=False)
    exporter, work = HypernetworkPt(), job(hypernetwork, lora, here)
    exporter.write(work, exporter.tensors(work), here / "x.pt", {})
    check = exporter.check(work, here / "x.pt")
    assert (check.unmatched, check.missing) == ([], [])
    assert check.difference < 1e-6
    parts, _ = exporter.read(torch.load(here / "x.pt", weights_only=True), {}, {})
    again = parts.hypernetwork
    assert (again.layer_structure, again.activation, again.activate_output) == ((1, 2, 1), "relu", False)
    assert all(torch.equal(again.nets[WIDTH][0][n], t) for n, t in hypernetwork.nets[WIDTH][0].items())


@pytest.mark.parametrize(
    ("fields", "names", "told"),
    [
        ({"activation_func": ["relu"]}, ("weight", "bias"), "has the activation"),
        ({"layer_structure": 3}, ("weight", "bias"), "has the layers '3'"),
        ({"layer_structure": [1, "x"]}, ("weight", "bias"), "has the layers"),
        ({}, ("bias",), r"lacks 'linear\.0\.weight'"),
    ],
)
def test_fields_of_another_kind_are_told(fields: dict, names: tuple[str, ...], told: str):
    net = {f"linear.0.{name}": torch.zeros(WIDTH, WIDTH) for name in names}
    with pytest.raises(BadDataError, match=told):
        from_fields({WIDTH: (net, net)}, fields)


@pytest.mark.parametrize("dtype", [torch.float32, slow(torch.float16), slow(torch.bfloat16)])
def test_automatic1111_accepts_the_form_that_is_written_and_not_torchs_own(dtype: torch.dtype, here: Path):
    values = {8: ({"linear.0.weight": torch.ones(2, 2, dtype=dtype)},), "name": "x", "booth": {"a": "b"}}
    torch_files.save(values, here / "old.pt")
    assert torch_file.refusals(here / "old.pt") == []
    torch.save(values, here / "new.pt")
    assert any(".format_version" in why for why in torch_file.refusals(here / "new.pt"))
    torch.save({"x": Path}, here / "code.pt", _use_new_zipfile_serialization=False)
    assert torch_file.refusals(here / "code.pt")
    for name in ("old.pt", "new.pt"):
        assert torch_files.load(here / name)[8][0]["linear.0.weight"].tolist() == [[1, 1], [1, 1]]
