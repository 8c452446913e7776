"""The parts of a page. Text is escaped here and nowhere else; `Markup` has been through it."""

from __future__ import annotations

import base64
import html
import io
from collections.abc import Iterable, Sequence

from PIL import Image

THUMB = 112  # pixels of a picture's side
STYLE = """
:root { color-scheme: light dark; --ink: #1d2430; --soft: #5b6675; --line: #d5dae1; --paper: #fff; --mark: #eaf3ec;
  --good: #1d6b3a; --bad: #a03123; --a: #2b5fa8; --b: #b05f14; }
@media (prefers-color-scheme: dark) { :root { --ink: #e6e9ee; --soft: #a3adba; --line: #3a424e; --paper: #161a20;
  --mark: #1f3327; --good: #7fce9b; --bad: #f09a8c; --a: #8ab4f0; --b: #f0b070; } }
body { font: 16px/1.5 system-ui, sans-serif; color: var(--ink); background: var(--paper); max-width: 70rem;
  margin: 0 auto; padding: 1.5rem; overflow-wrap: break-word; }
h1 { font-size: 1.7rem; } h2 { font-size: 1.25rem; margin-top: 2.2rem; border-bottom: 1px solid var(--line); }
h3 { font-size: 1rem; margin: 1.4rem 0 .3rem; }
.soft { color: var(--soft); } .good { color: var(--good); } .bad { color: var(--bad); }
.small { display: block; font-size: .8rem; line-height: 18px; font-weight: 400; color: var(--soft);
  white-space: nowrap; }
.wide { overflow-x: auto; margin: .5rem 0 1rem; } table { border-collapse: separate; border-spacing: 0; }
th, td { padding: 5px 11px; line-height: 22px; border-bottom: 1px solid var(--line); text-align: right;
  vertical-align: top; }
thead th { vertical-align: bottom; min-width: 5.5rem; }
th:first-child { text-align: left; position: sticky; left: 0; background: var(--paper); min-width: 7rem; }
tbody th { font-weight: 600; } .words th, .words td { text-align: left; }
td.best { background: var(--mark); font-weight: 600; }
figure { margin: 0; } figcaption { font-size: .8rem; line-height: 1.3; color: var(--soft); }
.grid { display: flex; flex-wrap: wrap; gap: .6rem; margin: .5rem 0; } .grid img { display: block; border-radius: 3px; }
.grid figure { width: 112px; } .grid .grid { margin: 0 1rem 0 0; }
.plots { display: flex; flex-wrap: wrap; gap: 0 2.5rem; } .plots > * { max-width: 100%; }
.verdict { border-left: .3rem solid; padding: .1rem .8rem; margin: .7rem 0; }
svg { max-width: 100%; height: auto; } svg text { fill: var(--ink); font: 13px system-ui, sans-serif; }
details { margin: .6rem 0; } summary { cursor: pointer; }
@media (max-width: 40rem) { body { padding: 1rem; } th, td { padding: 5px 7px; font-size: .9rem; }
  th:first-child { max-width: 10rem; font-size: .85rem; } }
"""


class Markup(str):
    """Text that is HTML already."""


def escaped(text: object) -> Markup:
    """The text as HTML; Markup stays as it is."""
    return text if isinstance(text, Markup) else Markup(html.escape(str(text)))


def element(tag: str, *content: object, **attributes: object) -> Markup:
    """<tag attributes>content</tag>; `class_` is class, and an underscore is a hyphen."""
    named = "".join(
        f' {name.rstrip("_").replace("_", "-")}="{html.escape(str(value))}"' for name, value in attributes.items()
    )
    return Markup(f"<{tag}{named}>{''.join(map(escaped, content))}</{tag}>")


def joined(parts: Iterable[object], between: str = "\n") -> Markup:
    """Parts one after the other."""
    return Markup(between.join(map(escaped, parts)))


def table(caption: str, header: Sequence[object], rows: Sequence[Sequence[object]], *, words: bool = False) -> Markup:
    """A table whose first column names its rows; a cell that is a Markup <td> is taken as it is.

    Numbers are set to the right, and `words` to the left. The caption stands before it, because a wide table is
    scrolled and its caption would be cut off.
    """
    head = element("tr", *(element("th", cell, scope="col") for cell in header))
    body = [element("tr", element("th", row[0], scope="row"), *map(_cell, row[1:])) for row in rows]
    whole = element("table", element("thead", head), element("tbody", *body), aria_label=caption)
    return joined(
        [element("p", caption, class_="soft"), element("div", whole, class_="wide words" if words else "wide")]
    )


def _cell(cell: object) -> Markup:
    return cell if isinstance(cell, Markup) and cell.startswith("<td") else element("td", cell)


def picture(image: Image.Image, alt: str, caption: str = "") -> Markup:
    """A small copy of the picture within the page."""
    small = image.convert("RGB")
    small.thumbnail((THUMB, THUMB), Image.Resampling.LANCZOS)
    stream = io.BytesIO()
    small.save(stream, "WEBP", quality=85)
    data = base64.b64encode(stream.getvalue()).decode()
    size = THUMB / max(small.size)
    shape = f'width="{round(small.width * size)}" height="{round(small.height * size)}"'
    shown = Markup(f'<img src="data:image/webp;base64,{data}" alt="{html.escape(alt)}" {shape}>')
    return element("figure", shown, element("figcaption", caption) if caption else "")


def grid(pictures: Iterable[Markup]) -> Markup:
    """Pictures side by side."""
    return element("div", *pictures, class_="grid")


def side_by_side(parts: Iterable[Markup]) -> Markup:
    """Plots in a row where there is room, else one below the other."""
    return element("div", *parts, class_="plots")


def two_lines(first: object, second: object) -> Markup:
    """A line and, if there is a second, that one smaller below it."""
    return joined([first, element("span", second, class_="small") if second else ""], "")


def page(title: str, *body: object) -> str:
    """The whole document."""
    head = joined(
        [
            Markup('<meta charset="utf-8"><meta name="viewport" content="width=device-width, initial-scale=1">'),
            element("title", title),
            Markup(f"<style>{STYLE}</style>"),
        ]
    )
    whole = element(
        "html", element("head", head), element("body", element("main", element("h1", title), *body)), lang="en"
    )
    return f"<!doctype html>\n{whole}\n"
