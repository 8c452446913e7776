"""What a run is: the hash of its photos, its configuration, the base and the version. The same run is done once."""

from __future__ import annotations

import hashlib
import json
import os
from collections.abc import Iterator, Sequence
from pathlib import Path

from booth import __version__
from booth.config import RunConfig
from booth.core.errors import BadDataError
from booth.core.json_values import Json
from booth.core.places import printable

# What decides where and how often something is written, or on what it is computed, and no weight; the base has a hash.
WEIGHTLESS = {"photos", "also", "base", "out", "resume", "device", "checkpoint_every", "keep_checkpoints", "previews"}
ID = 16  # letters of an id


class Source:
    """One thing that was named as photos, with everything that may belong to them."""

    def __init__(self, path: Path) -> None:
        self.name = path.name  # a kohya folder's name says what it holds
        self.is_folder = path.is_dir()
        self.files: dict[str, Path] = dict(_files(path))  # by their name below it
        self.hashes = {name: hashlib.sha256(file.read_bytes()).hexdigest() for name, file in self.files.items()}


def read_sources(photos: Sequence[Sequence[Path]]) -> list[list[Source]]:
    """What each subject of a run was named; BadDataError for what is not there or cannot be read."""
    try:
        return [[Source(path) for path in several] for several in photos]
    except OSError as error:
        raise BadDataError(
            f"{printable(str(error.filename))} cannot be read: {error.strerror}.",
            "Check the name and the permission.",
            code="photos.unreadable",
            field="photos",
        ) from error


def plain_configuration(config: RunConfig) -> dict[str, Json]:
    """All fields of a run that decide its weights, but for its photos; as JSON has them."""
    values = config.model_dump(mode="json", exclude=WEIGHTLESS, exclude_unset=True)
    values["also"] = [{"token": other.token, "noun": other.noun} for other in config.also]
    return values


def run_id(config: RunConfig, sources: Sequence[Sequence[Source]], base_hash: str, threads: int) -> str:
    """The name of a run; `threads` computes in one order, and another number in another."""
    photos = [[[s.name, s.hashes] for s in several] for several in sources]
    about = {
        "photos": photos,
        "configuration": plain_configuration(config),
        "base": base_hash,
        "booth": __version__,
        "threads": threads,
    }
    return hashlib.sha256(json.dumps(about, sort_keys=True).encode()).hexdigest()[:ID]


def _files(path: Path) -> Iterator[tuple[str, Path]]:
    """Every file of a folder; of a photo that was named itself, it and what has its name, such as a caption."""
    if not os.path.lexists(path):
        raise BadDataError(
            f"{printable(path)} does not exist.", "Check the name.", code="photos.not_found", field="photos"
        )
    if not path.is_dir():
        yield path.name, path
        yield from ((p.name, p) for p in sorted(path.parent.glob(f"{_escaped(path.stem)}.*")) if p != path)
        return
    for folder, folders, names in os.walk(path):
        folders[:] = sorted(f for f in folders if not f.startswith("."))
        for name in sorted(n for n in names if not n.startswith(".")):
            file = Path(folder) / name
            if not file.resolve().is_relative_to(path.resolve()):
                raise BadDataError(
                    f"{printable(file)} is a link that leads out of its folder.",
                    "Copy the file itself.",
                    code="photos.link",
                    field="photos",
                )
            yield file.relative_to(path).as_posix(), file


def _escaped(stem: str) -> str:
    return "".join(f"[{c}]" if c in "*?[" else c for c in stem)
