"""Run as a child process with little memory and time: decodes what strangers made, so that the server never does.

`python -m booth.web.intake take FOLDER NAME < bytes` writes a photo anew, without all that is not its picture.
`python -m booth.web.intake survey FOLDER THUMBNAILS` looks at the photos of a folder.
`python -m booth.web.intake outline PHOTO` looks for the subject. Each prints one JSON object.
"""

from __future__ import annotations

import base64
import hashlib
import io
import json
import os
import sys
from pathlib import Path
from typing import Any

from PIL import ExifTags, Image

from booth.core.errors import BadDataError
from booth.data.decoding import decode_fully, decode_mask, sniff
from booth.data.duplicates import find_duplicates

MEMORY, SECONDS, WRITTEN = 3 * 2**30, 60, 300 * 2**20  # what the process may take: address space, time, one file
MAX_BYTES = 60 * 2**20
THUMB = 640  # pixels of the longer side
SMALL = 128  # pixels of the shorter side below which even the embedded base learns from enlarged pixels
CUT_OFF = 0.16  # of the border that stands out as the subject does
QUALITY = 96


def limit() -> None:
    """Take no more than was allowed, whatever a file asks for."""
    if sys.platform == "win32":
        return
    import resource

    for what, most in (
        (resource.RLIMIT_AS, MEMORY), (resource.RLIMIT_CPU, SECONDS), (resource.RLIMIT_FSIZE, WRITTEN),
        (resource.RLIMIT_CORE, 0),
    ):  # fmt: skip
        resource.setrlimit(what, (most, most))


def take(data: bytes, folder: Path, name: str) -> dict[str, object]:
    """Decode a photo and write its picture alone; the answer says what was taken off. BadDataError for no photo."""
    found = decode_fully(data)
    kind = sniff(data[:16])
    with Image.open(io.BytesIO(data), formats=("JPEG", "PNG", "WEBP")) as image:
        exif = image.getexif()
        located = bool(exif.get_ifd(ExifTags.IFD.GPSInfo))
        tagged = bool(len(exif)) or any(
            key in image.info for key in ("xmp", "XML:com.adobe.xmp", "comment", "photoshop")
        )
    suffix = ".jpg" if kind == "JPEG" else ".png"
    place = folder / f"{name}{suffix}"
    work = folder / f".{name}.tmp-{os.getpid()}{suffix}"
    try:
        if suffix == ".jpg":
            found.image.save(work, quality=QUALITY, subsampling=0)
        else:
            picture = found.image
            if found.alpha is not None:
                picture = picture.convert("RGBA")
                picture.putalpha(found.alpha)
            picture.save(work)
        os.replace(work, place)
    finally:
        work.unlink(missing_ok=True)
    return {"file": place.name, "turned": found.turn is not None, "located": located, "tagged": tagged}


def survey(folder: Path, thumbs: Path) -> dict[str, object]:
    """What each photo of a folder is like, and all of them together. What cannot be decoded says why."""
    from booth.compare.photo_facts import BLURRED, SAME_RIM, correlation, rim, sharpness

    thumbs.mkdir(parents=True, exist_ok=True)
    photos: dict[str, dict[str, Any]] = {}
    seen: list[tuple[str, str, Image.Image]] = []
    rims: list[Any] = []
    for name in json.loads(sys.stdin.read() or "[]"):
        file = folder / Path(name).name
        try:
            data = file.read_bytes()
            found = decode_fully(data)
        except (BadDataError, OSError) as error:
            photos[name] = {"verdicts": [{"kind": "bad", "text": str(error)}], "bad": True}
            continue
        image = found.image
        small = image.copy()
        small.thumbnail((THUMB, THUMB))
        small.save(thumbs / f"{name}.webp", quality=82)
        mask = _mask(folder, file)
        facts: dict[str, Any] = {"width": image.width, "height": image.height, "verdicts": []}
        facts["mask"] = None if mask is None else round(_share(mask), 4)
        told = facts["verdicts"]
        if min(image.size) < SMALL:
            told.append({"kind": "small", "side": min(image.size)})
        if sharpness(image) < BLURRED:
            told.append({"kind": "blurred"})
        if found.turn is not None:
            told.append({"kind": "turned"})
        if _is_cut_off(image, mask):
            told.append({"kind": "cut_off"})
        photos[name] = facts
        seen.append((name, hashlib.sha256(data).hexdigest(), small.copy()))
        rims.append(rim(small))
    for sentence in find_duplicates(seen):
        name = next((n for n, _, _ in seen if sentence.startswith(n)), None)
        other = next((n for n, _, _ in seen if n != name and f" {n}" in sentence), "")
        if name is not None:
            same = "same" if "is the same file" in sentence else "alike"
            photos[name]["verdicts"].append({"kind": same, "other": other})
    pairs = [correlation(a, b) for i, a in enumerate(rims) for b in rims[:i]]
    return {"photos": photos, "same_background": bool(pairs) and sorted(pairs)[len(pairs) // 2] > SAME_RIM}


def paint(data: bytes, file: Path, size: tuple[int, int]) -> dict[str, object]:
    """Write a mask that was painted, white where it is opaque or bright, in the photo's size."""
    mask, _ = decode_mask(data)
    mask = mask.resize(size, Image.Resampling.BILINEAR).point([0] * 128 + [255] * 128)
    work = file.with_name(f".{file.stem[:40]}.tmp-{os.getpid()}.png")
    try:
        mask.save(work)
        os.replace(work, file)
    finally:
        work.unlink(missing_ok=True)
    return {"mask": round(_share(mask), 4)}


def found_subject(file: Path) -> dict[str, object]:
    """A first mask of a photo, as a PNG in base 64, and what it covers; nothing of it is kept."""
    from booth.web.outline import outline

    mask = outline(decode_fully(file.read_bytes()).image)
    data = io.BytesIO()
    mask.save(data, "PNG")
    return {"png": base64.b64encode(data.getvalue()).decode("ascii"), "mask": round(_share(mask), 4)}


def crop(folder: Path, into: Path, boxes: dict[str, list[float]]) -> dict[str, object]:
    """Write the cropped photos, and their masks, of a snapshot; `boxes` are shares of width and height."""
    done: list[str] = []
    for name, (left, top, right, bottom) in boxes.items():
        file = folder / Path(name).name
        found = decode_fully(file.read_bytes())
        width, height = found.image.size
        box = (round(left * width), round(top * height), round(right * width), round(bottom * height))
        found.image.crop(box).save(into / f"{file.stem}.png")
        mask = _mask(folder, file)
        if mask is not None:
            mask.resize(found.image.size).crop(box).save(into / f"{file.stem}-masklabel.png")
        done.append(file.name)
    return {"cropped": done}


def _share(mask: Image.Image) -> float:
    counts = mask.histogram()
    return sum(counts[128:]) / max(1, sum(counts))


def _mask(folder: Path, file: Path) -> Image.Image | None:
    beside = folder / f"{file.stem}-masklabel.png"
    if beside.is_symlink() or not beside.is_file():
        return None
    try:
        return decode_mask(beside.read_bytes())[0]
    except BadDataError:
        return None


def _is_cut_off(image: Image.Image, mask: Image.Image | None) -> bool:
    """Whether the subject goes over the edge: by its mask, or else by how much of one side stands out as it does."""
    import numpy as np

    from booth.data.crops import saliency

    if mask is not None:
        shape = np.asarray(mask.resize((64, 64), Image.Resampling.BOX)) > 127
        sides = (shape[0], shape[-1], shape[:, 0], shape[:, -1])
        return max(float(side.mean()) for side in sides) > CUT_OFF
    shape = saliency(image)
    bright = shape > 0.55 * shape.max()
    sides = (bright[0], bright[-1], bright[:, 0], bright[:, -1])
    return max(float(side.mean()) for side in sides) > 2 * CUT_OFF


def main(words: list[str]) -> int:
    """Do what is asked; a sentence without a subject if it cannot be done."""
    limit()
    action, *rest = words
    try:
        if action == "take":
            told = take(sys.stdin.buffer.read(MAX_BYTES + 1), Path(rest[0]), rest[1])
        elif action == "survey":
            told = survey(Path(rest[0]), Path(rest[1]))
        elif action == "outline":
            told = found_subject(Path(rest[0]))
        elif action == "paint":
            told = paint(sys.stdin.buffer.read(MAX_BYTES + 1), Path(rest[0]), (int(rest[1]), int(rest[2])))
        else:
            told = crop(Path(rest[0]), Path(rest[1]), json.loads(sys.stdin.read()))
    except BadDataError as error:
        told = {"error": str(error)}
    except MemoryError:
        told = {"error": "takes more memory than a photo may; make it smaller"}
    except OSError as error:
        told = {"error": f"cannot be written: {error.strerror or error}"}
    print(json.dumps(told))
    return 0


if __name__ == "__main__":
    sys.exit(main(sys.argv[1:]))
