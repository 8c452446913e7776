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
class ControlImage:
    """A picture that a ControlNet is to follow."""

    file: Path
    kind: str | None = None  # "canny"; None where there is only one ControlNet
    strength: float | None = None  # conditioning scale; None is the concept's own strength


def parse_control_images(files: Sequence[str], kinds: Sequence[str]) -> list[ControlImage]:
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
    concepts: Sequence[Applied], control_images: Sequence[ControlImage], base_hash: str
) -> tuple[list[Applied], list[ControlImage]]:
    """The concepts, each ControlNet among them with its hint's strength, and the hints in the order of the ControlNets.

    A hint that no concept follows goes to the ControlNet that comes with the embedded base, if there is one of its
    kind. UsageError for a control image that nothing follows, and for a ControlNet without a control image.
    """
    wanted, left = list(concepts), list(control_images)
    nets = {i: kind for i, a in enumerate(wanted) if (kind := follows(a.concept))}
    taken: list[ControlImage] = []
    for i, kind in nets.items():
        control_image = next((h for h in left if h.kind == kind or (h.kind is None and len(nets) == 1)), None)
        if control_image is None:
            raise _mismatch(wanted[i].concept, kind, left)
        left.remove(control_image)
        taken.append(control_image)
        if control_image.strength is not None:
            wanted[i] = replace(wanted[i], strength=control_image.strength)
    for control_image in left:
        wanted.append(Applied(_shipped(control_image, list(nets.values()), base_hash), control_image.strength))
        taken.append(control_image)
    return wanted, taken


def read_control_image(
    control_image: ControlImage,
    size: tuple[int, int],
    shape: tuple[int, int],
    tell: Callable[[str], None] = lambda _: None,
) -> Image.Image:
    """The control image at the `size` (width, height) of the drawing; `tell` hears if it had another one.

    Of a hint of another aspect than `shape`, which is the square or the picture that is drawn over, the central part
    is taken. BadDataError if it is no picture.
    """
    try:
        image = decode(read_bytes(control_image.file))
    except BadDataError as error:
        raise error.about(f"The hint {control_image.file}", field="controls") from error
    box = central_box(image.size, shape)
    if image.size != size:
        part = "" if box == (0, 0, *image.size) else f"its central {'square' if size[0] == size[1] else 'part'} is "
        had = f"The hint {control_image.file} has {image.width}x{image.height} pixels"
        tell(f"{had}; {part}resized to {size[0]}x{size[1]}.")
    return image.resize(size, Image.Resampling.LANCZOS, box=box)


def _parse(text: str, kind: str | None) -> ControlImage:
    file, colon, strength = text.rpartition(":")
    if not colon or Path(text).exists():
        return ControlImage(Path(text), kind)
    return ControlImage(Path(file), kind, read_strength(strength, text, "FILE:0.8"))


def _mismatch(concept: Concept, kind: str, left: Sequence[ControlImage]) -> UsageError:
    """What is wrong where a ControlNet finds no control image of its kind."""
    if not left:
        return UsageError(
            f"{concept.folder} is a ControlNet and needs a hint.",
            f"Give one with `controls` and `control_types={kind}`.",
            code="control.missing",
            field="controls",
        )
    given = ", ".join(f"{h.file} is {h.kind or 'of no stated type'}" for h in left)
    return UsageError(
        f"{concept.folder} was trained to follow {kind}, and {given}.",
        f"Give it a {kind} hint, which `booth hint` makes, with `control_types={kind}`.",
        code="control.mismatch",
        field="control_types",
    )


def _shipped(control_image: ControlImage, others: Sequence[str], base_hash: str) -> Concept:
    """The ControlNet of the embedded base that follows a control image of this kind."""
    if control_image.kind is None:
        raise UsageError(
            f"Which type of hint is {control_image.file}?",
            "Give `control_types`, such as canny.",
            code="control.untyped",
            field="control_types",
        )
    folder = CONTROLS_FOLDER / control_image.kind
    if folder.is_dir() and (concept := Concept.load(folder)).record.base.hash == base_hash:
        return concept
    _ = CONTROLS[
        control_image.kind
    ]  # a ControlNet may follow any word, but one that nothing here follows is a slip of the pen
    there = f" The ControlNets named follow: {', '.join(others)}." if others else ""
    raise UsageError(
        f"No ControlNet here follows {control_image.kind} on this base.{there}",
        f"Train one, with `method=controlnet` and `control={control_image.kind}`, and name its folder with `concepts`.",
        code="control.no_net",
        field="controls",
    )
