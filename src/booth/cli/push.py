"""booth push: a concept to the Hub."""

from __future__ import annotations

from pathlib import Path
from typing import Annotated

import typer

from booth.cli.options import AsJson
from booth.cli.output import finish, say
from booth.core.words import size


def push(
    concept: Annotated[Path, typer.Argument(help="Folder of a concept.", metavar="CONCEPT")],
    repository: Annotated[str, typer.Argument(help="Model repository, as in me/rex.", metavar="OWNER/NAME")],
    exports: Annotated[
        list[Path] | None,
        typer.Option("--file", help="An exported file to take along; may be repeated.", metavar="FILE"),
    ] = None,
    photos: Annotated[
        Path | None, typer.Option(help="Folder of photos to publish too; left out, none are.", metavar="DIR")
    ] = None,
    evaluation: Annotated[
        Path | None,
        typer.Option(help="evaluation.json of `booth evaluate`, whose numbers go on the card.", metavar="FILE"),
    ] = None,
    public: Annotated[bool, typer.Option("--public", help="Let everyone see it; private if left out.")] = False,
    dry_run: Annotated[bool, typer.Option("--dry-run", help="Show what would go, and the card; send nothing.")] = False,
    as_json: AsJson = False,
) -> None:
    """Upload CONCEPT with a model card to a repository on the Hub; print its address."""
    from booth.concept import Concept
    from booth.hub.push import CARD, pack, require_name
    from booth.hub.push import push as upload

    require_name(repository)
    parcel = pack(Concept.load(concept), exports or [], photos, evaluation)
    told = {"repository": repository, "private": not public, "bytes": parcel.bytes, "files": [*parcel.files, CARD]}
    if dry_run:
        say(f"Nothing was sent. To {repository}, {'public' if public else 'private'}, {size(parcel.bytes)}:")
        finish(told | {"card": parcel.card, "sent": False}, [*told["files"], "", parcel.card], as_json)
        return
    address = upload(parcel, repository, public=public)
    finish(told | {"address": address, "sent": True}, [address], as_json)
