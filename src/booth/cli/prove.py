"""booth augment prove: whether a classifier gains by the pictures that were made."""

from __future__ import annotations

from pathlib import Path
from typing import TYPE_CHECKING, Annotated, Any

import typer

from booth.cli.options import AsJson, Seed
from booth.cli.output import Progress, finish, say
from booth.cli.workers import Threads, Workers, spread_over

if TYPE_CHECKING:
    from booth.augment.recipe import Recipe


def prove(
    aug: Annotated[Path, typer.Argument(help="The folder that `booth augment` wrote, or a labelled set itself.")],
    out: Annotated[
        Path | None, typer.Option(help="Folder of the proof, in which proof/ comes.", metavar="DIR", show_default="AUG")
    ] = None,
    folds: Annotated[int, typer.Option(help="Outer folds by groups; a given test side is one.", min=2)] = 5,
    seeds: Annotated[int, typer.Option(help="Trainings in each arm of each fold.", min=1)] = 2,
    method: Annotated[
        list[str] | None,
        typer.Option(help="Method that is proved; may be repeated.", metavar="METHOD", show_default="the set's own"),
    ] = None,
    pictures: Annotated[
        list[str] | None,
        typer.Option(help="Pictures of another tool, drawn for each fold; may be repeated.", metavar="NAME=DIR"),
    ] = None,
    classes: Annotated[
        str | None, typer.Option(help="Scarce classes.", metavar="NAMES", show_default="the set's own")
    ] = None,
    shots: Annotated[
        int | None, typer.Option(help="Use so many real pictures of a scarce class beside the test side.", min=2)
    ] = None,
    classifier: Annotated[
        list[str] | None,
        typer.Option(
            help="resnet10, resnet18, efficientnet-lite0 or efficientnet-b0; may be repeated.", metavar="NAME"
        ),
    ] = None,
    ratios: Annotated[str, typer.Option(help="Drawn pictures for each real one.", metavar="NUMBERS")] = "0.5,1,2,5,10",
    strengths: Annotated[
        str | None, typer.Option(help="To choose from.", metavar="NUMBERS", show_default="the set's own")
    ] = None,
    filters: Annotated[str, typer.Option(help="To choose from.", metavar="NAMES")] = "likeness,none",
    steps: Annotated[int, typer.Option(help="Optimiser steps of every arm.", min=1)] = 300,
    batch: Annotated[int, typer.Option(help="Pictures a step.", min=2)] = 16,
    side: Annotated[int, typer.Option(help="Side of a classifier's picture in pixels.", min=32)] = 64,
    seed: Seed = 0,
    workers: Workers = "1",
    threads: Threads = None,
    dry_run: Annotated[bool, typer.Option("--dry-run", help="Print what would be compared; write nothing.")] = False,
    as_json: AsJson = False,
) -> None:
    """Say whether a classifier gains by the pictures, beside the cheap ways and without leaks; print the report."""
    from booth.augment.build import RECORD
    from booth.augment.classifiers import default_classifiers
    from booth.augment.proof.plan import ProofPlan
    from booth.augment.proof.preparation import prepare, read_recipe
    from booth.augment.proof.record import lines
    from booth.augment.proof.run import prove as run
    from booth.core.errors import UsageError
    from booth.families.quiet import hush

    recipe = read_recipe(aug) if (aug / RECORD).is_file() or not pictures else bare(aug)
    if classes:
        recipe = recipe.model_copy(update={"classes": [each.strip() for each in classes.split(",")]})
    own = [] if recipe.method == "placebo" else [recipe.method]
    values: dict[str, Any] = {
        "methods": method or own,
        "pictures": pairs(pictures or []),
        "folds": folds,
        "seeds": seeds,
        "shots": shots,
        "classifiers": classifier or list(default_classifiers()),
        "ratios": numbers(ratios),
        "strengths": numbers(strengths) if strengths else [recipe.strength],
        "filters": [each.strip() for each in filters.split(",")],
        "steps": steps,
        "batch": batch,
        "side": side,
        "seed": seed,
    }
    plan, place = ProofPlan(**values).checked(), out or aug
    if recipe.method == "placebo" and not plan.methods and not plan.pictures:
        raise UsageError(
            "There is nothing to prove: name a --method, or pictures of another tool with --pictures.",
            code="augment.nothing_to_prove",
            field="method",
        )
    hush()
    if dry_run:
        proof = prepare(place, recipe, plan, say)
        arms = ", ".join(plan.arms)
        told = [f"arms      {arms}", f"folds     {len(proof.benches)}", f"contrasts {len(plan.contrasts)}"]
        finish({"dry_run": True, **plan.to_json()}, told, as_json)
        return
    from booth.augment.proof.report import write_report

    with spread_over(workers, threads) as executor:
        proof = run(place, recipe, plan, tell=say, listener=Progress(), executor=executor)
    page = write_report(proof)
    for line in lines(proof):
        say(line)
    finish({"report": str(page), **proof.record}, [str(page)], as_json)


def bare(data: Path) -> Recipe:
    """What is asked of a labelled set of which only pictures from elsewhere are proved."""
    from booth.augment.recipe import Recipe

    values: dict[str, Any] = {"data": data, "method": "placebo"}
    return Recipe(**values)


def numbers(text: str) -> list[float]:
    """`0.5,1,2`; UsageError for what is none."""
    from booth.core.errors import UsageError

    try:
        return [float(each) for each in text.split(",")]
    except ValueError as error:
        raise UsageError(
            f"{text!r} are no numbers.", "Write them with commas, such as 0.5,1,2.", code="number.invalid"
        ) from error


def pairs(words: list[str]) -> dict[str, Path]:
    """`NAME=DIR` as a table; UsageError for another form."""
    from booth.core.errors import UsageError

    found: dict[str, Path] = {}
    for word in words:
        name, equals, folder = word.partition("=")
        if not name or not equals or not folder:
            raise UsageError(
                f"{word!r} does not say which pictures.",
                "Write NAME=DIR, such as sdxl=drawn/.",
                code="pictures.unnamed",
                field="pictures",
            )
        found[name] = Path(folder).expanduser()
    return found
