"""booth bench: how fast this machine teaches and draws."""

from __future__ import annotations

from pathlib import Path
from typing import Annotated

import typer

from booth.cli.options import AsJson, Base, Device, Precision
from booth.cli.output import finish, say, table
from booth.registry import METHODS


def bench(
    base: Base = None,
    shape: Annotated[
        str | None,
        typer.Option(
            help="In place of a base: random weights in the shape of a published one, stable-diffusion-v1-5 or "
            "stable-diffusion-xl-base-1.0.",
            metavar="NAME",
        ),
    ] = None,
    methods: Annotated[
        list[str] | None,
        typer.Option(
            "--method", help=f"{', '.join(METHODS)}; may be repeated.", metavar="METHOD", show_default="all that fit"
        ),
    ] = None,
    steps: Annotated[int, typer.Option(help="Steps that are timed, of each method.", min=1)] = 8,
    assignments: Annotated[
        list[str] | None,
        typer.Option("--set", help="A setting, such as batch_size=1; may be repeated.", metavar="KEY=VALUE"),
    ] = None,
    out: Annotated[
        Path | None, typer.Option(help="Folder that the measurement is kept in, such as results/bench.", metavar="DIR")
    ] = None,
    check: Annotated[
        Path | None,
        typer.Option(
            help="Folder whose peers.json says what other programs need here; over its limit it ends with 1.",
            metavar="DIR",
        ),
    ] = None,
    no_drawing: Annotated[bool, typer.Option("--no-drawing", help="Draw nothing.")] = False,
    device: Device = None,
    precision: Precision = None,
    as_json: AsJson = False,
) -> None:
    """Measure what a step of each method costs here, and how long it takes to begin and to draw; keep nothing."""
    from booth.config.assignments import parse_assignment
    from booth.core.errors import UsageError

    if base is not None and shape is not None:
        raise UsageError(
            "`base` and `shape` are two bases.", "Name one of them.", code="bench.two_bases", field="shape"
        )
    settings = dict(parse_assignment(text) for text in assignments or [])

    from booth.bench.measure import bench as measure
    from booth.bench.report import about, beside, line, read_peers, rows, save
    from booth.families.quiet import hush
    from booth.train.setup import choose_device

    hush()
    peers = read_peers(check) if check is not None else []
    measured = measure(
        base or "embedded",
        shape=shape,
        methods=methods or (),
        steps=steps,
        settings=settings,
        device=choose_device(device),
        precision=precision,
        draws=not no_drawing,
        tell=say,
    )
    if out is not None:
        say(f"Kept in {save(measured, out)}.")
    verdicts = beside(measured, peers)
    for verdict in verdicts:
        say(verdict.told)
    if check is not None and not verdicts:
        say(f"{check} says of no other program what it needs on this machine ({measured.name}).")
    values = measured.to_json() | {"beside": [{"told": v.told, "ratio": v.ratio, "passed": v.passed} for v in verdicts]}
    finish(values, [*about(measured), "", *table(rows(measured)), "", line(measured)], as_json)
    if not all(verdict.passed for verdict in verdicts):
        raise typer.Exit(1)
