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
from booth.core import file_names
from booth.core.commit import committed, package_versions
from booth.core.concept import RECORD, BaseRecord, ConceptRecord, StageRecord, SubjectRecord
from booth.core.errors import BadDataError
from booth.core.family import Family
from booth.core.method import Method, Subject
from booth.export.component_files import canonical
from booth.export.hypernetwork.networks import Hypernetwork
from booth.export.layer import Layer
from booth.export.parts import Parts
from booth.families.loading import base_hash, load_family, resolve_base
from booth.importing.adapter_forms import common_form
from booth.importing.form import MAGNITUDE, Form, NotHeld
from booth.importing.merged_form import merged_form
from booth.registry import METHODS

NEUTRAL = (MAGNITUDE, "boft_s", "ia3_l")  # tensors that begin as what changes nothing


def write_concept(
    place: Path, base: str, subject: Subject, parts: Parts, about: Mapping[str, Any], lossy: bool
) -> Concept:
    """Write the parts as the method's own files into `place`, once they have been restored onto the base."""
    began = time.perf_counter()
    model = load_family(base)
    form = form_of(model, parts, lossy, about)
    kind = METHODS[form.method]
    method: Method = kind(kind.Config.model_validate({**kind.defaults(model.scale), **form.settings}), subject)
    with committed(place, {"kind": "concept"}, _size(model, form)) as folder:
        _write(model, method, folder, form)
        try:
            method.restore(model, folder)
        finally:
            method.detach(model)
        about = {
            **about,
            "notes": [*about.get("notes", []), *form.notes],
            "left_out": [*about.get("left_out", []), *form.left_out],
        }
        record = _record(place, base, model, method, about, folder, time.perf_counter() - began)
        (folder / RECORD).write_text(record.model_dump_json(indent=1) + "\n", encoding="utf-8")
    return Concept(place, record)


def _size(model: Family, form: Form) -> int:
    """Bytes that are going to be written, as far as they are told by the form."""
    if not form.on_base:
        return sum(t.numel() * 4 for t in form.tensors.values())
    changed = {name.partition(".")[0] for name in form.tensors}
    modules: list[Any] = [module for name, module in model.components().items() if name in changed]
    return sum(p.numel() * 4 for module in modules for p in module.parameters())


def _write(model: Family, method: Method, folder: Path, form: Form) -> None:
    """Attach the method, fill its tensors, and let it write them; the base is bare again afterwards.

    Tensors that the file leaves out are zero, which changes nothing, or those of the base where they are whole weights;
    DoRA's lengths stay those of the base's rows, and factors stay one.
    """
    stages = method.plan()
    try:
        for stage in stages:
            for group in stage.method.attach(model, 0):
                for name, parameter in group.parameters.items():
                    value = form.tensors.get(canonical_name(name))
                    with torch.no_grad():
                        if value is not None:
                            parameter.copy_(value.reshape(parameter.shape))
                        elif not form.on_base and not name.endswith(NEUTRAL):
                            parameter.zero_()
        for stage in stages:
            stage.method.write(model, folder)
    finally:
        for stage in reversed(stages):
            stage.method.detach(model)


def form_of(model: Family, parts: Parts, lossy: bool, about: Mapping[str, object]) -> Form:
    """The method that draws the parts, its settings, and its tensors by its names for them."""
    if parts.rows:
        return _with_rows(model, parts, lossy)
    if parts.layers:
        return _adapter(model, parts.layers, lossy)
    if parts.control is not None:
        tensors = {f"{file_names.CONTROLNET}.{name}": t for name, t in parts.control().items()}
        return Form("controlnet", {"control": about["control"]}, tensors)
    if parts.hypernetwork is not None:
        return _hypernetwork(parts.hypernetwork)
    trained = model.sites.text_encoders.keys() & parts.weights.keys()
    if trained and trained != model.sites.text_encoders.keys():
        lacking = sorted(model.sites.text_encoders.keys() - trained)
        raise BadDataError(
            f"This checkpoint has some text encoders but no {lacking[0]}.",
            "Get it whole.",
            code="import.incomplete",
            field="file",
        )
    states = {component: state() for component, state in parts.weights.items()}
    tensors = {f"{component}.{name}": t.float() for component, state in states.items() for name, t in state.items()}
    return Form("dreambooth", {"train_text_encoder": bool(trained)}, tensors)


def _adapter(model: Family, layers: Mapping[str, Mapping[str, Layer]], lossy: bool) -> Form:
    """One of booth's adapters, or the merged weights where none holds what the file does."""
    try:
        return common_form(model, layers, lossy)
    except NotHeld as error:
        return merged_form(model, layers, str(error), lossy)


def _with_rows(model: Family, parts: Parts, lossy: bool) -> Form:
    """A token, and what was trained with it: a LoRA, or whatever else merged into the denoiser."""
    vectors = {"vectors": len(next(iter(parts.rows.values())))}
    rows = {f"{table}.rows": rows.float() for table, rows in parts.rows.items()}
    if not parts.layers:
        return Form("textual_inversion", vectors, rows)
    try:
        adapter = common_form(model, parts.layers, lossy, apart=False)
        if adapter.method != "lora":
            raise NotHeld(f"a token goes together with a LoRA alone, and this is a {adapter.method}")
    except NotHeld as error:
        return _with_rows_merged(model, parts, str(error), lossy, vectors, rows)
    settings = dict(adapter.settings)
    tensors = {**adapter.tensors, **rows}
    if settings["train_text_encoder"] or "ranks" in settings:
        return Form("ti_lora", vectors | settings, tensors, left_out=adapter.left_out)
    settings.pop("train_text_encoder")
    return Form("two_stage", vectors | settings | {"second": "lora"}, tensors, left_out=adapter.left_out)


def _with_rows_merged(
    model: Family, parts: Parts, why: str, lossy: bool, vectors: Mapping[str, Any], rows: Mapping[str, Tensor]
) -> Form:
    """A token and the whole denoiser, which is all that goes together with one."""
    encoders = sorted(parts.layers.keys() & model.sites.text_encoders.keys())
    if encoders and not lossy:
        raise BadDataError(
            f"This bundle has to be merged, because {why}; beside a token booth holds the merged denoiser alone, and "
            f"this one changes the {encoders[0]} too.",
            "Add `lossy` to leave that out.",
            code="import.beyond_methods",
            field="lossy",
        )
    merged = merged_form(model, {c: m for c, m in parts.layers.items() if c not in encoders}, why, lossy)
    left = [*merged.left_out, *(f"the layers of {name}" for name in encoders)]
    settings = {**vectors, "second": "full"}
    return Form("two_stage", settings, {**merged.tensors, **rows}, True, merged.notes, left)


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


def canonical_name(name: str) -> str:
    """COMPONENT.TENSOR with the tensor's name as all files spell it."""
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
        data={"imported": {k: about[k] for k in ("format", "sha256", "notes", "left_out") if about.get(k)}},
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
