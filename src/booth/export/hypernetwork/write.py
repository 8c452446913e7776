"""AUTOMATIC1111's hypernetwork file, which ComfyUI reads too: a `.pt` of tensors and plain values."""

from __future__ import annotations

from collections import OrderedDict
from collections.abc import Mapping
from pathlib import Path
from typing import Any

import torch
from torch import Tensor

from booth.core.errors import BadDataError, UsageError
from booth.core.safe_file import shown
from booth.export import torch_files
from booth.export import torch_proof as torch_file
from booth.export.check import Check
from booth.export.exporter import UNETS, Job, TwoWay
from booth.export.hypernetwork import proof as reader
from booth.export.hypernetwork.networks import LAYER, Net, apply, from_fields
from booth.export.parts import Parts, Shapes

PROBES = 16  # random inputs on which a rebuilt network is compared


class HypernetworkPt(TwoWay):
    """Every field is written out, because the two programs fill in absent ones differently."""

    name = "hypernetwork"
    title = "hypernetwork"
    programs = ("AUTOMATIC1111", "Forge", "ComfyUI (UNet models)")
    accepts = frozenset({"hypernetwork"})
    families = UNETS
    suffix = ".pt"
    architecture = "hypernetwork"

    def lost(self, job: Job) -> list[str]:
        lost, hyper = super().lost(job), job.parts.hypernetwork
        if hyper is not None and hyper.layer_norm and hyper.activation != "linear" and not hyper.activate_output:
            lost.append("ComfyUI's agreement: it activates the last layer of a network with layer norms")
        return lost

    def tensors(self, job: Job) -> dict[str, Tensor]:
        hyper = job.parts.hypernetwork
        if hyper is None:
            raise UsageError(f"{job.folder} holds no hypernetwork.", code="hypernetwork.none_here", field="concept")
        return {
            f"{width}.{side}.{name}": t.to(job.dtype)
            for width, pair in hyper.nets.items()
            for side, net in zip("kv", pair, strict=True)
            for name, t in net.items()
        }

    def write(self, job: Job, tensors: dict[str, Tensor], file: Path, header: dict[str, str]) -> None:
        hyper = job.parts.hypernetwork
        assert hyper is not None
        values: dict[Any, Any] = {
            width: tuple(
                OrderedDict((name, tensors[f"{width}.{side}.{name}"].contiguous()) for name in net)
                for side, net in zip("kv", pair, strict=True)
            )
            for width, pair in hyper.nets.items()
        }
        values |= {
            "step": job.record.steps,
            "name": job.record.name,
            "layer_structure": list(hyper.layer_structure),
            "activation_func": hyper.activation,
            "is_layer_norm": hyper.layer_norm,
            "weight_initialization": "Normal",
            "sd_checkpoint": None,
            "sd_checkpoint_name": None,
            "activate_output": hyper.activate_output,
            "use_dropout": False,
            "dropout_structure": None,
            "last_layer_dropout": False,
            "optional_info": None,
        }
        torch_files.save(values | {"booth": dict(header)}, file)

    def check(self, job: Job, file: Path) -> Check:
        """What both programs compute on random inputs, against what was trained."""
        values = torch_files.load(file)
        check = Check(reader=reader.RULES, unmatched=torch_file.refusals(file))
        hyper = job.parts.hypernetwork
        assert hyper is not None
        for program in (reader.automatic1111, reader.comfyui):
            reading = program(values)
            if reading.refused:
                check.unmatched.append(f"{program.__name__} refuses {reading.refused}")
            for width, pair in hyper.nets.items():
                if width not in reading.nets:
                    check.missing.append(f"{program.__name__}: {width}")
                    continue
                x = torch.randn(PROBES, width, generator=torch.Generator().manual_seed(width))
                for rebuilt, net in zip(reading.nets[width], pair, strict=True):
                    check.matched += len(net)
                    check.compare(rebuilt.float()(x) - x, apply(hyper, net, x) - x)
        return check

    def recognises(self, names: Mapping[Any, Any]) -> bool:
        return any(isinstance(key, int) for key in names)

    def read(self, tensors: Mapping[Any, Any], metadata: Mapping[str, str], shapes: Shapes) -> tuple[Parts, list[str]]:
        """The networks of a foreign file; BadDataError for what booth cannot draw in the same way."""
        if tensors.get("use_dropout") or tensors.get("last_layer_dropout"):
            raise BadDataError(
                "This hypernetwork has dropout, with which programs draw differently each time.",
                code="hypernetwork.dropout",
                field="file",
            )
        nets: dict[int, tuple[Net, Net]] = {}
        for key, pair in tensors.items():
            if isinstance(key, int):
                if not isinstance(pair, list | tuple) or len(pair) != 2:
                    raise BadDataError(
                        "This hypernetwork has not two networks a width.",
                        "Get the file anew.",
                        code="hypernetwork.structure",
                        field="file",
                    )
                nets[key] = (_plain(pair[0]), _plain(pair[1]))
        return Parts(hypernetwork=from_fields(nets, tensors)), []


def _plain(state: Any) -> Net:
    """The networks' tensors; the oldest files call the two layers linear1 and linear2."""
    old = {"linear1.": "linear.0.", "linear2.": "linear.1."}
    if not isinstance(state, Mapping):
        raise BadDataError(
            "This hypernetwork holds no networks.", "Get the file anew.", code="hypernetwork.empty", field="file"
        )
    net = {next((new + n[len(o) :] for o, new in old.items() if n.startswith(o)), n): t for n, t in state.items()}
    other = [name for name, t in net.items() if not LAYER.fullmatch(name) or not isinstance(t, Tensor)]
    if other:
        raise BadDataError(
            f"This hypernetwork holds {shown(str(other[0]))}, which is no layer of one.",
            code="hypernetwork.unknown_key",
            field="file",
        )
    return net
