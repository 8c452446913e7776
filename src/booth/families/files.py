"""Which files of a folder or of a Hub repository make up a base, and whether those that are loaded are all there."""

from __future__ import annotations

import hashlib
import json
from collections.abc import Iterable
from pathlib import Path
from typing import Any

from booth.core.errors import BadDataError

INDEX = "model_index.json"
WANTED = (INDEX, "*/*.json", "*/*.safetensors", "tokenizer*/*", "processor/*")
UNWANTED = ("safety_checker/*", "*.fp16.*", "*.non_ema.*")  # a second copy in half precision, for one
HASHED = {".json", ".safetensors", ".txt"}
POINTER = b"version https://git-lfs"  # how the text begins that stands for a file where Git LFS did not fetch it


def base_files(folder: Path) -> list[Path]:
    """What booth's own download takes of a base, in order; what else lies there is not read."""
    from huggingface_hub.utils import filter_repo_objects

    found = sorted(path for path in folder.rglob("*") if path.is_file())
    names = {path.relative_to(folder).as_posix(): path for path in found}
    taken = filter_repo_objects(names, allow_patterns=list(WANTED), ignore_patterns=list(UNWANTED))
    return [names[name] for name in taken]


def content_hash(folder: Path, files: Iterable[Path]) -> str:
    """A sha256 over the names and contents of the configuration and weights among `files`."""
    digest = hashlib.sha256()
    for file in files:
        if file.suffix in HASHED:
            digest.update(str(file.relative_to(folder)).encode())
            with file.open("rb") as stream:
                digest.update(hashlib.file_digest(stream, "sha256").digest())
    return f"sha256:{digest.hexdigest()}"


def tokenizer_of(encoder: str, family: Any) -> str:
    """The folder of a text encoder's tokenizer, which has the same number: "tokenizer_2" of "text_encoder_2".

    A family may say that it is another one, such as that of a processor.
    """
    return family.encoders[encoder].folder or encoder.replace("text_encoder", "tokenizer")


def loaded_parts(folder: Path, family: Any) -> list[str]:
    """The modules of a base that its family loads, by the names of their folders.

    A text encoder may be left out, as T5 of Stable Diffusion 3. BadDataError if the denoiser or the autoencoder is.
    """
    index: dict[str, Any] = json.loads((folder / INDEX).read_bytes())
    beside = tuple(getattr(family, "beside", ()))
    needed, names = (family.denoiser[0], "vae", *beside), (family.denoiser[0], *family.encoders, "vae", *beside)
    parts = [name for name in names if (index.get(name) or [None])[0] is not None]
    for name in needed:
        if name not in parts:
            raise BadDataError(
                f"{folder / INDEX} names no {name}, which {family.title} needs.",
                "Get the base again.",
                code="base.incomplete",
                field="base",
            )
    return parts


def weight_files(folder: Path, family: Any) -> dict[str, list[Path]]:
    """The files with the weights of each part that is loaded; BadDataError for a part that has none."""
    files = [file for file in base_files(folder) if file.suffix == ".safetensors"]
    found = {name: [f for f in files if f.parent == folder / name] for name in loaded_parts(folder, family)}
    for name, held in found.items():
        if not held:
            raise BadDataError(
                f"{folder / name} holds no .safetensors weights in full precision.",
                "Get that part of the base.",
                code="base.incomplete",
                field="base",
            )
        for file in held:
            require_content(file)
    return found


def require_whole(folder: Path, family: Any) -> None:
    """BadDataError that names the first file or part missing of those that the family loads, or a stand-in for one."""
    needed = [folder / "scheduler" / "scheduler_config.json"]
    for name, held in weight_files(folder, family).items():
        needed.append(folder / name / "config.json")
        if not any("-of-" not in file.name for file in held):
            needed += _shards(folder / name)
        if name in family.encoders and not any((folder / tokenizer_of(name, family)).glob("*")):
            raise _missing(folder, folder / tokenizer_of(name, family))
    for file in needed:
        if not file.is_file():
            raise _missing(folder, file)
    for file in base_files(folder):
        require_content(file)


def require_content(file: Path) -> None:
    """BadDataError if a file is only Git LFS' pointer to what it should be."""
    with file.open("rb") as stream:
        pointer = stream.read(len(POINTER)) == POINTER
    if pointer:
        raise BadDataError(
            f"{file} is only a Git LFS pointer: the base was cloned without its large files.",
            "Run `git lfs pull` in its folder, or name the Hub id with `base`.",
            code="base.lfs_pointer",
            field="base",
        )


def _shards(folder: Path) -> list[Path]:
    """The files over which the weights of a part are spread, by its list of them."""
    lists = [file for file in sorted(folder.glob("*.safetensors.index.json")) if ".fp16." not in file.name]
    return [
        folder / name for file in lists for name in sorted(set(json.loads(file.read_bytes())["weight_map"].values()))
    ]


def _missing(folder: Path, place: Path) -> BadDataError:
    return BadDataError(
        f"The base {folder} is incomplete: it lacks {place.relative_to(folder)}.",
        "Get that part, or the whole base.",
        code="base.incomplete",
        field="base",
    )
