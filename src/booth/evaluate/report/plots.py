"""Plots as inline SVG, each with its title and description for those who cannot see it."""

from __future__ import annotations

import math
from collections.abc import Callable, Sequence
from dataclasses import dataclass

from booth.evaluate.report.html import Markup, element, joined

BAR_WIDTH, LEFT, RIGHT, ROW = 400, 96, 64, 26
WIDTH, HEIGHT, MARGIN, LABEL = 480, 320, 56, 120  # of a plane; LABEL is the room for the name of the last point


@dataclass(frozen=True)
class Bar:
    """A value with its interval."""

    label: str
    value: float
    low: float
    high: float


@dataclass(frozen=True)
class Point:
    """A place in a plane."""

    label: str
    x: float
    y: float


def intervals(title: str, bars: Sequence[Bar]) -> Markup:
    """One line a bar: a dot at the value, a whisker over its interval."""
    ends = [v for b in bars for v in (b.value, b.low, b.high) if math.isfinite(v)]
    scale = _scale(min(ends), max(ends), LEFT, BAR_WIDTH - RIGHT)
    parts: list[Markup] = []
    for i, bar in enumerate(bars):
        y = ROW * (i + 1)
        parts.append(_text(LEFT - 10, y + 4, bar.label, "end"))
        if math.isfinite(bar.low) and math.isfinite(bar.high):
            parts.append(_line(scale(bar.low), y, scale(bar.high), y, "var(--a)", 3))
        parts.append(element("circle", cx=f"{scale(bar.value):.1f}", cy=y, r=5, fill="var(--a)"))
        parts.append(_text(BAR_WIDTH - RIGHT + 14, y + 4, f"{bar.value:.3f}", "start"))
    description = "; ".join(f"{b.label}: {b.value:.3f}, {b.low:.3f} to {b.high:.3f}" for b in bars)
    return _svg(title, description, BAR_WIDTH, ROW * (len(bars) + 1), parts)


def histogram(title: str, values: Sequence[float], bins: int = 12) -> Markup:
    """How many values lie in each of `bins` equal parts of their range."""
    low, high = min(values), max(values)
    span = high - low or 1.0
    counts = [0] * bins
    for value in values:
        counts[min(bins - 1, int((value - low) / span * bins))] += 1
    tall, wide = HEIGHT / 2, (BAR_WIDTH - 2 * MARGIN) / bins
    parts: list[Markup] = []
    for i, count in enumerate(counts):
        height = (tall - 40) * count / max(counts)
        shape = {"x": f"{MARGIN + i * wide:.1f}", "y": f"{tall - 24 - height:.1f}", "width": f"{wide - 1:.1f}"}
        parts.append(element("rect", **shape, height=f"{height:.1f}", fill="var(--a)"))
    parts += [
        _text(MARGIN, tall - 8, f"{low:.3g}", "middle"),
        _text(BAR_WIDTH - MARGIN, tall - 8, f"{high:.3g}", "middle"),
    ]
    parts.append(_text(MARGIN - 6, 20, str(max(counts)), "end"))
    told = f"{len(values)} values from {low:.3g} to {high:.3g}, in {bins} equal parts: {', '.join(map(str, counts))}"
    return joined([element("h3", title), _svg(title, told, BAR_WIDTH, round(tall), parts)])


def scatter(
    title: str,
    points: Sequence[Point],
    x_label: str,
    y_label: str,
    front: Sequence[int] = (),
    *,
    shown: Callable[[float], str] = "{:.3g}".format,
) -> Markup:
    """Points with their names; those of the `front` (indices, from left to right) are joined by a line.

    `shown` says what is written at the ends of the horizontal axis.
    """
    parts, x, y = _axes([p.x for p in points], [p.y for p in points], x_label, y_label, shown)
    if len(front) > 1:
        path = " ".join(f"{x(points[i].x):.1f},{y(points[i].y):.1f}" for i in front)
        parts.append(element("polyline", points=path, fill="none", stroke="var(--b)", stroke_width=2))
    for i, point in enumerate(points):
        colour = "var(--b)" if i in front else "var(--a)"
        parts.append(element("circle", cx=f"{x(point.x):.1f}", cy=f"{y(point.y):.1f}", r=5, fill=colour))
        parts.append(_text(x(point.x) + 8, y(point.y) - 6, point.label, "start"))
    description = "; ".join(f"{p.label}: {x_label} {shown(p.x)}, {y_label} {p.y:.3g}" for p in points)
    return _svg(title, description, WIDTH, HEIGHT, parts)


def pareto(points: Sequence[tuple[float, ...]]) -> list[int]:
    """Indices of the points that no other one beats or equals in every coordinate; higher is better in all.

    Of points that are the same, the first one stands.
    """
    kept: list[int] = []
    for i, p in enumerate(points):
        beaten = any(
            all(a >= b for a, b in zip(q, p, strict=True)) and (q != p or j < i) for j, q in enumerate(points) if j != i
        )
        if not beaten:
            kept.append(i)
    return kept


def _axes(xs: Sequence[float], ys: Sequence[float], x_label: str, y_label: str, shown: Callable[[float], str]):
    x = _scale(min(xs), max(xs), MARGIN, WIDTH - LABEL)
    y = _scale(min(ys), max(ys), HEIGHT - MARGIN, 24)
    low, left = HEIGHT - MARGIN + 14, MARGIN - 14
    parts = [
        _line(left, low, WIDTH - 20, low, "var(--line)"),
        _line(left, low, left, 10, "var(--line)"),
        _text((MARGIN + WIDTH) / 2, HEIGHT - 8, x_label, "middle"),
        element(
            "text", y_label, x=14, y=HEIGHT / 2, text_anchor="middle", transform=f"rotate(-90 14 {HEIGHT / 2:.0f})"
        ),
        *(_text(x(v), low + 16, shown(v), "middle") for v in dict.fromkeys((min(xs), max(xs)))),
        *(_text(left - 4, y(v) + 4, f"{v:.2f}", "end") for v in dict.fromkeys((min(ys), max(ys)))),
    ]
    return parts, x, y


def _scale(low: float, high: float, start: float, end: float):
    span = high - low or 1.0
    return lambda value: start + (value - low) / span * (end - start)


def _line(x1: float, y1: float, x2: float, y2: float, colour: str, width: int = 1) -> Markup:
    ends = {"x1": f"{x1:.1f}", "y1": f"{y1:.1f}", "x2": f"{x2:.1f}", "y2": f"{y2:.1f}"}
    return element("line", **ends, stroke=colour, stroke_width=width)


def _text(x: float, y: float, text: str, anchor: str) -> Markup:
    return element("text", text, x=f"{x:.1f}", y=f"{y:.1f}", text_anchor=anchor)


def _svg(title: str, description: str, width: int, height: int, parts: Sequence[Markup]) -> Markup:
    named = [element("title", title), element("desc", description)]
    shape = {"viewBox": f"0 0 {width} {height}", "width": width, "height": height}
    return element("figure", element("svg", joined([*named, *parts]), role="img", aria_label=title, **shape))
