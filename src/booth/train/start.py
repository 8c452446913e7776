"""What a run starts from: the weights of a concept, or of a file that another trainer wrote."""

from __future__ import annotations

import hashlib
import json
from collections.abc import Mapping
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

import torch
from torch import Tensor

from booth.concept import Concept
from booth.config import RunConfig
from booth.config.start import is_controlnet
from booth.core.commit import MANIFEST
from booth.core.concept import RECORD
from booth.core.errors import UsageError
from booth.core.family import Family
from booth.core.file_names import CONTROLNET
from booth.core.method import Method
from booth.core.places import as_text
from booth.registry import METHODS

MEANING = ("alpha", "activation", "activate_output")  # settings by which the same tensors mean something else


@dataclass(frozen=True)
class Start:
    """The tensors that a run begins with, by the names of `Method.learned`, and what they were taught as."""

    place: Path
    sha256: str
    method: str
    settings: Mapping[str, Any]
    tensors: Mapping[str, Tensor]
    told: list[str] = field(default_factory=list[str])
    form: Path | None = None  # the folder of a network of whose form that of the run has to be

    @property
    def record(self) -> dict[str, str]:
        """What is written down of it."""
        return {"name": as_text(self.place.absolute()), "sha256": self.sha256}


def read_start(config: RunConfig, model: Family, base_hash: str) -> Start | None:
    """What `config.start_from` holds for this base, on which nothing is attached; None where it names nothing.

    Raises UsageError or BadDataError for what no run can start from, or not on this base.
    """
    place = config.start_from
    if place is None:
        return None
    if place.is_file():
        return _of_file(place, config, model)
    if not (place / RECORD).is_file() and is_controlnet(place):
        return _of_network(place, config, model)
    concept = Concept.load(place)
    record = concept.record
    warned = (
        [f"{place} was taught to another base, {record.base.name}: what it learned may mean less on this one."]
        if record.base.hash != base_hash
        else []
    )
    tensors = learned_of(concept, model)
    if not tensors:
        raise UsageError(
            f"No run starts from a concept of {METHODS.recorded(record.method).title}.",
            "Train it anew.",
            code="start.unfit_method",
            field="start_from",
        )
    form = place / CONTROLNET if (place / CONTROLNET).is_dir() else None
    return Start(place, _hash_of(concept), record.method, record.settings, tensors, warned, form)


def learned_of(concept: Concept, model: Family) -> dict[str, Tensor]:
    """Copies of the tensors of a concept, read by putting it on the bare base and taking it off again."""
    found: dict[str, Tensor] = {}
    for method in concept.methods():
        try:
            method.restore(model, concept.folder)
            found |= {name: t.detach().cpu().clone() for name, t in method.learned().items()}
        finally:
            method.detach(model)
    return found


def filled(config: RunConfig, start: Start) -> RunConfig:
    """The run with the method and the form of what a file holds, wherever it says nothing itself."""
    if (start.place / RECORD).is_file():
        return config  # which has said so before the base was loaded
    method = config.method if "method" in config.model_fields_set else start.method
    kind: type[Method] = METHODS[method]
    form = {key: value for key, value in start.settings.items() if key in kind.Config.model_fields}
    return config.model_copy(update={"method": method, "settings": form | config.settings})


def require_fit(start: Start, method: Method, shapes: Mapping[str, torch.Size]) -> None:
    """UsageError unless a run of this method has a like tensor, of these shapes, for each that it starts from."""
    former: Any = METHODS.recorded(start.method)
    if start.method != method.name and start.method not in method.contains:
        able = [name for name in METHODS if start.method in METHODS[name].contains]
        raise UsageError(
            f"{start.place} holds {former.title}, which {method.title} does not start from.",
            f"Leave `method` out, or choose {' or '.join(able)}." if able else "Leave `method` out.",
            code="start.unfit_method",
            field="method",
        )
    now = method.config.model_dump(mode="json")
    for key in MEANING:
        if key in start.settings and key in now and _meant(start.settings, key) != _meant(now, key):
            raise UsageError(
                f"{key} is {start.settings[key]!r} in {start.place} and {now[key]!r} in this run.",
                f"Leave `{key}` out.",
                code="start.other_meaning",
                field=f"settings.{key}",
            )
    for name, tensor in start.tensors.items():
        if name not in shapes:
            raise UsageError(
                f"{start.place} has {name}, for which this run has no place.",
                "Leave the settings out that differ from its own, such as `targets`, `blocks` or `train_text_encoder`.",
                code="start.no_place",
                field="start_from",
            )
        if tensor.shape != shapes[name]:
            sizes = " and ".join("x".join(map(str, shape)) for shape in (tensor.shape, shapes[name]))
            raise UsageError(
                f"{name} differs in shape between {start.place} and this run, {sizes}.",
                "Leave the settings out that differ from its own, such as `rank` or `vectors`.",
                code="start.other_shape",
                field="start_from",
            )


def told_of(start: Start, shapes: Mapping[str, torch.Size]) -> list[str]:
    """What is said before the first step."""
    fresh = len(shapes.keys() - start.tensors.keys())
    beside = f"; {fresh} begin afresh" if fresh else ""
    return [f"Starting from {start.place}: {len(start.tensors)} of {len(shapes)} tensors are its own{beside}."]


def _of_network(folder: Path, config: RunConfig, model: Family) -> Start:
    """A ControlNet that lies in a folder of its own, as diffusers keeps them."""
    from booth.importing.run import followed

    kind: Any = METHODS["controlnet"]
    model.sites.require(kind.title, model.title, kind.needs)
    assert model.sites.control is not None
    net = model.sites.control.read(folder)
    named = {name: p.detach().cpu().clone() for name, p in net.named_parameters()}
    tensors = {f"{CONTROLNET}.{name}": t for name, t in named.items()}
    settings: dict[str, Any] = {"control": config.settings.get("control") or followed(folder, {})}
    if any(name.startswith("mid_block.") for name in named):
        settings["middle_attention"] = any(name.startswith("mid_block.attentions.") for name in named)
    digest = hashlib.sha256()
    for file in sorted(folder.glob("*.safetensors")):
        with file.open("rb") as stream:
            digest.update(hashlib.file_digest(stream, "sha256").digest())
    return Start(folder, digest.hexdigest(), kind.name, settings, tensors, form=folder)


def _of_file(file: Path, config: RunConfig, model: Family) -> Start:
    from booth.importing.start import read_form  # which reads every format there is

    form, sha256 = read_form(file, config.base, model, config.settings.get("control"))
    return Start(file, sha256, form.method, form.settings, form.tensors, list(form.notes))


def _meant(settings: Mapping[str, Any], key: str) -> Any:
    """What a setting makes of the tensors: of alpha that is the scale, which is 1 where it is none."""
    value = settings.get(key)
    return (value or settings["rank"]) / settings["rank"] if key == "alpha" else value


def _hash_of(concept: Concept) -> str:
    """Over the weights alone, as the concept's manifest has them."""
    files = json.loads((concept.folder / MANIFEST).read_bytes())["files"]
    names = sorted(name for stage in concept.record.stages for name in stage.files)
    told = "".join(f"{name} {files[name]['sha256']}\n" for name in names if name != RECORD)
    return hashlib.sha256(told.encode()).hexdigest()
