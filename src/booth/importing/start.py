"""A foreign file as what a run of booth's starts from: the same reading, and no concept written."""

from __future__ import annotations

import hashlib
from collections.abc import Mapping
from dataclasses import replace
from pathlib import Path
from typing import Any

from torch import Tensor

from booth.core.errors import UsageError
from booth.core.family import Family
from booth.core.method import Method, Subject
from booth.export.base_files import BaseFiles
from booth.importing.fit import require_fit
from booth.importing.form import Form
from booth.importing.new_concept import canonical_name, form_of
from booth.importing.run import followed, open_content, read_parts
from booth.registry import METHODS


def read_form(file: Path, base: str, model: Family, control: str | None = None) -> tuple[Form, str]:
    """The method that holds what the file does, with the tensors by its own names for them; and the file's SHA-256.

    Nothing may be attached to the base. Raises UsageError for what nothing trains on, BadDataError for a file that
    does not fit.
    """
    content = open_content(file, pickles=False)
    shapes = BaseFiles(model.base).shapes
    _, parts, unknown = read_parts(file, content, shapes)
    require_fit(file, parts, unknown, shapes, base, lossy=False)
    if parts.weights:
        raise UsageError(
            f"{file} is a whole model.", "Make it the `base`.", code="start.whole_model", field="start_from"
        )
    about = {"control": control or followed(file, content.metadata)} if parts.control is not None else {}
    form = form_of(model, parts, False, about)
    if form.on_base:
        raise UsageError(
            f"{file} can only be drawn with, {form.notes[0]}.",
            "Import it, and start from a file of another kind.",
            code="start.merged",
            field="start_from",
        )
    with file.open("rb") as stream:
        sha256 = hashlib.file_digest(stream, "sha256").hexdigest()
    return replace(form, tensors=_by_own_names(model, form)), sha256


def _by_own_names(model: Family, form: Form) -> Mapping[str, Tensor]:
    """The tensors by the names that the method gives them on this base, in the shapes that it gives them."""
    kind = METHODS[form.method]
    settings: dict[str, Any] = {**kind.defaults(model.scale), **form.settings}
    method: Method = kind(kind.Config.model_validate(settings), Subject("sks", "subject"))
    stages, found = method.plan(), dict[str, Tensor]()
    try:
        for stage in stages:
            stage.method.attach(model, 0)
            for name, tensor in stage.method.learned().items():
                value = form.tensors.get(canonical_name(name))
                if value is not None:
                    found[name] = value.float().reshape(tensor.shape)
    finally:
        for stage in reversed(stages):
            stage.method.detach(model)
    return found
