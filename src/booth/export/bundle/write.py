"""Adapter and token in one file: kohya's keys beside `bundle_emb.WORD.*`, as AUTOMATIC1111 and ComfyUI read it.

Of whole weights, as the two-stage method's, the adapter is extracted.
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import replace
from pathlib import Path

from torch import Tensor

from booth.core.errors import UsageError
from booth.core.safe_file import read_tensors
from booth.export.base_files import Shapes
from booth.export.check import Check
from booth.export.embedding import proof as reader
from booth.export.embedding.names import names_for
from booth.export.embedding.write import check_rows
from booth.export.exporter import UNETS, Job, Loaded
from booth.export.lora.extracted import Extraction, extract
from booth.export.lora.read import read_layers
from booth.export.lora.spelling import BUNDLED as PREFIX
from booth.export.lora.write import Kohya, check_layers, merged
from booth.export.parts import Parts


class Bundle(Kohya):
    """One file for the two-stage method: the trigger word works as soon as the LoRA is in the prompt."""

    name = "bundle"
    title = "LoRA and token in one file"
    programs = ("AUTOMATIC1111", "ComfyUI")  # Forge leaves the token's rows unread, and OneTrainer both
    accepts = frozenset({"layers", "rows", "weights"})
    families = UNETS

    def __init__(self) -> None:
        self._extraction: Extraction | None = None

    def require(self, job: Job) -> None:
        super().require(job)
        other = {"layers": "kohya", "weights": "extracted", "rows": "embedding"}
        if "rows" not in job.parts.kinds or len(job.parts.kinds) == 1:
            to = next(name for kind, name in other.items() if kind in job.parts.kinds)
            raise UsageError(
                f"A bundle holds an adapter and a token; {job.folder} has not both.",
                f"Use `to={to}`.",
                code="export.no_bundle",
                field="to",
            )

    def lost(self, job: Job) -> list[str]:
        lost = super().lost(self._of_layers(job))
        return lost if self._extraction is None else [*lost, *self._extraction.lost(job.rank)]

    def _of_layers(self, job: Job) -> Job:
        """The job with an adapter in the place of whole weights."""
        if not job.parts.weights:
            return job
        self._extraction = self._extraction or extract(job)
        layers = job.parts.layers | self._extraction.parts.layers
        return replace(job, parts=replace(job.parts, weights={}, layers=layers))

    def tensors(self, job: Job) -> dict[str, Tensor]:
        word = job.record.subject.token
        if "." in word:
            raise UsageError(
                f"The token {word!r} has a dot, at which readers of bundles cut.",
                "Train with another token.",
                code="token.has_dot",
                field="token",
            )
        names = names_for(job.parts.rows)
        one = len(job.parts.rows) == 1
        rows = {
            f"{PREFIX}{word}.{'string_to_param.*' if one else names[table]}": t.to(job.dtype)
            for table, t in job.parts.rows.items()
        }
        return super().tensors(self._of_layers(job)) | rows

    def check(self, job: Job, file: Path) -> Check:
        """Both halves, each by its own rules."""
        tensors, _ = read_tensors(file)
        words = reader.read_bundle(tensors)
        job = self._of_layers(job)
        layers = {n: t for n, t in tensors.items() if not n.startswith(PREFIX)}
        check = check_layers(job, layers, job.parts, self.programs)
        check.reader = f"{check.reader} and of bundles"
        rows = check_rows(job, words.get(job.record.subject.token, reader.Reading()))
        check.matched += rows.matched
        check.missing += rows.missing
        check.unmatched += rows.unmatched
        check.difference = max(check.difference, rows.difference)
        return check

    def loaded(self, job: Job, file: Path) -> Loaded | None:
        tensors, _ = read_tensors(file)
        rows = reader.read_bundle(tensors)[job.record.subject.token].rows
        return Loaded(merged(job, {n: t for n, t in tensors.items() if not n.startswith(PREFIX)}).weights, rows)

    def recognises(self, names: Mapping[str, Tensor]) -> bool:
        return any(name.startswith(PREFIX) for name in names)

    def read(
        self, tensors: Mapping[str, Tensor], metadata: Mapping[str, str], shapes: Shapes
    ) -> tuple[Parts, list[str]]:
        """The adapter and the first word; a concept has one, so that the others' keys are none that it could hold."""
        words = reader.read_bundle(tensors)
        reading = read_layers({n: t for n, t in tensors.items() if not n.startswith(PREFIX)}, metadata, shapes)
        parts, unknown = Parts(layers=reading.layers), reading.unknown
        word, reading = next(iter(words.items()), ("", reader.Reading()))
        parts.rows = reading.rows
        unknown += [name for name in tensors if name.startswith(PREFIX) and not name.startswith(f"{PREFIX}{word}.")]
        return parts, [*unknown, *(f"{PREFIX}{word}.{name}" for name in reading.unmatched)]
