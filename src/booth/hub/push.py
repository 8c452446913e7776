"""Upload a concept to the Hub: weights, samples, card and exports; private, and never the photos unless asked for."""

from __future__ import annotations

import json
import shutil
import tempfile
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path

from booth.concept import Concept
from booth.core.commit import MANIFEST
from booth.core.concept import RECORD, TOLD
from booth.core.errors import BadDataError, NotAvailableError, UsageError
from booth.generate.prompt_card import FILE as PROMPT_CARD
from booth.hub.card import model_card, read_evaluation

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

    The card tells the numbers of an `evaluation`. The record, the manifest and what is told of the run stay here: they
    tell of captions, paths and the machine; so does whatever else lies in the folder. Raises BadDataError for a file
    that is none or a link, UsageError for an export that would take the place of another file.
    """
    own = sorted({*json.loads((concept.folder / MANIFEST).read_bytes())["files"], PROMPT_CARD} - {RECORD})
    own = [name for name in own if not name.startswith(f"{TOLD}/")]
    files = {name: _no_link(concept.folder, name) for name in own if (concept.folder / name).is_file()}
    for file in exports:
        if not file.is_file():
            raise BadDataError(
                f"{file} is no file.", "Export it first, with `booth export`.", code="push.no_file", field="exports"
            )
        if file.name in files or file.name == CARD:
            raise UsageError(
                f"There is a {file.name} already among the files to send.",
                f"Call {file} something else.",
                code="push.name_taken",
                field="exports",
            )
        files[file.name] = file
    if photos is not None:
        if not photos.is_dir():
            raise BadDataError(f"{photos} is no folder of photos.", code="push.no_photos", field="photos")
        found = sorted(p for p in photos.iterdir() if p.is_file())
        files |= {f"{PHOTOS}/{p.name}": _no_link(photos, p.name) for p in found}
    told = None if evaluation is None else read_evaluation(evaluation, concept)
    return Parcel(files, model_card(concept, told))


def push(parcel: Parcel, repository: str, *, public: bool = False) -> str:
    """Upload to a model repository, which is made if it is not there; returns its address.

    Raises NotAvailableError where the Hub cannot be reached or refuses, UsageError where the repository is there
    already and seen by others than was asked for. Nothing is sent then.
    """
    require_name(repository)
    from huggingface_hub import HfApi
    from huggingface_hub.errors import HTTPError  # that of the HTTP library, connections that fail included

    with tempfile.TemporaryDirectory() as work:
        folder = Path(work)
        for name, file in parcel.files.items():
            (folder / name).parent.mkdir(parents=True, exist_ok=True)
            shutil.copyfile(file, folder / name)
        (folder / CARD).write_text(parcel.card, encoding="utf-8")
        try:
            api = HfApi()
            address = api.create_repo(repository, private=not public, exist_ok=True)
            _require_audience(repository, bool(api.model_info(repository).private), public)
            api.upload_folder(repo_id=repository, folder_path=folder, commit_message="Upload with booth")
        except (HTTPError, OSError) as error:
            raise NotAvailableError(
                f"{repository} was not uploaded ({type(error).__name__}).",
                "Sign in with `hf auth login`, check the name and the connection, and try again.",
                code="push.failed",
                field="repository",
            ) from error
    return str(address)


def require_name(repository: str) -> None:
    """UsageError unless it reads OWNER/NAME, in what the Hub takes for such."""
    from huggingface_hub.errors import HFValidationError
    from huggingface_hub.utils import validate_repo_id

    try:
        validate_repo_id(repository)
        sound = repository.count("/") == 1
    except HFValidationError:
        sound = False
    if not sound:
        raise UsageError(
            f"{repository!r} is no repository.",
            "Write OWNER/NAME, such as me/rex, in letters, digits, '-', '_' and '.'.",
            code="repository.invalid",
            field="repository",
        )


def _require_audience(repository: str, private: bool, public: bool) -> None:
    """The Hub leaves a repository that is there as private or public as it is, whatever it is asked for."""
    if private is public:
        raise UsageError(
            f"{repository} is {'private' if private else 'public'} on the Hub, so that nothing was sent.",
            ("Leave out `public`, " if private else "Add `public`, ")
            + "change that in its settings there, or name another repository.",
            code="repository.other_visibility",
            field="public",
        )


def _no_link(folder: Path, name: str) -> Path:
    """The file, if it is in the folder itself: a link could make public what lies elsewhere."""
    if (folder / name).resolve() != folder.resolve() / name:
        raise BadDataError(
            f"{folder / name} is a link.",
            "Put the file itself there, or take it away.",
            code="push.link",
            field="concept",
        )
    return folder / name
