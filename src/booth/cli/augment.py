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
from booth.cli.output import Progress, finish, say
from booth.cli.prove import prove
from booth.cli.workers import Threads, Workers, spread_over
from booth.core.json_values import Json
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
    from booth.config.assignments import parse_assignment
    from booth.config.settings import method_config
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
    recipe = Recipe.model_validate(checked(values))
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

    how: dict[str, Any] = {"tell": say, "listener": Progress(), "on_picture": Counted(per_class)}
    with spread_over(workers, threads) as executor:
        built = build(recipe, out, command=command, **how, executor=executor)
    page = write_report(built)
    count = sum(map(len, built.kept.values()))
    say(f"{count} pictures in {out / 'synthetic'}; with the real ones in {out / 'combined'}. Look at {page}.")
    say(f"Whether they help: {shlex.join(['booth', 'augment', 'prove', str(out)])}")
    finish({"out": str(out), "pictures": count, "report": str(page), **built.record}, [str(out)], as_json)


def nouns(words: list[str]) -> dict[str, Json]:
    """`--class "skin lesion"` for all, `--class df=dermatofibroma` for one."""
    pairs = [word.partition("=") for word in words]
    own = {label.strip(): noun.strip() for label, equals, noun in pairs if equals}
    general = [word for word, equals, _ in pairs if not equals]
    return {"noun": general[-1] if general else None, "nouns": own}


def checked(values: dict[str, Any]) -> dict[str, object]:
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


for verb in (make, prove):
    augment.command()(guarded(verb))
