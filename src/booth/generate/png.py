"""PNGs that carry how they were drawn, in the `parameters` text chunk as AUTOMATIC1111 writes it.

Format: `create_infotext` of its modules/processing.py: the prompt, a line `Negative prompt: ...` if there is one, and
a line of `key: value` pairs, where a value holding a comma, colon or newline is a JSON string.
"""

from __future__ import annotations

import json
from collections.abc import Mapping
from pathlib import Path
from typing import Any

from PIL.Image import Image
from PIL.PngImagePlugin import PngInfo

# Our scheduler names in AUTOMATIC1111's words.
SAMPLERS = {
    "ddim": "DDIM",
    "ddpm": "DDPM",
    "dpm++": "DPM++ 2M",
    "dpm++-sde": "DPM++ 2M SDE",
    "euler": "Euler",
    "euler-a": "Euler a",
    "pndm": "PLMS",
    "unipc": "UniPC",
}


def parameters_text(prompt: str, negative: str, settings: Mapping[str, object]) -> str:
    """The text of the chunk; settings that are None are left out."""
    lines = [prompt]
    if negative:
        lines.append(f"Negative prompt: {negative}")
    lines.append(", ".join(f"{key}: {_quote(value)}" for key, value in settings.items() if value is not None))
    return "\n".join(lines).strip()


def save_png(image: Image, path: Path, parameters: str) -> None:
    """Write `image` with the chunk and nothing else: no EXIF and no dates, so that equal pictures are equal files."""
    info = PngInfo()
    info.add_text("parameters", parameters)
    image.save(path, format="PNG", pnginfo=info)


def _quote(value: Any) -> str:
    text = str(value)
    return json.dumps(text, ensure_ascii=False) if any(mark in text for mark in ",:\n") else text
