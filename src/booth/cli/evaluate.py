"""booth evaluate: what a concept learned, what it cost the model, and what it copied."""

from __future__ import annotations

from pathlib import Path
from typing import Annotated, Any

import typer

from booth.cli.options import AsJson, Device
from booth.cli.output import Progress, finish, say
from booth.registry import ENCODERS, METRICS


def evaluate(
    concepts: Annotated[list[Path], typer.Argument(help="Folders of concepts.", metavar="CONCEPT")],
    photos: Annotated[
        list[Path] | None,
        typer.Option(
            help="Photos of the one subject, or folders; such as were not learned from become the references.",
            metavar="PATH",
            show_default="those that it was taught from",
        ),
    ] = None,
    lookalikes: Annotated[
        list[Path] | None,
        typer.Option(help="Photos of other individuals, best on the same backgrounds.", metavar="PATH"),
    ] = None,
    companions: Annotated[
        list[str] | None,
        typer.Option(
            "--with",
            help="Concept to use together with it, to see whether their subjects bleed; may be repeated.",
            metavar="DIR[:STRENGTH]",
        ),
    ] = None,
    prompts: Annotated[
        Path | None, typer.Option(help="File with one prompt a line, {} for the subject.", metavar="FILE")
    ] = None,
    suite: Annotated[
        str | None, typer.Option(help="DreamBooth's prompts for objects or for live subjects.", metavar="SUITE")
    ] = None,
    seeds: Annotated[int | None, typer.Option(help="Pictures a prompt.", min=1, show_default="4")] = None,
    drift: Annotated[
        int | None, typer.Option(help="Pictures of the class, and of other things.", min=2, show_default="48")
    ] = None,
    guidance: Annotated[
        float | None, typer.Option(help="Classifier-free guidance scale.", show_default="what suits the base")
    ] = None,
    quick: Annotated[bool, typer.Option("--quick", help="A few prompts at two seeds.")] = False,
    encoder: Annotated[
        list[str] | None, typer.Option(help=f"{', '.join(ENCODERS)}; may be repeated.", metavar="NAME")
    ] = None,
    metric: Annotated[
        list[str] | None, typer.Option(help=f"{', '.join(METRICS)}; all if left out.", metavar="NAME")
    ] = None,
    any_class: Annotated[bool, typer.Option("--any-class", help="Do not check what the references show.")] = False,
    out: Annotated[
        Path | None, typer.Option(help="Folder for numbers, page and pictures.", show_default="evaluations/CONCEPT")
    ] = None,
    device: Device = None,
    as_json: AsJson = False,
) -> None:
    """Measure a concept beside the untouched base at the same prompts and seeds; print the page's file.

    Several concepts, of one subject each, are measured one by one; the mean over subjects comes with --json.
    """
    from booth.core.places import require_writable

    require_writable(out or Path("evaluations"))

    from booth.concept import Concept
    from booth.core.errors import UsageError
    from booth.evaluate.pool import pooled
    from booth.evaluate.protocol import make_protocol
    from booth.evaluate.report.files import write_files
    from booth.evaluate.run import evaluate as measure
    from booth.families.quiet import hush
    from booth.generate.concepts import parse_applied
    from booth.train.setup import choose_device

    hush()
    if len(concepts) > 1 and (photos or lookalikes or companions):
        raise UsageError(
            "--photos, --lookalikes and --with go with one concept.",
            "Name one with them.",
            code="concept.one_wanted",
            field="concepts",
        )
    others = [parse_applied(text) for text in companions or []]
    told: list[dict[str, Any]] = []
    progress = Progress()
    loaded = [Concept.load(folder) for folder in concepts]
    folders = _folders(out, [concept.record.name for concept in loaded])
    for taught, folder in zip(loaded, folders, strict=True):
        protocol = make_protocol(
            taught.record.subject.noun,
            kind=taught.record.subject.kind,
            prompts=prompts,
            suite=suite,
            seeds=None if seeds is None else range(seeds),
            drift=drift,
            guidance=guidance,
            quick=quick,
        )
        evaluation = measure(
            taught,
            protocol,
            folder / "pictures",
            photos=photos or [],
            lookalikes=lookalikes or [],
            companions=others,
            encoders=encoder or [],
            metrics=metric or [],
            any_class=any_class,
            device=choose_device(device),
            listeners=[progress],
        )
        progress.close()
        page = write_files(evaluation, folder)
        for verdict in evaluation.verdicts:
            say(verdict.sentence)
        told.append(evaluation.to_json() | {"report": str(page)})
    result = told[0] if len(told) == 1 else {"evaluations": told, "pooled": pooled(told)}
    finish(result, [one["report"] for one in told], as_json)


def _folders(out: Path | None, names: list[str]) -> list[Path]:
    """Where each concept's files go; UsageError where two would share a folder."""
    from booth.core.errors import UsageError

    twice = next((name for name in names if names.count(name) > 1), None)
    if twice is not None:
        raise UsageError(
            f"Two of these concepts are called {twice}.",
            "Evaluate them one by one, each with its own --out.",
            code="concept.same_name",
            field="out",
        )
    if out is not None and len(names) == 1:
        return [out]
    return [(out or Path("evaluations")) / name for name in names]
