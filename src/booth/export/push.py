"""Upload a concept to the Hub: weights, samples, card and exports; private, and never the photos unless asked for."""

from __future__ import annotations

import shutil
import tempfile
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path

from booth.concept import Concept
from booth.core.commit import MANIFEST
from booth.core.concept import RECORD
from booth.core.errors import BadDataError, NotAvailableError, UsageError
from booth.export.card import model_card, read_evaluation

CARD = "README.md"
PHOTOS = "photos"


@dataclass(frozen=True)
class Parcel:
    """What goes to the Hub: file names there, and where each lies here; the card is made, not copied."""

    files: dict[str, Path]
    card: str

    @property
    def bytes(self) -> int:
        """Of all files."""
        return sum(file.stat().st_size for file in self.files.values()) + len(self.card.encode())


def pack(
    concept: Concept, exports: Sequence[Path] = (), photos: Path | None = None, evaluation: Path | None = None
) -> Parcel:
    """Collect a concept's weights and samples, exported files and, if named, a folder of photos.

    The card tells the numbers of an `evaluation`. The record and the manifest stay here: they tell of captions, paths
    and the machine.
    """
    files: dict[str, Path] = {}
    for file in sorted(p for p in concept.folder.rglob("*") if p.is_file()):
        name = file.relative_to(concept.folder).as_posix()
        if name not in {RECORD, MANIFEST}:
            files[name] = file
    for file in exports:
        if not file.is_file():
            raise BadDataError(f"{file} is no file. Export it first, with `booth export`.")
        files[file.name] = file
    if photos is not None:
        if not photos.is_dir():
            raise BadDataError(f"{photos} is no folder of photos.")
        files |= {f"{PHOTOS}/{p.name}": p for p in sorted(photos.iterdir()) if p.is_file()}
    told = None if evaluation is None else read_evaluation(evaluation, concept)
    return Parcel(files, model_card(concept, told))


def push(parcel: Parcel, repository: str, *, public: bool = False) -> str:
    """Upload to a model repository, which is made if it is not there; returns its address.

    Raises NotAvailableError where the Hub cannot be reached or refuses.
    """
    require_name(repository)
    from huggingface_hub import HfApi
    from huggingface_hub.errors import HfHubHTTPError, LocalTokenNotFoundError

    with tempfile.TemporaryDirectory() as work:
        folder = Path(work)
        for name, file in parcel.files.items():
            (folder / name).parent.mkdir(parents=True, exist_ok=True)
            shutil.copyfile(file, folder / name)
        (folder / CARD).write_text(parcel.card, encoding="utf-8")
        try:
            api = HfApi()
            address = api.create_repo(repository, private=not public, exist_ok=True)
            api.upload_folder(repo_id=repository, folder_path=folder, commit_message="Upload with booth")
        except (HfHubHTTPError, LocalTokenNotFoundError, OSError) as error:
            raise NotAvailableError(
                f"{repository} was not uploaded ({type(error).__name__}). Sign in with `hf auth login`, check the "
                "name and the connection, and try again."
            ) from error
    return str(address)


def require_name(repository: str) -> None:
    """UsageError unless it reads OWNER/NAME."""
    if repository.count("/") != 1 or not all(repository.split("/")):
        raise UsageError(f"{repository!r} is no repository. Write OWNER/NAME, such as me/rex.")
