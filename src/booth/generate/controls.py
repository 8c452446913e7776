"""Hints to follow: which ControlNet takes which, and how they come to the size of the picture."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from dataclasses import dataclass, replace
from pathlib import Path

from PIL import Image

from booth.concept import Concept
from booth.core.errors import BadDataError, UsageError
from booth.data.crops import central_box
from booth.data.decoding import decode, read_bytes
from booth.families.loading import CONTROLS_FOLDER
from booth.generate.concepts import Applied, read_strength
from booth.registry import CONTROLS


@dataclass(frozen=True)
class Hint:
    """A picture that a ControlNet is to follow."""

    file: Path
    kind: str | None = None  # "canny"; None where there is only one ControlNet
    strength: float | None = None  # conditioning scale; None is the concept's own strength


def parse_hints(files: Sequence[str], kinds: Sequence[str]) -> list[Hint]:
    """Read FILE or FILE:STRENGTH, each with the kind at the same place; UsageError for unequal numbers."""
    if kinds and len(kinds) != len(files):
        raise UsageError(
            f"`controls` names {len(files)} pictures and `control_types` {len(kinds)} types.",
            "Give each control picture its own type.",
            code="control.uneven",
            field="control_types",
        )
    return [_parse(text, kind) for text, kind in zip(files, kinds or [None] * len(files))]


def follows(concept: Concept) -> str | None:
    """What a concept's ControlNet follows; None for one that is no ControlNet."""
    return concept.methods()[0].control()


def with_controlnets(
    concepts: Sequence[Applied], hints: Sequence[Hint], base_hash: str
) -> tuple[list[Applied], list[Hint]]:
    """The concepts, each ControlNet among them with its hint's strength, and the hints in the order of the ControlNets.

    A hint that no concept follows goes to the ControlNet that comes with the embedded base, if there is one of its
    kind. UsageError for a hint that nothing follows, and for a ControlNet without a hint.
    """
    wanted, left = list(concepts), list(hints)
    nets = {i: kind for i, a in enumerate(wanted) if (kind := follows(a.concept))}
    taken: list[Hint] = []
    for i, kind in nets.items():
        hint = next((h for h in left if h.kind == kind or (h.kind is None and len(nets) == 1)), None)
        if hint is None:
            raise _mismatch(wanted[i].concept, kind, left)
        left.remove(hint)
        taken.append(hint)
        if hint.strength is not None:
            wanted[i] = replace(wanted[i], strength=hint.strength)
    for hint in left:
        wanted.append(Applied(_shipped(hint, list(nets.values()), base_hash), hint.strength))
        taken.append(hint)
    return wanted, taken


def read_hint(
    hint: Hint, size: tuple[int, int], shape: tuple[int, int], tell: Callable[[str], None] = lambda _: None
) -> Image.Image:
    """The hint at the `size` (width, height) of the drawing; `tell` hears if it had another one.

    Of a hint of another aspect than `shape`, which is the square or the picture that is drawn over, the central part
    is taken. BadDataError if it is no picture.
    """
    try:
        image = decode(read_bytes(hint.file))
    except BadDataError as error:
        raise error.about(f"The hint {hint.file}", field="controls") from error
    box = central_box(image.size, shape)
    if image.size != size:
        part = "" if box == (0, 0, *image.size) else f"its central {'square' if size[0] == size[1] else 'part'} is "
        tell(f"The hint {hint.file} has {image.width}x{image.height} pixels; {part}resized to {size[0]}x{size[1]}.")
    return image.resize(size, Image.Resampling.LANCZOS, box=box)


def _parse(text: str, kind: str | None) -> Hint:
    file, colon, strength = text.rpartition(":")
    if not colon or Path(text).exists():
        return Hint(Path(text), kind)
    return Hint(Path(file), kind, read_strength(strength, text, "FILE:0.8"))


def _mismatch(concept: Concept, kind: str, left: Sequence[Hint]) -> UsageError:
    """What is wrong where a ControlNet finds no hint of its kind."""
    if not left:
        return UsageError(
            f"{concept.folder} is a ControlNet and needs a hint.",
            f"Give one with `controls` and `control_types={kind}`.",
            code="control.missing",
            field="controls",
        )
    told = ", ".join(f"{h.file} is {h.kind or 'of no stated type'}" for h in left)
    return UsageError(
        f"{concept.folder} was trained to follow {kind}, and {told}.",
        f"Give it a {kind} hint, which `booth hint` makes, with `control_types={kind}`.",
        code="control.mismatch",
        field="control_types",
    )


def _shipped(hint: Hint, others: Sequence[str], base_hash: str) -> Concept:
    """The ControlNet of the embedded base that follows a hint of this kind."""
    if hint.kind is None:
        raise UsageError(
            f"Which type of hint is {hint.file}?",
            "Give `control_types`, such as canny.",
            code="control.untyped",
            field="control_types",
        )
    folder = CONTROLS_FOLDER / hint.kind
    if folder.is_dir() and (concept := Concept.load(folder)).record.base.hash == base_hash:
        return concept
    _ = CONTROLS[hint.kind]  # a ControlNet may follow any word, but one that nothing here follows is a slip of the pen
    there = f" The ControlNets named follow: {', '.join(others)}." if others else ""
    raise UsageError(
        f"No ControlNet here follows {hint.kind} on this base.{there}",
        f"Train one, with `method=controlnet` and `control={hint.kind}`, and name its folder with `concepts`.",
        code="control.no_net",
        field="controls",
    )
