"""From what a user calls a base to a loaded family."""

from __future__ import annotations

import hashlib
from functools import lru_cache
from pathlib import Path
from typing import Any

import torch

from booth.core.errors import BadDataError, NotAvailableError
from booth.core.family import Family
from booth.registry import FAMILIES

EMBEDDED = "embedded"
CONTROLS_FOLDER = Path(__file__).parent.parent / "assets" / "controls"  # the embedded base's ControlNets, by control
EMBEDDED_FOLDER = Path(__file__).parent.parent / "assets" / "embedded"


def resolve_base(base: str) -> Path:
    """The folder of a base: the one in the package, a folder of the user's, or a Hub id in the user's cache.

    Raises NotAvailableError when nothing of that name is on this machine.
    """
    if base == EMBEDDED:
        if not (EMBEDDED_FOLDER / "model_index.json").is_file():
            raise NotAvailableError(
                f"The embedded base is not installed ({EMBEDDED_FOLDER} is missing): it is still in training. In a "
                "clone of booth say --base training/embedded; or name another base with --base."
            )
        return EMBEDDED_FOLDER
    folder = Path(base).expanduser()
    if folder.is_dir():
        if not (folder / "model_index.json").is_file():
            raise BadDataError(f"{folder} is not a diffusers folder: it has no model_index.json.")
        return folder
    if base.count("/") == 1 and not base.startswith((".", "/", "~")):
        return _from_hub(base)
    raise NotAvailableError(
        f"There is no base {base!r}: not a folder here. Use `embedded`, a diffusers folder, or a Hub id such as "
        "stable-diffusion-v1-5/stable-diffusion-v1-5."
    )


def _from_hub(base: str) -> Path:
    """Download (or find in the cache) the safetensors half of a Hub repository; never any code."""
    from huggingface_hub import snapshot_download
    from huggingface_hub.errors import HfHubHTTPError, LocalEntryNotFoundError

    patterns = ["model_index.json", "*/config.json", "*/*.safetensors", "scheduler/*", "tokenizer/*"]
    try:
        return Path(snapshot_download(base, allow_patterns=patterns, ignore_patterns=["safety_checker/*"]))
    except (LocalEntryNotFoundError, HfHubHTTPError, OSError) as error:
        raise NotAvailableError(
            f"The base {base!r} is neither in the local cache nor could it be downloaded ({type(error).__name__}). "
            "Check the name and the connection, or point --base at a diffusers folder."
        ) from error


@lru_cache(maxsize=8)
def base_hash(path: Path) -> str:
    """A sha256 over the configuration and weight files of a base, so that a concept knows what it was taught to."""
    digest = hashlib.sha256()
    for file in sorted(p for p in path.rglob("*") if p.suffix in {".json", ".safetensors", ".txt"}):
        digest.update(str(file.relative_to(path)).encode())
        with file.open("rb") as stream:
            digest.update(hashlib.file_digest(stream, "sha256").digest())
    return f"sha256:{digest.hexdigest()}"


def load_family(base: str, device: str = "cpu", dtype: torch.dtype = torch.float32) -> Family:
    """Load a base into the family whose layout it has."""
    kind: Any = FAMILIES["stable_diffusion"]
    return kind(resolve_base(base), device, dtype)
