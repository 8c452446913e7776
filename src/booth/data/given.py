"""Photos as people have them in Python: paths, pictures, arrays, data sets, or any of these with captions."""

from __future__ import annotations

import hashlib
import io
import json
from collections.abc import Iterable, Mapping
from pathlib import Path
from typing import TYPE_CHECKING, Any, TypeGuard, cast

import numpy as np
from numpy.typing import NDArray
from PIL import Image

from booth.core.cache import cache_folder
from booth.core.commit import committed, verify
from booth.core.errors import BadDataError, DamagedFileError

if TYPE_CHECKING:
    from booth.core.batch import BatchSource

Picture = Path | str | Image.Image | NDArray[Any]
Given = Picture | Iterable[Picture | tuple[Picture, str | None] | Mapping[str, Any]]
BATCHES = Path("batches-of-the-caller")  # what stands in a configuration for what deals batches
IMAGES, CAPTIONS = ("image", "img", "picture"), ("text", "caption", "prompt")  # what columns of data sets are called


def are_batches(photos: Given | BatchSource) -> TypeGuard[BatchSource]:
    """Whether it deals batches itself: it is called with an rng, and is no collection of anything."""
    return callable(photos) and not isinstance(photos, Iterable)


def sources_of(photos: Given | BatchSource) -> list[Path]:
    """Paths to read them from: those that were given, or a folder of booth's cache where what is in memory is kept.

    What deals batches is in no file; BATCHES stands for it.

    It is kept without loss, under a name by its content, so that a run is resumed and an evaluation finds it again.
    A mapping, such as a row of `datasets.Dataset`, has its picture as "image" and may have a caption as "text". Arrays
    are (H, W), (H, W, 3) or (H, W, 4), uint8 or floating in 0..1. BadDataError for anything else.
    """
    if are_batches(photos):
        return [BATCHES]
    if isinstance(photos, Path | str | Image.Image | np.ndarray):
        one = cast("Any", photos)
        rows: list[Any] = list(one) if isinstance(one, np.ndarray) and one.ndim == 4 else [one]
    else:
        rows = list(cast("Iterable[Any]", photos))
    if not rows:
        raise BadDataError("There are no photos; give paths, pictures or arrays.", code="photos.none", field="photos")
    if all(isinstance(row, Path | str) for row in rows):
        return [Path(row) for row in rows]
    return [_kept([_row(row, f"photo {i}") for i, row in enumerate(rows)])]


def _row(row: Any, name: str) -> tuple[bytes, str | None]:
    """A PNG, and its caption if it has one."""
    caption = None
    if isinstance(row, Mapping):
        columns = cast("Mapping[str, Any]", row)
        found = next((columns[key] for key in IMAGES if key in columns), None)
        caption, row = next((columns[key] for key in CAPTIONS if key in columns), None), found
    elif isinstance(row, tuple) and len(cast("tuple[Any, ...]", row)) == 2:
        row, caption = cast("tuple[Any, Any]", row)
    if caption is not None and not isinstance(caption, str):
        raise BadDataError(
            f"The caption of {name} is no text but {type(caption).__name__}.",
            "Give (picture, caption).",
            code="caption.no_text",
            field="photos",
        )
    written = io.BytesIO()
    _picture(row, name).save(written, "PNG")
    return written.getvalue(), caption


def _picture(value: Any, name: str) -> Image.Image:
    if isinstance(value, Path | str):
        with Image.open(value) as opened:
            opened.load()
            return opened
    if isinstance(value, Image.Image):
        return value if value.mode in ("RGB", "RGBA", "L") else value.convert("RGBA" if "A" in value.mode else "RGB")
    try:
        pixels = np.asarray(value)
        if pixels.dtype.kind == "f":
            pixels = (pixels.clip(0, 1) * 255).round().astype(np.uint8)
        return Image.fromarray(pixels)
    except (TypeError, ValueError) as error:
        raise BadDataError(
            f"{name.capitalize()} is neither a path, a picture nor an array of (H, W, 3), but {type(value).__name__}.",
            code="photos.of_no_kind",
            field="photos",
        ) from error


def _kept(rows: list[tuple[bytes, str | None]]) -> Path:
    digest = hashlib.sha256()
    for png, caption in rows:
        digest.update(hashlib.sha256(png).digest() + (caption or "").encode() + bytes(1))
    home = cache_folder() / "photos" / digest.hexdigest()[:16]
    try:
        verify(home)
    except DamagedFileError:
        with committed(home, {"kind": "photos"}) as work:
            (work / "photos").mkdir()
            lines = [_write(work / "photos", i, *row) for i, row in enumerate(rows)]
            (work / "photos" / "metadata.jsonl").write_text("".join(lines), encoding="utf-8")
    return home / "photos"


def _write(folder: Path, index: int, png: bytes, caption: str | None) -> str:
    file = folder / f"{index:05}.png"
    file.write_bytes(png)
    return json.dumps({"file_name": file.name, "text": caption}) + "\n" if caption else ""
