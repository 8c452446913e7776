"""booth augment: more pictures of what is scarce, and the proof whether they help."""

from __future__ import annotations

import shlex
import sys
from pathlib import Path
from typing import Annotated, Any

import typer

from booth.cli.default_verb import DefaultVerb
from booth.cli.guard import guarded
from booth.cli.options import AsJson, Base, Device, Seed
from booth.cli.output import finish, say
from booth.cli.workers import Threads, Workers, spread_over
from booth.core.words import duration, size


class MakeByDefault(DefaultVerb):
    """`booth augment DATA` is `booth augment make DATA`."""

    default = "make"


augment = typer.Typer(
    cls=MakeByDefault,
    help="More pictures of the scarce classes of a labelled set, and the proof whether a classifier gains by them. "
    "`booth augment DATA` is `booth augment make DATA`.",
    no_args_is_help=True,
    pretty_exceptions_enable=False,
)


def column(what: str) -> Any:
    """The option that names a table's column."""
    return typer.Option(help=f"Column of the {what} in a table.", metavar="COLUMN")


def make(
    data: Annotated[Path, typer.Argument(help="A folder with a folder a class, a CSV, or a COCO file or folder.")],
    out: Annotated[Path, typer.Option(help="Folder of the new set.", metavar="DIR")] = Path("aug"),
    classes: Annotated[
        str | None, typer.Option(help="Scarce classes; the measured-weakest if left out.", metavar="NAMES")
    ] = None,
    per_class: Annotated[int, typer.Option(help="Pictures to make of each.", min=1)] = 100,
    method: Annotated[
        str, typer.Option(help="A method that `booth methods` lists, base (untouched) or placebo.", metavar="METHOD")
    ] = "lora",
    together: Annotated[bool, typer.Option("--together", help="One training with a token a class.")] = False,
    noun: Annotated[
        list[str] | None,
        typer.Option("--class", help="What the classes are, or LABEL=NOUN; may be repeated.", metavar="NOUN"),
    ] = None,
    strength: Annotated[
        float, typer.Option(help="How much of a real picture is drawn anew; 1 draws from noise.", min=0.01, max=1)
    ] = 0.7,
    inpaint: Annotated[
        bool, typer.Option("--inpaint", help="Keep what boxes or outlines tell, and draw anew what is around it.")
    ] = False,
    filter_: Annotated[
        str, typer.Option("--filter", help="likeness, classifier or none; copies never pass.", metavar="FILTER")
    ] = "likeness",
    base: Base = None,
    image: Annotated[str | None, column("picture's name")] = None,
    label: Annotated[str | None, column("label")] = None,
    group: Annotated[str | None, column("group")] = None,
    split: Annotated[str | None, column("split")] = None,
    context: Annotated[str | None, column("words on what else is in a picture")] = None,
    images: Annotated[Path | None, typer.Option(help="Where a table's pictures lie.", metavar="DIR")] = None,
    encoder: Annotated[
        str | None, typer.Option(help="What compares pictures; the best one here if left out.", metavar="NAME")
    ] = None,
    licence: Annotated[str | None, typer.Option(help="Licence that the new pictures inherit.", metavar="TEXT")] = None,
    steps: Annotated[int, typer.Option(help="Denoising steps of a picture.", min=1)] = 30,
    guidance: Annotated[float | None, typer.Option(help="Guidance scale.")] = None,
    assignments: Annotated[
        list[str] | None,
        typer.Option("--set", help="A setting of the method, such as steps=200; may be repeated.", metavar="KEY=VALUE"),
    ] = None,
    seed: Seed = 0,
    workers: Workers = "1",
    threads: Threads = None,
    dry_run: Annotated[
        bool, typer.Option("--dry-run", help="Print pictures, minutes and bytes; write nothing.")
    ] = False,
    device: Device = None,
    as_json: AsJson = False,
) -> None:
    """Teach scarce classes to a base, draw new labelled pictures and leave out copies; print the folder of the set."""
    from booth.augment.recipe import Recipe
    from booth.config import method_config, parse_assignment
    from booth.families.quiet import hush
    from booth.registry import METHODS

    columns = {"image": image, "label": label, "group": group, "split": split, "context": context}
    values: dict[str, Any] = {
        "data": data,
        "images": images,
        "columns": {key: value for key, value in columns.items() if value is not None},
        "classes": [each.strip() for each in classes.split(",")] if classes else [],
        "per_class": per_class,
        "method": method,
        "together": together,
        "strength": strength,
        "inpaint": inpaint,
        "filter": filter_,
        "encoder": encoder,
        "licence": licence,
        "steps": steps,
        "guidance": guidance,
        "settings": dict(parse_assignment(each) for each in assignments or []),
        "seed": seed,
        "device": device,
        **nouns(noun or []),
        **({"base": base} if base else {}),
    }
    recipe = Recipe(**checked(values))
    if method not in ("base", "placebo"):
        _ = METHODS[method]
        method_config(method, "full", recipe.settings)
    hush()
    command = shlex.join(["booth", *sys.argv[1:]])
    if dry_run:
        from booth.augment.dry_run import describe

        plan = describe(recipe, out, say)
        finish(plan, _planned(plan), as_json)
        return
    from booth.augment.build import build
    from booth.augment.report import write_report

    how: dict[str, Any] = {"tell": say, "listener": progress_listener(), "on_picture": Counted(per_class)}
    with spread_over(workers, threads) as executor:
        built = build(recipe, out, command=command, **how, executor=executor)
    page = write_report(built)
    count = sum(map(len, built.kept.values()))
    say(f"{count} pictures in {out / 'synthetic'}; with the real ones in {out / 'combined'}. Look at {page}.")
    say(f"Whether they help: {shlex.join(['booth', 'augment', 'prove', str(out)])}")
    finish({"out": str(out), "pictures": count, "report": str(page), **built.record}, [str(out)], as_json)


def nouns(words: list[str]) -> dict[str, Any]:
    """`--class "skin lesion"` for all, `--class df=dermatofibroma` for one."""
    pairs = [word.partition("=") for word in words]
    own = {label.strip(): noun.strip() for label, equals, noun in pairs if equals}
    general = [word for word, equals, _ in pairs if not equals]
    return {"noun": general[-1] if general else None, "nouns": own}


def checked(values: dict[str, Any]) -> dict[str, Any]:
    """The values; UsageError for a filter that there is none of."""
    from booth.augment.recipe import FILTERS
    from booth.core.errors import UsageError

    if values["filter"] not in FILTERS:
        raise UsageError(
            f"There is no filter {values['filter']!r}.",
            f"There are: {', '.join(FILTERS)}.",
            code="filter.unknown",
            field="filter_",
        )
    return values


class Counted:
    """Tells now and then how many pictures of a class are drawn."""

    def __init__(self, total: int) -> None:
        self._total = total

    def __call__(self, label: str, done: int) -> None:
        say(f"{label}: {done} pictures drawn.")


def progress_listener() -> Any:
    """Who hears of the trainings."""
    from booth.cli.output import Progress

    return Progress()


def _planned(plan: dict[str, Any]) -> list[str]:
    classes = plan["classes"]
    told = ", ".join(f"{name} ({v['real']} real)" for name, v in classes.items()) or "the weakest, to be measured"
    return [
        f"classes   {told}",
        f"pictures  {plan['pictures']} in {plan['out']}",
        f"time      about {duration(plan['seconds'])}",
        f"bytes     about {size(plan['bytes'])}",
        *(f"prompt    {prompt}" for prompt in plan["prompts"]),
    ]


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
    from booth.augment.proof.run import lines, prepare, read_recipe
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
        proof = run(place, recipe, plan, tell=say, listener=progress_listener(), executor=executor)
    page = write_report(proof)
    for line in lines(proof):
        say(line)
    finish({"report": str(page), **proof.record}, [str(page)], as_json)


def bare(data: Path) -> Any:
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


for verb in (make, prove):
    augment.command()(guarded(verb))
