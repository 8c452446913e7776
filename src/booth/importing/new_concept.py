"""A concept folder made of imported parts: put into the method's own tensors, written by it, and tried on the base."""

from __future__ import annotations

import time
from collections.abc import Mapping
from datetime import UTC, datetime
from pathlib import Path
from typing import Any

import torch
from torch import Tensor

from booth.concept import Concept
from booth.core.commit import committed, package_versions
from booth.core.concept import RECORD, BaseRecord, ConceptRecord, StageRecord, SubjectRecord
from booth.core.errors import BadDataError
from booth.core.family import Family
from booth.core.method import Method, Subject
from booth.export.hypernetwork.networks import Hypernetwork
from booth.export.parts import CONTROL_FOLDER, Parts, canonical
from booth.families.loading import base_hash, load_family, resolve_base
from booth.importing.adapter_forms import MAGNITUDE, Form, common_form
from booth.registry import METHODS


def write_concept(
    place: Path, base: str, subject: Subject, parts: Parts, about: Mapping[str, Any], lossy: bool
) -> Concept:
    """Write the parts as the method's own files into `place`, once they have been restored onto the base."""
    began = time.perf_counter()
    model = load_family(base)
    form = _form(model, parts, lossy, about)
    kind = METHODS[form.method]
    method: Method = kind(kind.Config.model_validate({**kind.defaults(model.scale), **form.settings}), subject)
    with committed(place, {"kind": "concept"}) as folder:
        _write(model, method, folder, form.tensors)
        try:
            method.restore(model, folder)
        finally:
            method.detach(model)
        record = _record(place, base, model, method, about, folder, time.perf_counter() - began)
        (folder / RECORD).write_text(record.model_dump_json(indent=1) + "\n", encoding="utf-8")
    return Concept(place, record)


def _write(model: Family, method: Method, folder: Path, tensors: Mapping[str, Tensor]) -> None:
    """Attach the method, fill its tensors, and let it write them; the base is bare again afterwards.

    Tensors that the file leaves out are zero, which changes nothing, but DoRA's lengths stay those of the base's rows.
    """
    stages = method.plan()
    try:
        for stage in stages:
            for group in stage.method.attach(model, 0):
                for name, parameter in group.parameters.items():
                    value = tensors.get(_canonical(name))
                    with torch.no_grad():
                        if value is not None:
                            parameter.copy_(value.reshape(parameter.shape))
                        elif not name.endswith(MAGNITUDE):
                            parameter.zero_()
        for stage in stages:
            stage.method.write(model, folder)
    finally:
        for stage in reversed(stages):
            stage.method.detach(model)


def _form(model: Family, parts: Parts, lossy: bool, about: Mapping[str, Any]) -> Form:
    """The method that draws the parts, its settings, and its tensors by its names for them."""
    if parts.rows:
        return _with_rows(model, parts, lossy)
    if parts.layers:
        return common_form(model, parts.layers, lossy)
    if parts.control is not None:
        tensors = {f"{CONTROL_FOLDER}.{name}": t for name, t in parts.control().items()}
        return Form("controlnet", {"control": about["control"]}, tensors)
    if parts.hypernetwork is not None:
        return _hypernetwork(parts.hypernetwork)
    trained = model.sites.text_encoders.keys() & parts.weights.keys()
    if trained and trained != model.sites.text_encoders.keys():
        lacking = sorted(model.sites.text_encoders.keys() - trained)
        raise BadDataError(f"This checkpoint has some text encoders but no {lacking[0]}. Get it whole.")
    states = {component: state() for component, state in parts.weights.items()}
    tensors = {f"{component}.{name}": t.float() for component, state in states.items() for name, t in state.items()}
    return Form("dreambooth", {"train_text_encoder": bool(trained)}, tensors)


def _with_rows(model: Family, parts: Parts, lossy: bool) -> Form:
    """A token, and the adapter that was trained with it if there is one."""
    vectors = {"vectors": len(next(iter(parts.rows.values())))}
    rows = {f"{table}.rows": rows.float() for table, rows in parts.rows.items()}
    if not parts.layers:
        return Form("textual_inversion", vectors, rows)
    adapter = common_form(model, parts.layers, lossy, apart=False)
    settings = dict(adapter.settings)
    if adapter.method != "lora":
        raise BadDataError(f"The adapter in this bundle is of the kind {adapter.method}; booth holds a LoRA there.")
    if settings.pop("train_text_encoder"):
        raise BadDataError("This bundle adapts the text encoder too, which the two-stage method does not.")
    return Form("two_stage", vectors | settings | {"second": "lora"}, {**adapter.tensors, **rows})


def _hypernetwork(h: Hypernetwork) -> Form:
    settings = {
        "widths": tuple(sorted(h.nets)),
        "layer_structure": h.layer_structure,
        "activation": h.activation,
        "activate_output": h.activate_output,
        "layer_norm": h.layer_norm,
        "initialisation": "kaiming_normal",  # of no account: every tensor is filled
    }
    tensors = {
        f"{width}.{side}.{name}": t.float()
        for width, pair in h.nets.items()
        for side, net in zip("kv", pair, strict=True)
        for name, t in net.items()
    }
    return Form("hypernetwork", settings, tensors)


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
        prompt=subject.prompt,
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
