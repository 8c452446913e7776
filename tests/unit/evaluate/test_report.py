"""The parts of a page."""

from __future__ import annotations

import math
from xml.etree import ElementTree

from PIL import Image

from booth.evaluate.measure import label_of
from booth.evaluate.report.html import element, page, picture, table, two_lines
from booth.evaluate.report.plots import Bar, Point, intervals, pareto, scatter
from booth.registry import METRICS


def test_text_is_escaped_once_everywhere() -> None:
    shown = page("<b>", element("p", "a & b", class_='"'), table("<c>", ["", "<h>"], [["<r>", "<td>"]]))
    assert "<b>" not in shown.replace("<body>", "")
    assert "&amp;amp;" not in shown
    assert "a &amp; b" in shown
    assert "<td>&lt;td&gt;</td>" in shown
    assert shown.count("&lt;b&gt;") == 2  # title and heading


def test_a_second_line_is_smaller_and_may_be_missing() -> None:
    assert two_lines("0.5 <", "[0, 1]") == '0.5 &lt;<span class="small">[0, 1]</span>'
    assert two_lines("5", "") == "5"
    assert "<td>0.5<span" in table("c", ["", "h"], [["r", two_lines("0.5", "[0, 1]")]])


def test_numbers_are_told_in_words() -> None:
    cost = METRICS["cost"]
    assert [cost.shown(*told) for told in ((110.2, "seconds"), (3.2e6, "bytes"), (1.2e9, "peak_memory_bytes"))] == [
        "1 min 50 s",
        "3.2 MB",
        "1.2 GB",
    ]
    assert METRICS["joint"].shown(0.25, "") == "0.250"
    titles = {"prompt_similarity": "CLIP-T", "subject_similarity": "DINO"}
    told = [("prompt_similarity", "token_kept"), ("subject_similarity", ""), ("cost", "bytes"), ("accuracy", "scene")]
    assert [label_of(*one, titles) for one in told] == [
        "CLIP-T, token kept",
        "DINO",
        "size of the file",
        "what was asked for, scene",
    ]


def test_a_page_needs_nothing_from_elsewhere() -> None:
    shown = page("x", picture(Image.new("RGB", (300, 200)), "a dog", "below"), intervals("t", [Bar("a", 1, 0, 2)]))
    assert 'alt="a dog"' in shown
    assert "http" not in shown.replace("http-equiv", "")
    assert "<script" not in shown
    assert "data:image/webp;base64," in shown
    assert 'width="112" height="75"' in shown


def test_plots_are_well_formed_and_told_in_words() -> None:
    bars = intervals("Identity & co", [Bar("a <b>", 0.5, 0.25, 0.75), Bar("c", 1.0, math.nan, math.nan)])
    root = ElementTree.fromstring(bars)
    svg = root.find("svg")
    assert svg is not None
    assert svg.get("role") == "img"
    assert svg.findtext("title") == "Identity & co"
    assert "a <b>: 0.500, 0.250 to 0.750" in (svg.findtext("desc") or "")
    assert len(svg.findall("circle")) == 2
    assert len(svg.findall("line")) == 1
    left, right = (float(svg.find("line").get(x)) for x in ("x1", "x2"))  # type: ignore[union-attr, arg-type]
    middle = float(svg.find("circle").get("cx"))  # type: ignore[union-attr, arg-type]
    assert math.isclose(middle, (left + right) / 2, abs_tol=0.2)


def test_the_front_is_drawn_through_what_nothing_beats() -> None:
    points = [Point("a", 1, 1), Point("b", 2, 3), Point("c", 3, 2), Point("d", 4, 4)]
    front = pareto([(-p.x, p.y) for p in points])
    assert front == [0, 1, 3]
    assert pareto([(1.0, 1.0), (1.0, 1.0), (0.0, 2.0)]) == [0, 2]
    svg = ElementTree.fromstring(scatter("s", points, "seconds", "identity", front)).find("svg")
    assert svg is not None
    assert len((svg.find("polyline").get("points") or "").split()) == 3  # type: ignore[union-attr]
