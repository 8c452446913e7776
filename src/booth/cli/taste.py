"""booth taste: the blind test."""

from __future__ import annotations

from pathlib import Path
from typing import Annotated

import typer

from booth.cli.options import AsJson, Seed
from booth.cli.output import finish, say, table

ANSWERS = {"l": 0, "left": 0, "r": 1, "right": 1, "=": None, "same": None}


def taste(
    race: Annotated[Path, typer.Argument(help="Folder of a race.", metavar="RACE")] = Path("race"),
    pairs: Annotated[int, typer.Option(help="Pairs to judge now.", min=0)] = 12,
    seed: Seed = 0,
    as_json: AsJson = False,
) -> None:
    """Judge pairs of pictures without knowing whose they are; print the ranks. Earlier answers count too.

    Each pair is one picture file; answer l, r, = (the same) or q (enough).
    """
    from booth.compare.summary import summarise
    from booth.compare.taste import SHEET, Choice, read_choices, show, write_choices
    from booth.compare.taste import pairs as draw_pairs

    summary = summarise(race)
    choices = read_choices(race)
    photos = sorted((race / "photos").glob("*.png"))
    for pair in draw_pairs(summary, pairs, seed + len(choices)):
        say(f"{show(pair, photos, race / SHEET)}: which one is the subject, as in {pair.prompt!r}?")
        answer = ""
        while answer not in (*ANSWERS, "q"):
            answer = typer.prompt("l, r, = or q", err=True).strip().lower()
        if answer == "q":
            break
        side = ANSWERS[answer]
        choices.append(Choice(pair.left, pair.right, None if side is None else (pair.left, pair.right)[side]))
        write_choices(race, choices, summary)
    told = write_choices(race, choices, summary)
    rows = [[r["method"], f"{r['value']:.2f}", f"[{r['low']:.2f}, {r['high']:.2f}]"] for r in told["ranks"]]
    lines = table([["method", "wins against the average", "95 %"], *rows])
    finish(told, [*lines, *told["disagreements"]], as_json)
