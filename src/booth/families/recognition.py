"""What a base is, from its own files: which family it belongs to, and whether it was distilled."""

from __future__ import annotations

import json
import re
from pathlib import Path
from typing import Any

from booth.core.errors import BadDataError
from booth.registry import PIPELINES, family_of_pipeline

SOURCE = "single_file.json"  # in a folder that was made of a single file: that file's name and hash
FEW = 12  # steps in which nothing draws that was not distilled
DISTILLED_NAMES = re.compile(r"turbo|schnell|lightning|flash|lcm|hyper-?sd|distill", re.IGNORECASE)


def recognise(folder: Path) -> str:
    """The name of the family that a diffusers folder belongs to, by its model_index.json."""
    pipeline = _read(folder / "model_index.json").get("_class_name")
    if not isinstance(pipeline, str):
        raise BadDataError(
            f"{folder / 'model_index.json'} does not say what the base is.",
            "Get the base again.",
            code="base.unrecognised",
            field="base",
        )
    family = family_of_pipeline(pipeline)
    if family is None:
        raise BadDataError(
            f"{folder} is a base for {pipeline}, which booth does not know.",
            f"It knows {', '.join(PIPELINES)}.",
            code="base.unknown_family",
            field="base",
        )
    return family


def advice_on_base(name: str, folder: Path) -> str | None:
    """A warning if a base was distilled to draw in a few steps, which teaching it undoes."""
    sign = _distilled(name, folder)
    if sign is None:
        return None
    return (
        f"The base {name} seems to be distilled ({sign}). Taught directly, such a base loses the few steps it was made "
        "for, and the subject turns out generic. Teach the base that it was made from, and draw on this one."
    )


def _distilled(name: str, folder: Path) -> str | None:
    """What tells that a base is distilled; None if nothing does."""
    if _read(folder / "model_index.json").get("is_distilled"):
        return "its model_index.json says so"
    levels = _read(folder / "model_index.json").get("sample_sigmas") or []
    if 0 < len(levels) <= FEW:
        return f"its model_index.json has it drawn in {len(levels)} fixed steps"
    if _read(folder / "transformer" / "config.json").get("guidance_embeds") is False and (
        recognise(folder) == "flux"  # the others never have this embedding
    ):
        return "it has no guidance embedding, as FLUX.1 schnell"
    if _read(folder / "unet" / "config.json").get("time_cond_proj_dim"):
        return "its U-Net is told the guidance scale, as a latent consistency model"
    scheduler = _read(folder / "scheduler" / "scheduler_config.json").get("_class_name", "")
    if scheduler in {"LCMScheduler", "TCDScheduler"}:
        return f"it is drawn with {scheduler}"
    told = _read(folder / SOURCE).get("file", name)
    found = DISTILLED_NAMES.search(Path(told).name)
    return f"{found.group()!r} in its name" if found else None


def _read(file: Path) -> dict[str, Any]:
    """The object in a JSON file; empty if there is no such file."""
    try:
        values = json.loads(file.read_bytes())
    except FileNotFoundError:
        return {}
    except ValueError as error:
        raise BadDataError(
            f"{file} is not JSON ({error}).", "Get the base again.", code="base.incomplete", field="base"
        ) from error
    return values if isinstance(values, dict) else {}
