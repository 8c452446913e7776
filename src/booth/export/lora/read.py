"""The layers in an adapter file, whatever its trainer calls them, and the keys that belong to none."""

from __future__ import annotations

import json
import math
from collections.abc import Callable, Mapping
from dataclasses import dataclass, field
from typing import Any

from torch import Tensor

from booth.core.errors import BadDataError
from booth.core.safe_file import shown
from booth.export.component_files import canonical
from booth.export.layer import KINDS, Layer
from booth.export.lora import vera
from booth.export.lora.fit import Misfit, is_whole, require_fit
from booth.export.lora.names import Names, Shapes, Target
from booth.export.lora.spelling import BOOKS, split_factors, unread_kind
from booth.export.lora.stacked import cut
from booth.export.lora.tucker import without_core
from booth.export.original.place import Place
from booth.export.turns import series_turns

Layers = dict[str, dict[str, Layer]]  # by component and module path
BESIDE = {"alpha", "scale", "magnitude", "dora_scale", "bias"}  # factors that stand beside those of a weight
COMPONENTS = ("unet", "transformer", "text_encoder", "text_encoder_2", "text_encoder_3")
MOST = 1e9  # no rank and no alpha is larger


@dataclass
class Reading:
    """What an adapter file holds."""

    layers: Layers = field(default_factory=dict[str, dict[str, Layer]])
    unknown: list[str] = field(default_factory=list[str])  # keys that belong to no layer
    unread: set[str] = field(default_factory=set[str])  # kinds of layers among them that have a name


@dataclass
class _Held:
    """What a file holds of one layer: the tensors by factor, and one of its keys without the factor."""

    path: str
    tensors: dict[str, Tensor] = field(default_factory=dict[str, Tensor])
    keys: list[str] = field(default_factory=list[str])


def read_layers(tensors: Mapping[str, Tensor], metadata: Mapping[str, str], shapes: Shapes) -> Reading:
    """Read a file for a base of these shapes; BadDataError for factors that are not whole or do not fit it.

    All of a file is held against the base before anything is multiplied out.
    """
    names = Names(shapes)
    tensors, shared = vera.apart(tensors)

    def rows(target: Target) -> list[int]:
        return [shapes[target.component][f"{module}.weight"][0] for module in target.place.modules]

    reading, settings = Reading(), _told(metadata)
    gathered = _gathered(tensors, names.find, reading)
    vera.share({target: held.tensors for target, held in gathered.items()}, shared, shapes, settings)
    for target, held in gathered.items():
        first = shapes[target.component][f"{target.place.modules[0]}.weight"]
        wanted = (sum(rows(target)), *first[1:])
        layer = _layer(target, held, settings, reading, wanted)
        if layer is not None:
            whole = len(target.place.modules) == 1 and not target.place.swapped
            parts = [layer] if whole else cut(held.path, layer, target.place, rows(target), wanted)
            known = reading.layers.setdefault(target.component, {})
            known |= {m: part for m, part in zip(target.place.modules, parts, strict=True) if part is not None}
    reading.layers = {component: modules for component, modules in reading.layers.items() if modules}
    return reading


def named_layers(tensors: Mapping[str, Tensor], metadata: Mapping[str, str]) -> tuple[Layers, list[str]]:
    """The layers in a file with diffusers' own names, for which no base is needed, and the keys that are none.

    The scale is in the header's `lora_adapter_metadata`, or in `.alpha` tensors; without either it is 1.
    """

    def find(path: str) -> Target | None:
        component, _, module = path.partition(".")
        if component not in COMPONENTS or not module:
            return None
        return Target(component, Place((canonical(component, f"{module}.").removesuffix("."),)))

    reading, settings = Reading(), _told(metadata)
    for target, held in _gathered(tensors, find, reading).items():
        layer = _layer(target, held, settings, reading, None)
        if layer is not None:
            reading.layers.setdefault(target.component, {})[target.place.modules[0]] = layer
    return reading.layers, reading.unknown


def _gathered(
    tensors: Mapping[str, Tensor], find: Callable[[str], Target | None], reading: Reading
) -> dict[Target, _Held]:
    """The tensors of each layer; keys that are of none go into the reading."""
    found: dict[Target, _Held] = {}
    factors = split_factors(tensors)
    for key, tensor in tensors.items():
        if key.startswith(BOOKS):
            continue
        spelled = factors[key]
        target = None if spelled is None else find(spelled.path)
        if spelled is None or target is None:
            reading.unknown.append(key)
            kind = unread_kind(key)
            reading.unread |= set() if kind is None else {kind}
            continue
        held = found.setdefault(target, _Held(spelled.path))
        if spelled.factor in held.tensors:
            raise BadDataError(
                f"This file has the layer {shown(target.place.modules[0])} twice, as {shown(held.path)} and as "
                f"{shown(spelled.path)}.",
                "Keep one of them.",
                code="lora.layer_twice",
                field="file",
            )
        held.tensors[spelled.factor] = tensor
        held.keys.append(key)
    return found


def _layer(
    target: Target, held: _Held, settings: Mapping[str, Any], reading: Reading, wanted: tuple[int, ...] | None
) -> Layer | None:
    """A layer of the tensors held; None, with their keys told, where they change nothing by themselves."""
    name = target.place.modules[0]
    factors = {factor: t for factor, t in held.tensors.items() if factor not in BESIDE}
    bias = held.tensors.get("bias")
    if not factors and bias is None:
        reading.unknown += held.keys
        return None
    layer = Layer(factors, bias=None if bias is None else bias.flatten())
    lengths = held.tensors.get("dora_scale", held.tensors.get("magnitude"))
    if factors and not is_whole(layer.kind, set(factors)):
        raise BadDataError(
            f"The {layer.kind} layer {shown(name)} of {target.component} has the factors {', '.join(factors)}; one is "
            "missing or of an unknown kind.",
            code="lora.factor_missing",
            field="file",
        )
    if wanted is not None:
        _require_fit(name, layer, lengths, wanted)
    scale = _scale(target, held, layer, settings, wanted)
    out = wanted[0] if wanted is not None else len(factors["up"]) if "up" in factors else 0
    magnitude = None if lengths is None else _lengths(lengths, "dora_scale" in held.tensors, out)
    return Layer(_turns(without_core(factors), settings), scale, magnitude, layer.bias)


def _turns(factors: dict[str, Tensor], settings: Mapping[str, Any]) -> dict[str, Tensor]:
    """OFT of peft's with the turns themselves, where they are the series that peft takes for rotations."""
    if "oft_r" not in factors or settings.get("use_cayley_neumann", True) is False:
        return factors
    terms = settings.get("num_cayley_neumann_terms", 5)
    return {"oft_turns": series_turns(factors["oft_r"].double(), terms if isinstance(terms, int) else 5)}


def _require_fit(name: str, layer: Layer, lengths: Tensor | None, wanted: tuple[int, ...]) -> None:
    if layer.bias is not None and layer.bias.numel() != wanted[0]:
        raise BadDataError(
            f"the bias of {shown(name)} has {layer.bias.numel()} numbers, the base's {wanted[0]}.",
            "Name the file's own base with `base`.",
            code="base.other_architecture",
            field="base",
        )
    if not layer.factors:
        return
    try:
        require_fit(layer.kind, layer.factors, lengths, wanted)
    except Misfit as error:
        if error.made is None:
            raise BadDataError(
                f"the factors of {shown(name)} {error}.", "Get the file anew.", code="lora.factors_unfit", field="file"
            ) from error
        raise BadDataError(
            f"this {KINDS[layer.kind]} is for another architecture than the base: its {shown(name)} is "
            f"{'x'.join(map(str, error.made))}, the base's {'x'.join(map(str, wanted))}.",
            "Name its own base with `base`.",
            code="base.other_architecture",
            field="base",
        ) from error


def _scale(
    target: Target, held: _Held, layer: Layer, settings: Mapping[str, Any], wanted: tuple[int, ...] | None
) -> float:
    """Alpha / rank, by which the product of the factors is scaled; 1 where the file says nothing."""
    own = _number(held, "scale")
    if own is not None:
        return own
    alpha, rank = _number(held, "alpha", finite=False), _inner(layer)
    if layer.kind == "oft" and "oft_r" not in layer.factors:
        # A bound of the turns; sd-scripts counts it for a row, and LyCORIS for all, but for BOFT's.
        of_a_row = held.path.startswith("oft_") or layer.factors[next(iter(layer.factors))].ndim == 4
        bound = alpha or 0.0
        return bound * wanted[0] if wanted is not None and of_a_row else bound
    if not rank:
        return 1.0  # without a rank nobody uses the alpha, and some trainers write one without end
    if alpha is None:
        rank = _setting(settings, target, held.path, "rank_pattern", "r") or rank
        alpha = _setting(settings, target, held.path, "alpha_pattern", "lora_alpha")
        root = settings.get(f"{target.component}.use_rslora", settings.get("use_rslora", False))  # 2312.03732
        rank = math.sqrt(rank) if root is True else rank
    if alpha is not None and not math.isfinite(alpha):
        raise BadDataError(
            f"the alpha of {shown(target.place.modules[0])} is {alpha}, by which every picture would be black.",
            "Use an earlier save of that training.",
            code="lora.not_finite",
            field="file",
        )
    return alpha / rank if alpha is not None else 1.0


def _inner(layer: Layer) -> int | None:
    """The rank by which an alpha is divided."""
    if layer.kind != "glora":
        return layer.rank
    a1, a2 = layer.factors["a1"], layer.factors["a2"]
    return min(a1.shape[0], a2.shape[0])


def _number(held: _Held, factor: str, finite: bool = True) -> float | None:
    """The one number in a tensor."""
    tensor = held.tensors.get(factor)
    if tensor is None:
        return None
    if tensor.numel() != 1:
        raise BadDataError(
            f"the {factor} of {shown(held.path)} has {tensor.numel()} values and not one.",
            "Get the file anew.",
            code="lora.broken_scalar",
            field="file",
        )
    value = float(tensor)
    if finite and not math.isfinite(value):
        raise BadDataError(
            f"the {factor} of {shown(held.path)} is {value}.",
            "Use an earlier save of that training.",
            code="lora.not_finite",
            field="file",
        )
    return value


def _lengths(lengths: Tensor, of_lycoris: bool, out: int) -> Tensor:
    """DoRA's lengths of rows as (out,), of columns as (1, in, ...); peft has those of rows alone."""
    if of_lycoris and lengths.ndim > 1 and len(lengths) == 1 and lengths.numel() > 1 and out != 1:
        return lengths
    return lengths.flatten()


def _told(metadata: Mapping[str, str]) -> dict[str, Any]:
    """What the header says of ranks and alphas; BadDataError unless these are such numbers."""
    try:
        settings = json.loads(metadata.get("lora_adapter_metadata", "{}"))
        numbers = [value for key, value in settings.items() if key.rpartition(".")[2] in {"r", "lora_alpha"}]
        patterns = [value for key, value in settings.items() if key.endswith("_pattern")]
        numbers += [number for pattern in patterns for number in (pattern or {}).values()]
        sound = all(isinstance(n, int | float) and 0 <= n < MOST for n in numbers if n is not None)
    except (AttributeError, ValueError, RecursionError):
        sound = False
    if not sound:
        raise BadDataError(
            "The lora_adapter_metadata in its header is no table of ranks and alphas.",
            "Get the file anew.",
            code="lora.metadata",
            field="file",
        )
    return settings


def _setting(settings: Mapping[str, Any], target: Target, path: str, pattern: str, common: str) -> Any:
    """What peft uses for a layer: the entry of its pattern, by full name or ending, or the common value."""
    component = target.component
    patterns: dict[str, Any] = settings.get(f"{component}.{pattern}") or settings.get(pattern) or {}
    names = {path, *(module.removeprefix("text_model.") for module in target.place.modules)}
    for key, value in patterns.items():
        name = key.removeprefix("^").removeprefix("text_model.")
        if any(bare == name or (not key.startswith("^") and bare.endswith(f".{name}")) for bare in names):
            return value
    return settings.get(f"{component}.{common}", settings.get(common))
