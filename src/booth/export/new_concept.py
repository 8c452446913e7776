"""A concept folder made of imported parts: put into the method's own tensors, written by it, and tried on the base."""

from __future__ import annotations

import time
from collections.abc import Callable, Mapping
from datetime import UTC, datetime
from pathlib import Path
from typing import Any

import torch
from torch import Tensor

from booth.concept import Concept
from booth.core.commit import committed, package_versions
from booth.core.concept import RECORD, BaseRecord, ConceptRecord, StageRecord, SubjectRecord
from booth.core.errors import BadDataError, NotAvailableError
from booth.core.family import Family
from booth.core.method import Method, Subject
from booth.export.layer_groups import common_form
from booth.export.parts import Parts, canonical
from booth.families.loading import base_hash, load_family, resolve_base
from booth.registry import METHODS

Values = Callable[[str], Tensor | None]  # a trained tensor by the method's name for it; None where the file has none


def write_concept(
    place: Path, base: str, subject: Subject, parts: Parts, about: Mapping[str, Any], lossy: bool
) -> Concept:
    """Write the parts as the method's own files into `place`, once they have been restored onto the base."""
    began = time.perf_counter()
    name = _method_for(parts)
    if name not in METHODS:
        raise NotAvailableError(f"This booth has no method {name!r} to draw such a file with.")
    model = load_family(base)
    settings, values = _content(model, parts, lossy)
    kind = METHODS[name]
    method: Method = kind(kind.Config.model_validate(kind.defaults(model.scale) | settings), subject)
    with committed(place, {"kind": "concept"}) as folder:
        _write(model, method, folder, values)
        try:
            method.restore(model, folder)
        finally:
            method.detach(model)
        record = _record(place, base, model, method, about, folder, time.perf_counter() - began)
        (folder / RECORD).write_text(record.model_dump_json(indent=1) + "\n", encoding="utf-8")
    return Concept(place, record)


def _write(model: Family, method: Method, folder: Path, values: Values) -> None:
    """Attach the method, fill its tensors, and let it write them; the base is bare again afterwards."""
    stages = method.plan()
    try:
        for stage in stages:
            for group in stage.method.attach(model, 0):
                for name, parameter in group.parameters.items():
                    value = values(name)
                    with torch.no_grad():
                        parameter.zero_() if value is None else parameter.copy_(value.reshape(parameter.shape))
        for stage in stages:
            stage.method.write(model, folder)
    finally:
        for stage in reversed(stages):
            stage.method.detach(model)


def _method_for(parts: Parts) -> str:
    if parts.kinds == {"layers", "rows"}:
        return "two_stage"
    (kind,) = parts.kinds
    return {"layers": "lora", "rows": "textual_inversion", "weights": "dreambooth", "hypernetwork": "hypernetwork"}[
        kind
    ]


def _content(model: Family, parts: Parts, lossy: bool) -> tuple[dict[str, Any], Values]:
    """The method's settings, and where its tensors come from."""
    settings: dict[str, Any] = {}
    tensors: dict[str, Tensor] = {}
    if parts.layers:
        settings, tensors = common_form(model, parts.layers, lossy)
    if parts.rows:
        settings |= {"vectors": len(next(iter(parts.rows.values())))}
        tensors |= {f"{table}.rows": rows.float() for table, rows in parts.rows.items()}
    if parts.rows and parts.layers:
        if settings.pop("train_text_encoder"):
            raise BadDataError("This bundle adapts the text encoder too, which the two-stage method does not.")
        settings["second"] = "lora"
    if parts.weights:
        settings = {"train_text_encoder": "text_encoder" in parts.weights}
        for component, state in parts.weights.items():
            tensors |= {f"{component}.{name}": t.float() for name, t in state().items()}
    if parts.hypernetwork is not None:
        h = parts.hypernetwork
        settings = {
            "widths": tuple(sorted(h.nets)),
            "layer_structure": h.layer_structure,
            "activation": h.activation,
            "activate_output": h.activate_output,
            "layer_norm": h.layer_norm,
            "initialisation": "kaiming_normal",  # of no account: every tensor is filled
        }
        for width, pair in h.nets.items():
            for side, net in zip("kv", pair, strict=True):
                tensors |= {f"{width}.{side}.{name}": t.float() for name, t in net.items()}
    return settings, lambda name: tensors.get(_canonical(name))


def _canonical(name: str) -> str:
    component, _, rest = name.partition(".")
    return f"{component}.{canonical(component, rest)}"


def _record(
    place: Path, base: str, model: Family, method: Method, about: Mapping[str, Any], folder: Path, seconds: float
) -> ConceptRecord:
    files = sorted(p.relative_to(folder).as_posix() for p in folder.rglob("*") if p.is_file())
    sizes = {file: (folder / file).stat().st_size for file in files}
    subject, settings = method.subject, method.config.model_dump(mode="json")
    found = Path(base).expanduser()
    stage = StageRecord(
        name="imported",
        method=method.name,
        settings=settings,
        folder=".",
        files=files,
        steps=about["steps"],
        final_loss=None,
    )
    return ConceptRecord(
        name=place.name,
        method=method.name,
        settings=settings,
        family=model.name,
        base=BaseRecord(name=str(found.absolute()) if found.exists() else base, hash=base_hash(resolve_base(base))),
        subject=SubjectRecord(token=subject.token, noun=subject.noun),
        prompt=f"a photo of {subject.name}",
        stages=[stage],
        data={"imported": {"format": about["format"], "sha256": about["sha256"]}},
        seed=0,
        steps=about["steps"],
        precision="fp32",
        device="cpu",
        photos=[],
        final_loss=None,
        seconds=seconds,
        seconds_per_step=0.0,
        peak_memory_bytes=0,
        artifact_bytes=sum(sizes.values()),
        sizes=sizes,
        timings={},
        versions=package_versions(),
        created=datetime.now(UTC).isoformat(timespec="seconds"),
    )
