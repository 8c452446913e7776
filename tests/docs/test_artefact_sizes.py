"""The study of artefact sizes: its page is its result, and its counting is what methods write."""

from __future__ import annotations

import importlib
import json
import sys
from itertools import pairwise
from pathlib import Path
from typing import Any

import pytest

from booth.core.family import Family
from booth.families.loading import EMBEDDED, load_family

ROOT = Path(__file__).parent.parent.parent
sys.path.insert(0, str(ROOT / "benchmarks"))
script, pages, shapes = map(importlib.import_module, ("artefact_sizes", "artefact_page", "published_shapes"))


@pytest.fixture(scope="module")
def result() -> dict[str, Any]:
    return json.loads((ROOT / "results/artefact_sizes.json").read_text())


def test_the_page_is_what_the_result_says(result: dict[str, Any]) -> None:
    page = (ROOT / "docs/studies/artefact-sizes.md").read_text(encoding="utf-8")
    assert page == pages.page(result), "run `python benchmarks/artefact_sizes.py --from RESULT --page PAGE`"


def test_the_result_has_the_order_that_the_page_tells(result: dict[str, Any]) -> None:
    for base in result["bases"]:
        order = [r["method"] for r in pages.by_size(result, base)]
        assert order[:2] == ["textual_inversion", "lokr"]
        assert order[-3:] == ["controlnet", "dreambooth", "two_stage"]
        whole = [r["whole_parameters"] for r in pages.by_size(result, base) if "replaced" in r]
        assert [a < b for a, b in pairwise(whole)] == [True]
    sd15, sdxl = shapes.PUBLISHED
    net, full = pages.find(result, sdxl, "controlnet"), pages.find(result, sdxl, "dreambooth")
    assert pages.find(result, sd15, "dreambooth")["parameters"] < net["parameters"]
    assert net["bytes"]["fp32"] < full["bytes"]["fp16"]


def test_published_figures_are_near(result: dict[str, Any]) -> None:
    for check in result["checks"]:
        allowed = 1000 + 0.04 * check["computed"] if check["unit"] == "bytes" else 0
        assert abs(check["published"] - check["computed"]) <= allowed, check["what"]


@pytest.fixture(scope="module")
def embedded() -> Family:
    return load_family(EMBEDDED)


@pytest.mark.parametrize("name", ["textual_inversion", "lora", "lokr"])
def test_what_is_counted_is_what_is_written(name: str, embedded: Family, tmp_path: Path) -> None:
    row = script.row(name, EMBEDDED, embedded, folder=tmp_path)
    files = list(tmp_path.rglob("*.safetensors"))
    assert row["written"]["tensors"] == row["bytes"]["fp32"] == 4 * row["parameters"]
    assert sum(file.stat().st_size for file in files) == row["bytes"]["fp32"] + row["written"]["headers"]


def test_a_real_size_is_counted_without_its_memory(tmp_path: Path) -> None:
    model = shapes.shapes_of("stable-diffusion-v1-5", tmp_path / "base")
    assert script.row("dreambooth", "sd15", model)["parameters"] == 859_520_964
    assert script.row("textual_inversion", "sd15", model)["parameters"] == 768


@pytest.mark.parametrize(
    ("count", "said"), [(592, "592 B"), (3072, "3.07 kB"), (23_937_024, "23.9 MB"), (5e9, "5.00 GB")]
)
def test_sizes_have_three_digits(count: float, said: str) -> None:
    assert pages.size(count) == said
