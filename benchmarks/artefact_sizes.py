"""How many values each method trains, and how many bytes its artefact takes: on the embedded base and at real sizes.

    python benchmarks/artefact_sizes.py --out results/artefact_sizes.json --page docs/studies/artefact-sizes.md
    python benchmarks/artefact_sizes.py --from results/artefact_sizes.json --page docs/studies/artefact-sizes.md

Each method is attached with its defaults and the tensors that it hands over are counted. On the embedded base it also
writes its files, which must hold as many bytes. Nothing is downloaded, and 1 GB of memory is enough for all.
"""

from __future__ import annotations

import argparse
import filecmp
import json
import subprocess
import sys
import tempfile
from contextlib import nullcontext
from dataclasses import asdict, dataclass
from pathlib import Path
from typing import Any

import torch

from artefact_page import find, page
from booth import __version__
from booth.core.commit import package_versions
from booth.core.errors import BoothError
from booth.core.family import Family
from booth.core.method import Method, Subject
from booth.families.loading import EMBEDDED, load_family
from booth.registry import METHODS
from published_shapes import FIGURES, PUBLISHED, Figure, shapes_of

SUBJECT = Subject("sks", "dog")
SD15, SDXL = PUBLISHED
FP32 = 4  # bytes a value
# Settings that press from below on the largest and from above on the smallest, and those of published files.
VARIANTS: tuple[tuple[str, str, dict[str, Any]], ...] = (
    (SD15, "textual_inversion", {"vectors": 64}),
    (SD15, "lokr", {"rank": 1, "blocks": r"^down_blocks\.0\.attentions\.0\..*attn1\.to_v"}),
    (SD15, "lora", {"rank": 1, "targets": ("attention",)}),
    (SD15, "lora", {"rank": 4, "targets": ("attention",)}),
    (SD15, "lora", {"rank": 128}),
    (SD15, "two_stage", {"second": "lora"}),
    (SD15, "hypernetwork", {"widths": (768,)}),
    (SD15, "controlnet", {"middle_attention": False}),
    (SD15, "dreambooth", {"train_text_encoder": True}),
    (SDXL, "lokr", {"rank": 1, "blocks": r"^down_blocks\.1\.attentions\.0\.transformer_blocks\.0\.attn1\.to_v"}),
    (SDXL, "dreambooth", {"train_text_encoder": True}),
)


@dataclass(frozen=True)
class Written:
    """What lies in the safetensors files that a method wrote, in bytes."""

    tensors: int
    headers: int
    copied: int  # whole files of the base, headers included


def row(name: str, base: str, model: Family, *, folder: Path | None = None, **settings: Any) -> dict[str, Any]:
    """One method's counts; with `folder`, also of what it writes there. `whole` where a part of the base is replaced.

    AssertionError if the files hold anything else than was counted.
    """
    kind = METHODS[name]
    told: dict[str, Any] = {"base": base, "method": name, "title": kind.title}
    method: Method = kind(kind.Config.model_validate(kind.defaults(model.scale) | settings), SUBJECT)
    plan = [stage.method for stage in method.plan()]
    parts = dict(model.components())
    shapes_only = any(p.is_meta for part in parts.values() for p in part.parameters())
    # A new token starts from numbers, and there are none on the meta device.
    with torch.device("meta") if shapes_only and "token_tables" not in kind.needs else nullcontext():
        try:
            groups = [group for stage in plan for group in stage.attach(model, seed=0)]
            trained = {id(p): p.numel() for group in groups for p in group.parameters.values()}
            base_values = {id(p): p.numel() for part in parts.values() for p in part.parameters()}
            replaced = [n for n, part in parts.items() if all(id(p) in trained for p in part.parameters())]
            written = _written(plan, model, folder) if folder else None
        except BoothError as error:
            return told | {"why_not": str(error)}
        finally:
            for stage in reversed(plan):
                stage.detach(model)
    count = sum(trained.values())
    told |= {"settings": method.config.model_dump(mode="json"), "parameters": count, "bytes": _bytes(count)}
    if replaced:
        whole = sum((base_values | trained).values())
        told |= {"replaced": replaced, "whole_parameters": whole, "whole_bytes": _bytes(whole)}
    if written:
        assert written.tensors == FP32 * count, f"{name} wrote {written.tensors} bytes, {FP32 * count} were counted"
        told["written"] = asdict(written)
    return told


def _written(plan: list[Method], model: Family, folder: Path) -> Written:
    for stage in plan:
        stage.write(model, folder)
    tensors = headers = copied = 0
    for file in folder.rglob("*.safetensors"):
        size, original = file.stat().st_size, model.base / file.relative_to(folder)
        if original.is_file() and filecmp.cmp(file, original, shallow=False):
            copied += size
            continue
        with file.open("rb") as stream:
            header = 8 + int.from_bytes(stream.read(8), "little")  # the length, and as many bytes of JSON
        headers += header
        tensors += size - header
    return Written(tensors, headers, copied)


def _bytes(values: int) -> dict[str, int]:
    return {"fp32": FP32 * values, "fp16": FP32 // 2 * values}


def study() -> dict[str, Any]:
    """Every method on every base, and the variants."""
    bases: dict[str, Any] = {}
    rows: list[dict[str, Any]] = []
    variants: list[dict[str, Any]] = []
    with tempfile.TemporaryDirectory() as work:
        for base in (EMBEDDED, *PUBLISHED):
            real = base == EMBEDDED
            model = load_family(EMBEDDED) if real else shapes_of(base, Path(work) / base)
            bases[base] = {
                "family": model.name,
                "scale": model.scale,
                "weights": "read and written" if real else "shapes only, on the meta device",
                "parameters": {n: sum(p.numel() for p in part.parameters()) for n, part in model.components().items()},
            }
            for name in METHODS:
                with tempfile.TemporaryDirectory() as folder:
                    rows.append(row(name, base, model, folder=Path(folder) if real else None))
                print(base, name, rows[-1].get("parameters", rows[-1].get("why_not")), flush=True)
            for _, name, settings in (v for v in VARIANTS if v[0] == base):
                found = row(name, base, model, **settings)
                variants.append(found | {"settings": {key: found["settings"][key] for key in settings}})
    about = {"booth": __version__, **_revision(), "versions": package_versions()}
    about["subject"] = {"token": SUBJECT.token, "noun": SUBJECT.noun}
    result = about | {"bases": bases, "rows": rows, "variants": variants}
    return result | {"checks": [_check(figure, result) for figure in FIGURES]}


def _check(figure: Figure, result: dict[str, Any]) -> dict[str, Any]:
    """A published figure beside what is counted here."""
    found = find(result, figure.base, figure.method, **figure.settings)
    told = {"what": figure.what, "published": figure.published, "source": figure.source}
    if figure.unit == "values":
        return told | {"unit": "values", "computed": found["parameters"]}
    return told | {"unit": "bytes", "computed": found["bytes"][figure.unit]}


def _revision() -> dict[str, Any]:
    here = ["git", "-C", str(Path(__file__).parent.parent)]
    commit = subprocess.run([*here, "rev-parse", "HEAD"], capture_output=True, text=True, check=True).stdout.strip()
    changed = subprocess.run([*here, "status", "--porcelain", "src"], capture_output=True, text=True, check=True)
    return {"commit": commit, "dirty": bool(changed.stdout.strip())}


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--from", dest="known", type=Path, help="write the page of this result instead of counting")
    parser.add_argument("--out", type=Path)
    parser.add_argument("--page", type=Path)
    options = parser.parse_args()
    result = json.loads(options.known.read_text()) if options.known else study()
    if options.out:
        options.out.write_text(json.dumps(result, indent=1) + "\n")
    if options.page:
        options.page.parent.mkdir(parents=True, exist_ok=True)
        options.page.write_text(page(result), encoding="utf-8")


if __name__ == "__main__":
    sys.exit(main())
