"""Whether a foreign file fits a base, and what to tell where it does not."""

from __future__ import annotations

from collections.abc import Sequence
from pathlib import Path

from torch import Tensor

from booth.core.errors import BadDataError
from booth.core.safe_file import shown
from booth.export.base_files import BaseFiles, Shapes
from booth.export.parts import Parts

EMBEDDING = "text_model.embeddings.token_embedding.weight"
ROUNDING = 2**-8  # of bfloat16, relative to the largest value
# How the keys of files begin that booth recognises and cannot use here, and what they are.
FOREIGN = (
    (("controlnet_",), "a ControlNet in diffusers' layout, which lies in a folder with its configuration"),
    (("transformer.", "diffusion_model.", "joint_blocks."), "for a transformer, in a form that booth does not read"),
    (("first_stage_model.", "encoder.", "decoder."), "an autoencoder, which is no subject"),
    (("text_model.", "cond_stage_model.", "conditioner."), "a text encoder, which is no subject"),
    (("down_blocks.", "input_blocks."), "bare UNet weights without the prefix of a checkpoint"),
)  # fmt: skip


def unknown_trainer(file: Path, keys: Sequence[str]) -> BadDataError:
    """What to tell of a file that no exporter recognises."""
    if not keys:
        return BadDataError(
            f"{file} holds no tensors at all.",
            "Get it anew from where it came from.",
            code="file.no_tensors",
            field="file",
        )
    for starts, what in FOREIGN:
        if any(key.startswith(starts) for key in keys):
            return BadDataError(
                f"{file} is {what} ({shown(keys[0])}).",
                "Import a LoRA, an embedding or a checkpoint.",
                code="file.other_kind",
                field="file",
            )
    return BadDataError(
        f"{file} is of no trainer that booth knows: its {len(keys)} keys begin with {shown(sorted(keys)[0])}.",
        "Booth reads the files of kohya's scripts, AUTOMATIC1111, OneTrainer and diffusers.",
        code="file.unknown_trainer",
        field="file",
    )


def require_fit(file: Path, parts: Parts, unknown: list[str], shapes: Shapes, base: str, lossy: bool) -> None:
    """BadDataError for a file of another architecture, for rows that lack an encoder, for keys that nothing holds."""
    fitting = sum(len(modules) for modules in parts.layers.values())
    # Whole weights fit altogether, or have been refused; of layers most have to find a place.
    foreign = parts.kinds <= {"layers"} and fitting * 2 < len(unknown)
    if not parts.kinds or foreign:
        raise BadDataError(
            f"{file} is for another architecture than the base {base}: {len(unknown)} of its keys find no layer "
            f"there, such as {shown(sorted(unknown)[0]) if unknown else 'all'}.",
            "Name its own base with `base`.",
            code="base.other_architecture",
            field="base",
        )
    for table, rows in parts.rows.items():
        _require_rows(file, table, rows, shapes, base)
    lacking = [t for t in shapes if t.startswith("text_encoder") and parts.rows and t not in parts.rows]
    if lacking:
        raise BadDataError(
            f"{file} has no rows for the base's {lacking[0]}.",
            "Name its own base with `base`.",
            code="base.other_architecture",
            field="base",
        )
    if parts.hypernetwork is not None and not _context_widths(shapes) & parts.hypernetwork.nets.keys():
        raise BadDataError(
            f"{file} is a hypernetwork for context widths {sorted(parts.hypernetwork.nets)}; the base {base} has "
            f"{sorted(_context_widths(shapes))}.",
            "Name its own base with `base`.",
            code="base.other_architecture",
            field="base",
        )
    if unknown and not lossy:
        raise BadDataError(
            f"{file} has {len(unknown)} keys that find no layer in the base {base}, such as "
            f"{shown(sorted(unknown)[0])}.",
            "Add `lossy` to leave them out, or name its own base with `base`.",
            code="base.other_architecture",
            field="base",
        )


def differing(file: Path, parts: Parts, files: BaseFiles, lossy: bool) -> list[str]:
    """Components of a file that no concept holds and that are not the base's own; BadDataError unless `lossy`."""
    found: list[str] = []
    for component, state in parts.beside.items():
        base = files.tensors(component)
        other = [n for n, t in state().items() if n in base and not _alike(t, base[n])]
        if other and not lossy:
            raise BadDataError(
                f"{file} brings a {component} of its own, which a concept does not hold: {len(other)} of its tensors "
                "are not those of the base.",
                "Use the file itself as `base`, or add `lossy` to draw with the base's.",
                code="import.own_component",
                field="lossy",
            )
        found += [f"the file's own {component}"] if other else []
    return found


def _alike(tensor: Tensor, base: Tensor) -> bool:
    """Whether they are equal but for the rounding of a half-precision file."""
    gap = (tensor.float() - base.float()).abs().max()
    return bool(gap <= ROUNDING * base.float().abs().max())


def _require_rows(file: Path, table: str, rows: Tensor, shapes: Shapes, base: str) -> None:
    if table not in shapes:
        raise BadDataError(
            f"{file} has rows for {table}, which the base {base} does not have.",
            "Name its own with `base`.",
            code="base.other_architecture",
            field="base",
        )
    width = shapes[table][EMBEDDING][1]
    if rows.ndim != 2 or rows.shape[1] != width or not 1 <= len(rows) <= 64:
        raise BadDataError(
            f"{file} has rows of shape {'x'.join(map(str, rows.shape))} for {table}, and the base {base} wants 1 to 64 "
            f"of width {width}.",
            "Name its own base with `base`.",
            code="base.other_architecture",
            field="base",
        )


def _context_widths(shapes: Shapes) -> set[int]:
    keys = (shape for name, shape in shapes.get("unet", {}).items() if name.endswith("to_k.weight"))
    return {shape[1] for shape in keys}
