"""report.html of a derived set: what was made of which class, what was left out and why, and pictures side by side."""

from __future__ import annotations

from pathlib import Path

from PIL import Image

from booth.augment.build import Built
from booth.augment.making import Made
from booth.core.commit import committed_file
from booth.core.words import duration, size
from booth.evaluate.report.files import write_whole
from booth.evaluate.report.html import Markup, element, grid, page, picture, table
from booth.generate.sheet import contact_sheet

PAGE, SHEET = "report.html", "sheet.png"
SHOWN = 12
ACROSS = 6  # pictures a row of the contact sheet


def write_report(built: Built) -> Path:
    """Write the page, and a contact sheet of real above drawn; return the page's file."""
    file = built.out / PAGE
    write_whole(file, set_page(built))
    rows, names = list[list[Image.Image]](), list[str]()
    for label, kept in built.kept.items():
        rows += [[p.image() for p in built.real[label][:ACROSS]], [Image.open(m.file) for m in kept[:ACROSS]]]
        names += [f"{label}, real", f"{label}, drawn"]
    with committed_file(built.out / SHEET) as work:
        contact_sheet(rows, names).save(work)
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
    real = next((p for p in built.real[made.label] if p.name == made.nearest), None)
    return [_shown(made), *([picture(real.image(), f"real picture {real.name}", real.name)] if real else [])]
