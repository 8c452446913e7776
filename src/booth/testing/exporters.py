"""What every export format holds to, on a base of a family that it is known for."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import fields
from pathlib import Path
from typing import Any

import torch
from safetensors.torch import load_file, save_file
from torch import Tensor

from booth.concept import Concept
from booth.core.errors import BoothError, UsageError
from booth.core.method import Subject
from booth.export.base_files import BaseFiles
from booth.export.component_files import component_tensors
from booth.export.exporter import Exporter, Job
from booth.export.layer import Layer
from booth.export.parts import Parts, parts_of
from booth.export.run import export
from booth.families.recognition import recognise
from booth.importing.fit import EMBEDDING
from booth.importing.new_concept import write_concept
from booth.registry import EXPORTERS, FAMILIES

RANK = 3
TAUGHT = frozenset({"layers", "rows", "weights"})  # of the kinds of parts, those that are made up here


def says_what_it_is(kind: type[Exporter], base: Path, folder: Path) -> None:
    """Names, programs, the kinds of parts that it takes and the families that it is known for are there and known."""
    assert kind.name, "name is empty"
    assert kind.title, "title is empty"
    assert kind.programs, "programs does not say who reads it"
    unknown = kind.accepts - {field.name for field in fields(Parts)}
    assert kind.accepts, "accepts says of no kind of parts that it takes it"
    assert not unknown, f"accepts names {', '.join(sorted(unknown))}, which no concept has"
    strangers = [name for name in kind.families if name not in FAMILIES]
    assert not strangers, f"families names {', '.join(strangers)}, which are none"
    assert not kind.suffix or kind.suffix.startswith("."), "suffix does not begin with a dot"


def is_read_back(kind: type[Exporter], base: Path, folder: Path) -> None:
    """What it takes is written, and by the reading of the target it is what was trained."""
    concept = _taught(kind, base, folder / "concept")
    try:
        check = export(concept, _called(kind), folder / f"file{kind.suffix}", lossy=True).check
    except BoothError as error:
        raise AssertionError(f"it cannot be written: {error}") from error
    assert check.matched > 0, "the proof found nothing that the target takes"
    assert not check.unmatched, f"the target would leave {check.unmatched[0]} unread"
    assert not check.missing, f"the target would look for {check.missing[0]} in vain"
    assert check.passed, f"the target would see another change: {check.difference:.2g} of the largest value"


def proves_what_it_writes(kind: type[Exporter], base: Path, folder: Path) -> None:
    """A file in which a number is another one does not pass the proof, and neither does one that lacks a tensor."""
    if kind.suffix != ".safetensors":
        return
    concept, file = _taught(kind, base, folder / "concept"), folder / "file.safetensors"
    export(concept, _called(kind), file, lossy=True)
    exporter, parts = kind(), parts_of(concept.folder, concept.record)
    job = Job(concept.folder, concept.record, parts, BaseFiles(base))
    whole = load_file(file)
    name = max((n for n, t in whole.items() if t.is_floating_point()), key=lambda n: whole[n].numel())
    wrong = {**whole, name: whole[name] + 1}
    lacking = {n: t for n, t in whole.items() if n != name}
    for told, tensors in (("has other numbers in", wrong), ("lacks", lacking)):
        save_file(tensors, file)
        assert not _passes(exporter, job, file), f"a file that {told} {name} passes the proof"


def writes_the_same_twice(kind: type[Exporter], base: Path, folder: Path) -> None:
    """Nothing but the concept decides a byte of a file; `booth.core.tensor_files` writes so."""
    concept = _taught(kind, base, folder / "concept")
    first, second = (folder / place / f"file{kind.suffix}" for place in ("a", "b"))
    for file in (first, second):
        export(concept, _called(kind), file, lossy=True)
    for file in (f for f in (first, *first.rglob("*")) if f.is_file()):
        twin = second / file.relative_to(first)
        assert file.read_bytes() == twin.read_bytes(), f"{file.name} is another file when it is written again"


def refuses_what_it_cannot_hold(kind: type[Exporter], base: Path, folder: Path) -> None:
    """A concept without anything that it takes is refused with a UsageError, and nothing is written."""
    other = next((kinds for kinds in ({"layers"}, {"rows"}) if not kinds & kind.accepts), None)
    if other is None:
        return
    concept, file = _concept(frozenset(other), base, folder / "concept"), folder / f"file{kind.suffix}"
    try:
        export(concept, _called(kind), file)
    except UsageError:
        assert not file.exists(), "it refused the concept and wrote a file"
        return
    raise AssertionError(f"a concept that holds {', '.join(other)} alone is not refused")


def _called(kind: type[Exporter]) -> str:
    """The name under which it is chosen, or its module's where it is not registered."""
    known = kind.name in EXPORTERS and EXPORTERS[kind.name] is kind
    return kind.name if known else f"{kind.__module__}:{kind.__qualname__}"


def _passes(exporter: Exporter, job: Job, file: Path) -> bool:
    try:
        return exporter.check(job, file).passed
    except (BoothError, KeyError, ValueError):  # which are no proof either
        return False


def _taught(kind: type[Exporter], base: Path, folder: Path) -> Concept:
    """A concept of what it takes; a whole fine-tuning only where it takes nothing smaller."""
    able = kind.accepts & TAUGHT
    if not able:
        raise UsageError(
            f"{kind.__name__} takes {', '.join(sorted(kind.accepts))}, of which there are no checks.",
            code="plugin.unchecked",
        )
    return _concept(frozenset({"weights"}) if able == {"weights"} else able - {"weights"}, base, folder)


def _concept(holds: frozenset[str], base: Path, folder: Path) -> Concept:
    """A concept with small random changes of these kinds."""
    shapes, generator = BaseFiles(base).shapes, torch.Generator().manual_seed(0)
    family: Any = FAMILIES[recognise(base)]

    def draw(*shape: int) -> Tensor:
        return 0.05 * torch.randn(shape, generator=generator)

    parts, component = Parts(), family.denoiser[0]
    if "layers" in holds:
        ends = tuple(f".{end}.weight" for end in family.linears["attention"])
        held = {n.removesuffix(".weight"): s for n, s in shapes[component].items() if n.endswith(ends)}
        layers = {n: Layer({"down": draw(RANK, s[1]), "up": draw(s[0], RANK)}, 2 / 3) for n, s in held.items()}
        parts.layers = {component: layers}
    if "rows" in holds:
        parts.rows = {table: draw(2, s[EMBEDDING][1]) for table, s in shapes.items() if EMBEDDING in s}
    if holds == {"weights"}:
        state = {n: t + draw(*t.shape) for n, t in component_tensors(base / component).items()}
        parts.weights = {component: lambda: state}
    about = {"format": "none", "sha256": "none", "steps": 2}
    return write_concept(folder, str(base), Subject("ohwx", "dog"), parts, about, False)


CHECKS: tuple[Callable[[type[Exporter], Path, Path], None], ...] = (
    says_what_it_is,
    is_read_back,
    proves_what_it_writes,
    writes_the_same_twice,
    refuses_what_it_cannot_hold,
)
