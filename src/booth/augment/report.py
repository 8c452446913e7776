"""report.html of a derived set: what was made of which class, what was left out and why, and pictures side by side."""

from __future__ import annotations

from pathlib import Path

from PIL import Image

from booth.augment.build import Built
from booth.augment.making import Made
from booth.core.words import duration, size
from booth.evaluate.report.files import write_whole
from booth.evaluate.report.html import Markup, element, grid, page, picture, table

PAGE = "report.html"
SHOWN = 12


def write_report(built: Built) -> Path:
    """Write the page; return its file."""
    file = built.out / PAGE
    write_whole(file, set_page(built))
    return file


def set_page(built: Built) -> str:
    """The whole page."""
    record = built.record
    parts: list[Markup] = []
    for label in built.wanted:
        parts += _class(built, label)
    told = (
        f"{record['pictures']} pictures by {record['recipe']['method']} on {record['recipe']['base']}, in "
        f"{duration(record['seconds'])} and {size(record['bytes'])}. Compared with {record['encoder']['title']}."
    )
    return page(
        "More pictures of what is scarce",
        element("p", told, class_="soft"),
        element(
            "p", "Whether a classifier gains by them is not said here: `booth augment prove` says it.", class_="soft"
        ),
        _numbers(built),
        *parts,
        element("h2", "The command"),
        element("pre", record["command"]),
        element("p", f"Licence that is inherited: {record['recipe']['licence'] or 'none was named'}."),
    )


def _numbers(built: Built) -> Markup:
    told = ("copies", "above_floor", "outliers", "disagreed", "left_out")
    rows: list[list[str]] = []
    for label, share in built.record["shares"].items():
        percent = [f"{share[key]:.0%}" if key in share else "" for key in told]
        rows.append([label, str(len(built.kept[label])), str(share["drawn"]), *percent])
    header = ["class", "kept", "drawn", "copies", "above the floor", "outliers", "called otherwise", "left out"]
    caption = (
        "Above the floor: nearer to a photo that was learned from than 95 % of real pictures are to one of "
        "another group, "
        "so that 5 % are expected. Copies are nearer than any real picture is, and laid out alike; none is in the set."
    )
    return table(caption, header, rows)


def _class(built: Built, label: str) -> list[Markup]:
    drawn, kept = built.drawn[label], built.kept[label]
    left = [m for m in drawn if not m.passes(built.record["recipe"]["filter"])]
    nearest = sorted(drawn, key=lambda m: -m.likeness)[: SHOWN // 2]
    parts = [element("h2", label), element("h3", "Kept"), grid(_shown(m) for m in kept[:SHOWN])]
    if left:
        parts += [element("h3", "Left out"), grid(_shown(m, why=True) for m in left[:SHOWN])]
    parts += [element("h3", "Drawn, beside the nearest real picture"), grid(grid(_pair(built, m)) for m in nearest)]
    return parts


def _shown(made: Made, why: bool = False) -> Markup:
    return picture(
        Image.open(made.file), f"{made.label}: {made.prompt}", _reason(made) if why else f"{made.likeness:.2f}"
    )


def _reason(made: Made) -> str:
    if made.is_copy:
        return f"a copy of {made.nearest}"
    if made.is_outlier:
        return "far from all real ones"
    return "called another class"


def _pair(built: Built, made: Made) -> list[Markup]:
    data = Path(built.record["recipe"]["data"])
    root = Path(built.record["recipe"]["images"] or (data if data.is_dir() else data.parent))
    pictures = [_shown(made)]
    if (root / made.nearest).is_file():
        pictures.append(picture(Image.open(root / made.nearest), f"real picture {made.nearest}", made.nearest))
    return pictures
