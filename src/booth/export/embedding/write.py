"""A token's rows as AUTOMATIC1111, Forge, ComfyUI, diffusers and sd-scripts read them: one file for all encoders."""

from __future__ import annotations

from collections.abc import Mapping
from pathlib import Path

from torch import Tensor

from booth.core.safe_file import read_tensors
from booth.export.base_files import Shapes
from booth.export.check import Check
from booth.export.embedding import proof as reader
from booth.export.embedding.names import names_for
from booth.export.exporter import UNETS, Job, Loaded, TwoWay, plain_name
from booth.export.parts import Parts


class Embedding(TwoWay):
    """One tensor (n, dim), or clip_l and clip_g where there are two encoders; the file's name is the word."""

    name = "embedding"
    title = "embedding"
    programs = ("AUTOMATIC1111", "Forge", "ComfyUI", "diffusers", "sd-scripts")
    accepts = frozenset({"rows"})
    families = UNETS
    architecture = "textual-inversion"

    def tensors(self, job: Job) -> dict[str, Tensor]:
        names = names_for(job.parts.rows)
        return {names[table]: rows.to(job.dtype) for table, rows in job.parts.rows.items()}

    def check(self, job: Job, file: Path) -> Check:
        return check_rows(job, self.reading(file))

    def loaded(self, job: Job, file: Path) -> Loaded | None:
        return Loaded(rows=self.reading(file).rows)

    def reading(self, file: Path) -> reader.Reading:
        """What the target finds in the file."""
        return reader.read(read_tensors(file)[0])

    def file_name(self, job: Job) -> str:
        return f"{plain_name(job.record.subject.token)}{self.suffix}"

    def recognises(self, names: Mapping[str, Tensor]) -> bool:
        word = len(names) == 1 and "." not in next(iter(names))  # a dot is in the names of layers
        return (word or set(names) <= reader.ENCODERS.keys()) and all(t.ndim <= 2 for t in names.values())

    def read(
        self, tensors: Mapping[str, Tensor], metadata: Mapping[str, str], shapes: Shapes
    ) -> tuple[Parts, list[str]]:
        reading = reader.read(tensors)
        return Parts(rows=reading.rows), reading.unmatched


def check_rows(job: Job, reading: reader.Reading) -> Check:
    """Compare the rows that the target would look up with the trained ones, and their width with the base's."""
    check = Check(reader=reader.RULES, matched=len(reading.rows), unmatched=list(reading.unmatched))
    if job.base is None:
        check.against = "the concept's own width; the base is not on this machine"
    for table, rows in job.parts.rows.items():
        if table not in reading.rows:
            check.missing.append(table)
            continue
        check.compare(reading.rows[table], rows.float())
        shapes = job.base.shapes.get(table, {}) if job.base is not None else {}
        width = shapes.get("text_model.embeddings.token_embedding.weight", (0, rows.shape[1]))[1]
        if reading.rows[table].shape[1] != width:
            check.unmatched.append(f"{table} has rows of width {rows.shape[1]}, the base {width}")
    return check
