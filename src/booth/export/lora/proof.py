"""How the programs that load adapter files read them, each by its own rules.

Written from the programs' behaviour and never from our writer: every weight of a model has names under which a file
may change it, each program asks for the names that it knows, and what nothing asked for it leaves unread. The
arithmetic is float32, in the programs' own order.
"""

from __future__ import annotations

from collections.abc import Callable, Iterator, Mapping
from dataclasses import dataclass, field

import torch
from torch import Tensor

from booth.export.check import Verdict, difference, lost_by_lengths
from booth.export.layer import Layer
from booth.export.lora import programs
from booth.export.lora.programs import PROGRAMS, Program, Shapes, Slot

RULES = "ComfyUI's reading of adapter files"
UP = ("lora_up.weight", "lora_B.weight")
DOWN = ("lora_down.weight", "lora_A.weight")
ENDINGS = {
    "lora": (*UP, *DOWN),
    "loha": tuple(f"hada_w{i}_{side}" for i in (1, 2) for side in "ab"),
    "lokr": tuple(f"lokr_w{i}{side}" for i in (1, 2) for side in ("", "_a", "_b")),
    "diff": ("diff", "diff_b"),
}


@dataclass(frozen=True)
class Update:
    """What one name of the model found in the file."""

    tensors: Mapping[str, Tensor]  # by the part of the key behind the model's name
    slot: Slot
    lengths: str = programs.BASE_ROWS  # whose lengths DoRA divides by

    def change(self, weight: Tensor) -> Tensor:
        """The change of a float32 weight at strength 1."""
        t = {name: tensor.float() for name, tensor in self.tensors.items()}
        whole = self._scaled(t).reshape(self.slot.of or len(weight), *weight.shape[1:])
        diff = whole[self.slot.first : self.slot.first + len(weight)]
        return diff if "dora_scale" not in t else self._decomposed(weight, diff, t["dora_scale"]) - weight

    def _scaled(self, t: Mapping[str, Tensor]) -> Tensor:
        alpha = float(t["alpha"]) if "alpha" in t else None
        inner: int | None = None
        up, down = (next((t[name] for name in names if name in t), None) for names in (UP, DOWN))
        if up is not None and down is not None:
            inner = down.shape[0]
            diff = torch.mm(up.flatten(start_dim=1), down.flatten(start_dim=1))
        elif "hada_w1_a" in t:
            inner = t["hada_w1_b"].shape[0]
            diff = torch.mm(t["hada_w1_a"], t["hada_w1_b"]) * torch.mm(t["hada_w2_a"], t["hada_w2_b"])
        elif "diff" in t:
            diff = t["diff"]
        else:
            halves: list[Tensor] = []
            for half in ("lokr_w1", "lokr_w2"):
                if half in t:
                    halves.append(t[half])
                else:
                    inner = t[f"{half}_b"].shape[0]
                    halves.append(torch.mm(t[f"{half}_a"], t[f"{half}_b"]))
            if halves[1].ndim == 4:
                halves[0] = halves[0][..., None, None]
            diff = torch.kron(halves[0], halves[1])
        return (alpha / inner if alpha is not None and inner is not None else 1.0) * diff

    def _decomposed(self, weight: Tensor, diff: Tensor, dora_scale: Tensor) -> Tensor:
        """By the lengths of the base's rows, of the merged rows, or always of the merged columns."""
        merged = weight + diff
        by_rows = dora_scale.shape[0] == merged.shape[0] and self.lengths != programs.COLUMNS
        if not by_rows:
            norm = merged.transpose(0, 1).flatten(1).norm(dim=1).view(1, -1, *[1] * (weight.ndim - 2))
        else:
            rows = weight if self.lengths == programs.BASE_ROWS else merged
            norm = rows.flatten(1).norm(dim=1).view(-1, *[1] * (weight.ndim - 1))
        return merged * (dora_scale / (norm + torch.finfo(weight.dtype).eps))


@dataclass
class Reading:
    """What a program made of the file."""

    matched: int = 0
    unmatched: list[str] = field(default_factory=list[str])
    updates: dict[tuple[str, str], Update] = field(default_factory=dict[tuple[str, str], Update])


def read(tensors: Mapping[str, Tensor], shapes: Shapes, program: Program = PROGRAMS["ComfyUI"]) -> Reading:
    """Read a file's tensors for a model whose weights have these shapes, by component and name."""
    reading, asked = Reading(), set[str]()
    endings = tuple(ending for kind in program.kinds for ending in ENDINGS[kind])
    beside = ("alpha",) if program.lengths is None else ("alpha", "dora_scale")
    for name, slots in program.names(shapes).items():
        held = {ending: tensors[f"{name}.{ending}"] for ending in (*endings, *beside) if f"{name}.{ending}" in tensors}
        if not held.keys() - set(beside):
            continue
        for slot in slots:
            reading.updates[slot.component, slot.module] = Update(held, slot, program.lengths or programs.BASE_ROWS)
        asked |= {f"{name}.{ending}" for ending in held}
    reading.matched = len(asked)
    reading.unmatched = sorted(tensors.keys() - asked)
    return reading


Weight = Callable[[str, str, Layer], Tensor]  # component, module and layer to the base's weight


def compared(
    reading: Reading, layers: Mapping[str, Mapping[str, Layer]], weight_of: Weight, known: dict[object, float]
) -> Iterator[tuple[str, float | None]]:
    """Each layer with the difference of a program's change from the trained one; None where it has no change at all.

    `known` holds what was computed before: programs that read the same tensors by the same rule are not asked twice.
    """
    for component, modules in layers.items():
        for module, layer in modules.items():
            update = reading.updates.get((component, module))
            if update is None:
                yield f"{component}.{module}", None
                continue
            rule = update.lengths if "dora_scale" in update.tensors else ""
            key = (component, module, tuple(sorted(update.tensors)), update.slot, rule)
            if key not in known:
                weight = weight_of(component, module, layer)
                lengths = update.tensors.get("dora_scale")
                lost = 0.0 if lengths is None else lost_by_lengths(weight, lengths)
                known[key] = difference(update.change(weight.float()), layer.change(weight), lost)
            yield f"{component}.{module}", known[key]


def verdict(
    program: Program,
    tensors: Mapping[str, Tensor],
    shapes: Shapes,
    layers: Mapping[str, Mapping[str, Layer]],
    weight_of: Weight,
    known: dict[object, float],
) -> Verdict:
    """What a program makes of a file that is to hold these layers."""
    refused = program.refuses(tensors)
    if refused:
        return Verdict(refused=refused)
    reading = read(tensors, shapes, program)
    found = [gap for _, gap in compared(reading, layers, weight_of, known)]
    gaps = [gap for gap in found if gap is not None]
    return Verdict(len(reading.unmatched), len(found) - len(gaps), max(gaps, default=0.0))
