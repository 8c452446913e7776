"""From what a user calls a base to a loaded family."""

from __future__ import annotations

import json
from functools import lru_cache
from pathlib import Path
from typing import Any

import torch

from booth.core.cache import cache_folder
from booth.core.errors import BadDataError, NotAvailableError, UsageError
from booth.core.family import Family
from booth.families.files import UNWANTED, WANTED, base_files, content_hash, require_whole
from booth.families.recognition import SOURCE, recognise
from booth.registry import FAMILIES

EMBEDDED = "embedded"
CONTROLS_FOLDER = Path(__file__).parent.parent / "assets" / "controls"  # the embedded base's ControlNets, by control
EMBEDDED_FOLDER = Path(__file__).parent.parent / "assets" / "embedded"


def resolve_base(base: str, *, download: bool = True) -> Path:
    """The folder of a base: the one in the package, a folder of the user's, or a Hub id in the user's cache.

    Raises NotAvailableError when nothing of that name is on this machine, nor, with `download`, to be had.
    """
    if base == EMBEDDED:
        if not (EMBEDDED_FOLDER / "model_index.json").is_file():
            raise NotAvailableError(
                f"The embedded base is not installed ({EMBEDDED_FOLDER} is missing).",
                "Install booth again, or name another base with `base`.",
                code="base.not_installed",
                field="base",
            )
        return EMBEDDED_FOLDER
    folder = Path(base).expanduser()
    if folder.is_file():
        from booth.families.single_file import unpacked

        return unpacked(folder, cache_folder() / "bases")
    if folder.is_dir():
        if not (folder / "model_index.json").is_file():
            raise BadDataError(
                f"{folder} is not a diffusers folder: it has no model_index.json.",
                code="base.no_diffusers_folder",
                field="base",
            )
        return folder
    if base.count("/") == 1 and not base.startswith((".", "/", "~")):
        return _from_hub(base, download)
    raise _nowhere(base)


def _from_hub(base: str, download: bool) -> Path:
    """Download (or find in the cache) the safetensors half of a Hub repository or of its @revision; never any code."""
    from huggingface_hub import snapshot_download
    from huggingface_hub.errors import HfHubHTTPError, HFValidationError, LocalEntryNotFoundError

    name, _, revision = base.partition("@")
    try:
        found = snapshot_download(
            name,
            revision=revision or None,
            allow_patterns=list(WANTED),
            ignore_patterns=list(UNWANTED),
            local_files_only=not download,
        )
        return Path(found)
    except HFValidationError as error:
        raise _nowhere(base) from error
    except (LocalEntryNotFoundError, HfHubHTTPError, OSError) as error:
        raise NotAvailableError(
            f"The base {base!r} is neither in the local cache nor could it be downloaded ({type(error).__name__}).",
            "Check the name and the connection, or point `base` at a diffusers folder.",
            code="base.not_here",
            field="base",
        ) from error


def _nowhere(base: str) -> NotAvailableError:
    return NotAvailableError(
        f"There is no base {base!r}: not a file or folder here, and no Hub id.",
        "Use `embedded`, a diffusers folder, a "
        ".safetensors checkpoint, or a Hub id such as stable-diffusion-v1-5/stable-diffusion-v1-5, with @REVISION if "
        "need be.",
        code="base.not_found",
        field="base",
    )


def earlier_embedded(concept: Path, taught: str) -> UsageError:
    """What is said of a concept whose embedded base, with the hash `taught`, is not the one that is installed."""
    return UsageError(
        f"{concept} was taught to another version of booth's embedded base ({taught.removeprefix('sha256:')[:8]}), "
        "and the one that is installed knows nothing of it.",
        "Teach the subject to this one from the same photos and settings, as `booth reteach` does, or use the "
        "concept with the version of booth that made it; its folder stays as it is.",
        code="base.earlier_embedded",
        field="base",
    )


@lru_cache(maxsize=8)
def base_hash(path: Path) -> str:
    """A sha256 over the configuration and weight files of a base, so that a concept knows what it was taught to.

    Files that booth would not download do not count. A folder made of a single file has that file's.
    """
    if (path / SOURCE).is_file():
        return json.loads((path / SOURCE).read_bytes())["hash"]
    return content_hash(path, base_files(path))


def load_family(
    base: str,
    device: str = "cpu",
    dtype: torch.dtype = torch.float32,
    family: str | None = None,
    quantised: str | None = None,
) -> Family:
    """Load a base into the family whose layout it has, with linear layers `quantised` to int8 or nf4 if that is named.

    UsageError if it is not the `family` named, BadDataError if a part of it is missing.
    """
    folder = resolve_base(base)
    found = recognise(folder)
    require_family(base, found, family)
    kind: Any = FAMILIES[found]
    require_whole(folder, kind)
    return kind(folder, device, dtype, quantised)


def require_family(base: str, found: str, wanted: str | None) -> None:
    """UsageError if a base is not of the family that was named."""
    kinds: Any = FAMILIES
    if wanted is not None and kinds[wanted] is not kinds[found]:
        raise UsageError(
            f"{base} is {kinds[found].title} ({found}), not {kinds[wanted].title}.",
            f"Leave `family` out, or name {found}.",
            code="base.other_family",
            field="family",
        )
