"""Layers that no adapter of booth's holds, merged into the base's weights: exact, and as large as the base."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

import torch
from torch import Tensor

from booth.core.errors import BadDataError
from booth.core.family import Family
from booth.export.component_files import canonical
from booth.export.layer import Layer
from booth.importing.form import Form


def merged_form(model: Family, layers: Mapping[str, Mapping[str, Layer]], why: str, lossy: bool) -> Form:
    """The weights that the file makes, of the denoiser and, where it changes those, of the text encoders.

    Raises BadDataError for a layer in a component that no method of booth's trains, unless `lossy` leaves it out.
    """
    denoiser = next(name for name, module in model.components().items() if module is model.sites.denoiser)
    held = {denoiser, *model.sites.text_encoders}
    beside = sorted(layers.keys() - held)
    if beside and not lossy:
        raise BadDataError(
            f"This file changes the {beside[0]}, which booth does not teach on {model.title}.",
            "Add `lossy` to leave that out.",
            code="import.beyond_methods",
            field="lossy",
        )
    tensors: dict[str, Tensor] = {}
    for component in sorted(layers.keys() & held):
        tensors |= {f"{component}.{name}": t for name, t in _merged(model, component, layers[component]).items()}
    if not tensors:
        raise BadDataError(
            f"This file changes nothing that booth teaches on {model.title}.",
            code="import.nothing_taught",
            field="file",
        )
    note = f"merged into the weights of the base, because {why}: the concept is as large as those, and has no strength"
    left = [f"the layers of {name}" for name in beside]
    trained = bool(layers.keys() & model.sites.text_encoders.keys())
    return Form("dreambooth", {"train_text_encoder": trained}, tensors, on_base=True, notes=[note], left_out=left)


def _merged(model: Family, component: str, layers: Mapping[str, Layer]) -> dict[str, Tensor]:
    """The changed tensors of a component by canonical name."""
    module: Any = model.components()[component]
    held = {canonical(component, name): p.detach() for name, p in module.named_parameters()}
    found: dict[str, Tensor] = {}
    for name, layer in layers.items():
        weight = held[f"{name}.weight"].float()
        if layer.factors:
            found[f"{name}.weight"] = (weight.double() + layer.change(weight)).float()
        if layer.bias is not None:
            found[f"{name}.bias"] = held[f"{name}.bias"].float() + layer.bias.float()
        if layer.scales_bias is not None and f"{name}.bias" in held:
            found[f"{name}.bias"] = held[f"{name}.bias"].float() * layer.scales_bias.float()
        new = (found[key] for key in (f"{name}.weight", f"{name}.bias") if key in found)
        if not all(bool(torch.isfinite(t).all()) for t in new):
            raise BadDataError(
                f"The layer {name} makes weights that are not finite.",
                "Use an earlier save of the file.",
                code="file.not_finite",
                field="file",
            )
    return found
