"""From a concept to a file of another program: written, read back by that program's rules, stamped, put in place."""

from __future__ import annotations

from dataclasses import asdict, dataclass
from pathlib import Path

from booth.concept import Concept
from booth.core.commit import committed_file
from booth.core.errors import BoothError, UsageError
from booth.core.json_values import Json
from booth.export.base_files import base_at_hand
from booth.export.check import ROUNDINGS, TOLERANCES, Check
from booth.export.exporter import PRECISIONS, Exporter, Job, stamp
from booth.export.headers import hashes, header
from booth.export.parts import parts_of
from booth.export.pictures import greatest_difference
from booth.families.loading import EMBEDDED
from booth.registry import EXPORTERS

FOLDER = Path("exports")


@dataclass(frozen=True)
class Exported:
    """What was written, and what reading it back found."""

    file: Path
    format: str
    programs: tuple[str, ...]
    check: Check
    lost: list[str]

    @property
    def not_by(self) -> dict[str, str]:
        """The programs that do not see what was trained, and why."""
        verdicts = self.check.programs.items()
        return {
            name: v.why_not(max(self.check.tolerance, ROUNDINGS)) for name, v in verdicts if name not in self.programs
        }

    def to_json(self) -> dict[str, Json]:
        """Plain values for `--json`."""
        return asdict(self) | {"file": str(self.file), "check": self.check.to_json(), "not_by": self.not_by}


def export(
    concept: Concept,
    to: str,
    out: Path | None = None,
    *,
    precision: str = "fp32",
    rank: int = 16,
    lossy: bool = False,
    metadata: str = "plain",
    picture: bool | None = None,
) -> Exported:
    """Write `concept` as `to` into `out`, or into exports/ under the format's own name.

    With `picture` one is drawn with the concept and one with what the file holds, and their greatest difference is in
    the report and in the file's header. Left out, that is done on the embedded base, where it takes a few seconds;
    other bases would take minutes without a GPU. Formats that no pipeline of diffusers draws with go without.

    Raises UsageError where `out` has another ending than the format's files, and where the format cannot hold the
    concept, or not all of it and `lossy` is not set; BoothError where reading the file back shows another change than
    was trained. Then nothing is written.
    """
    if precision not in PRECISIONS:
        raise UsageError(
            f"There is no precision {precision!r}.",
            f"Use {', '.join(PRECISIONS)}.",
            code="precision.unknown",
            field="precision",
        )
    if metadata not in {"plain", "full"}:
        raise UsageError(
            f"There is no metadata {metadata!r}.",
            "Use plain, or full with captions and paths.",
            code="metadata.unknown",
            field="metadata",
        )
    exporter: Exporter = EXPORTERS[to]()
    record = concept.record
    base = base_at_hand(record.base.name)
    parts = parts_of(concept.folder, record, base.shapes if base else None)
    job = Job(concept.folder, record, parts, base, precision, rank)
    exporter.require(job)
    lost = exporter.lost(job)
    if lost and not lossy:
        raise UsageError(
            f"{exporter.title} cannot hold all of {concept.folder}. It would lose {'; and '.join(lost)}.",
            "Add `lossy` to write the rest.",
            code="export.lossy",
            field="lossy",
        )
    place = out or FOLDER / exporter.file_name(job)
    if exporter.suffix and place.suffix != exporter.suffix:  # programs go by it
        raise UsageError(
            f"`to={to}` writes a {exporter.suffix} file.",
            f"Give `out` a name that ends so, not {place}.",
            code="out.other_suffix",
            field="out",
        )
    if place.exists():
        raise UsageError(
            f"{place} is there already.",
            "Name another file with `out`, or delete it first.",
            code="out.taken",
            field="out",
        )
    drawn = record.base.name == EMBEDDED if picture is None else picture
    if picture:
        job.need_base("Comparing pictures")
    check = _write(job, exporter, place, lossy, metadata == "full", drawn and job.base is not None)
    readers = tuple(check.readers(lossy)) if check.programs else exporter.read_by(job)
    return Exported(place, to, readers, check, lost)


def _write(job: Job, exporter: Exporter, place: Path, lossy: bool, full: bool, picture: bool) -> Check:
    """Write once to read it back, and again with what was found in its header."""
    tensors = exporter.tensors(job)
    size = sum(t.numel() * t.element_size() for t in tensors.values())
    about = header(job, exporter, full=full)
    with committed_file(place, 2 * size) as file:
        exporter.write(job, tensors, file, about)
        check = exporter.check(job, file)
        check.tolerance = TOLERANCES[job.precision]
        if not check.passed and (not lossy or check.unmatched or check.missing):
            raise _failed(place, check)
        loaded = exporter.loaded(job, file) if picture else None
        check.picture = None if loaded is None else greatest_difference(job, loaded)
        found = hashes(file) if exporter.suffix == ".safetensors" else {}
        exporter.write(job, tensors, file, {**about, **found, "booth.verified": stamp(check)})
    return check


def _failed(place: Path, check: Check) -> BoothError:
    """Nothing was written, because the target would not see what was trained."""
    keys = [*check.unmatched, *(f"{name} (missing)" for name in check.missing)]
    told = (
        f"{len(keys)} keys do not match, such as {keys[0]}" if keys else f"a weight differs by {check.difference:.1e}"
    )
    return BoothError(
        f"{place} was not written: by {check.reader}, {told}.",
        "This is a defect of booth or of the concept; please report it.",
        code="export.not_proved",
        field="out",
    )
