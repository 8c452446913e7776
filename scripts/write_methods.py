"""Write docs/methods.md and its diagrams from the registry: the five steps, and the gradient's way through them.

Run it after adding or changing a method:

    python scripts/write_methods.py

A test fails while a page or a diagram differs from what this script would write.
"""

from __future__ import annotations

import inspect
import sys
from html import escape
from pathlib import Path

from booth.core.method import Method, MethodConfig, Stage, Subject
from booth.registry import METHODS

FOLDER = Path(__file__).parent.parent / "docs"
STUDIO = "../src/booth/web/static/diagrams"  # from docs/: the studio shows them on its cards
STEPS = ("embed\nthe prompt", "add noise", "predict", "compare", "update")
# The step in which a site's tensors act.
ACTS_IN = {
    **dict.fromkeys(("token_tables", "text_encoders"), 0),
    **dict.fromkeys(("linears", "convolutions", "attention", "cross_attention", "denoiser", "control"), 2),
}
COMPARE, UPDATE = 3, 4
BOX, GAP, HIGH, TOP, LEFT = 132, 44, 62, 34, 8  # pixels
TRAINED, PASSED, QUIET, INK = "#b3541e", "#f6e3d5", "#f4f4f2", "#26251f"

INTRODUCTION = """\
# Methods

<!-- Written by scripts/write_methods.py from the registry; change the code, not this page. -->

Every method runs through the same five steps, which are
[`losses` and `training_steps`](../src/booth/train/loop.py): embed the prompt, add noise at a random timestep, predict,
compare with the target, update. What differs is which tensors receive the gradient, and what is saved.

In the diagrams the gradient starts where prediction and target are compared and runs backwards. A pale step lets it
pass without changing; the dark one holds the tensors that it changes. Steps that are left white never see it, so
whatever they compute can be remembered.
"""


def pages() -> dict[str, str]:
    """Every file by its path under docs/."""
    files = {"methods.md": INTRODUCTION + "".join(section(METHODS[name]) for name in METHODS)}
    for name in METHODS:
        files[f"diagrams/{name}.svg"] = files[f"{STUDIO}/{name}.svg"] = diagram(METHODS[name])
    return files


def section(kind: type[Method]) -> str:
    """One method in the words of its own module."""
    module = inspect.getdoc(sys.modules[kind.__module__]) or ""
    about = [module, inspect.getdoc(kind) or "", inspect.getdoc(kind.Config) or ""]
    if kind.Config is MethodConfig:
        about.pop()
    facts = [
        ["name", f"`--method {kind.name}`"],
        ["receives the gradient", kind.trains],
        ["is saved", ", ".join(kind.files)],
        ["asks the model for", ", ".join(f"`{n}`" for n in kind.needs)],
    ]
    rows = "\n".join(f"| {a} | {b.replace('|', '/')} |" for a, b in facts)
    text = "\n\n".join(paragraph for paragraph in about if paragraph)
    return f"\n## {kind.title}\n\n![{kind.title}](diagrams/{kind.name}.svg)\n\n{text}\n\n| | |\n| --- | --- |\n{rows}\n"


def diagram(kind: type[Method]) -> str:
    """The five steps, once for each stage of the method's plan."""
    stages = kind(kind.Config.model_validate({}), Subject("sks", "dog")).plan()
    row = HIGH + TOP + 56
    width, height = 2 * LEFT + len(STEPS) * BOX + (len(STEPS) - 1) * GAP, row * len(stages)
    drawn = "".join(_stage(stage, row * i, len(stages) > 1) for i, stage in enumerate(stages))
    return (
        f'<svg xmlns="http://www.w3.org/2000/svg" viewBox="0 0 {width} {height}" width="{width}" height="{height}" '
        f'font-family="system-ui, sans-serif" font-size="14" role="img">\n<title>{escape(kind.title)}</title>\n'
        f'<rect width="{width}" height="{height}" fill="#ffffff"/>\n'
        f'<defs><marker id="head" viewBox="0 0 8 8" refX="7" refY="4" markerWidth="7" markerHeight="7" '
        f'orient="auto-start-reverse"><path d="M0 0 8 4 0 8z" fill="context-stroke"/></marker></defs>\n{drawn}</svg>\n'
    )


def _stage(stage: Stage, y: int, named: bool) -> str:
    trained = sorted({ACTS_IN[site] for site in stage.method.needs})
    if named and len(trained) > 1:  # a stage of a plan trains what its own method asks for
        trained = trained[:1]
    first = trained[0]
    parts: list[str] = []
    if named:
        parts.append(_text(LEFT, y + 16, f"stage: {stage.name}", weight="600", anchor="start"))
    for i, label in enumerate(STEPS):
        x = _left(i)
        inside = first <= i <= COMPARE and i != 1
        fill = TRAINED if i in trained else PASSED if inside else QUIET if i == UPDATE else "#ffffff"
        ink = "#ffffff" if i in trained else INK
        parts.append(
            f'<rect x="{x}" y="{y + TOP}" width="{BOX}" height="{HIGH}" rx="8" fill="{fill}" '
            f'stroke="{TRAINED if inside else "#9a988f"}"/>\n'
        )
        lines = f"{i + 1} {label}".split("\n")
        for k, line in enumerate(lines):
            parts.append(_text(x + BOX / 2, y + TOP + HIGH / 2 + 5 + 18 * (k - (len(lines) - 1) / 2), line, ink))
        if i:
            parts.append(_line(x - GAP + 4, y + TOP + 22, x - 4, y + TOP + 22, "#9a988f"))
    below = y + TOP + HIGH + 22
    parts.append(_way(_left(COMPARE) + BOX / 2, _left(first) + BOX / 2, y + TOP + HIGH, below))
    middle = (_left(COMPARE) + _left(first) + BOX) / 2
    parts.append(_text(middle, below + 18, f"gradient to {escape(stage.method.trains)}", TRAINED, size=12))
    return "".join(parts)


def _left(step: int) -> int:
    return LEFT + step * (BOX + GAP)


def _text(
    x: float, y: float, words: str, ink: str = INK, *, weight: str = "400", anchor: str = "middle", size: int = 14
) -> str:
    return (
        f'<text x="{x:g}" y="{y:g}" fill="{ink}" text-anchor="{anchor}" font-weight="{weight}" '
        f'font-size="{size}">{words}</text>\n'
    )


def _line(x1: float, y1: float, x2: float, y2: float, ink: str) -> str:
    return f'<path d="M{x1:g} {y1:g}H{x2:g}" stroke="{ink}" fill="none" marker-end="url(#head)"/>\n'


def _way(start: float, end: float, top: float, below: float) -> str:
    return (
        f'<path d="M{start:g} {top:g}V{below:g}H{end:g}V{top + 3:g}" stroke="{TRAINED}" stroke-width="2.5" fill="none" '
        'marker-end="url(#head)"/>\n'
    )


if __name__ == "__main__":
    for place in ("diagrams", STUDIO):
        (FOLDER / place).mkdir(parents=True, exist_ok=True)
    for name, text in pages().items():
        (FOLDER / name).write_text(text, encoding="utf-8")
