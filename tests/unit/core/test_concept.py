"""What a concept says about itself, and how a folder that is none is turned away."""

from __future__ import annotations

import json
import subprocess
import sys
from pathlib import Path

import pytest

import booth
from booth.core.commit import committed
from booth.core.concept import (
    SCHEMA_VERSION,
    UPGRADES,
    BaseRecord,
    ConceptRecord,
    RecoveryRecord,
    StageRecord,
    SubjectRecord,
    read_record,
)
from booth.core.errors import BadDataError, DamagedFileError, Interrupted

RECORD = ConceptRecord(
    name="sks-dog-lora",
    method="lora",
    settings={"rank": 4, "alpha": None, "targets": ["attention"]},
    family="stable_diffusion",
    base=BaseRecord(name="embedded", hash="sha256:00"),
    subject=SubjectRecord(token="sks", noun="dog"),
    prompt="a photo of sks dog",
    stages=[
        StageRecord(
            name="lora", method="lora", settings={"rank": 4}, folder=".", files=["w"], steps=3, final_loss=0.1 + 0.2
        )
    ],
    data={"crop": "center"},
    seed=0,
    steps=3,
    precision="fp32",
    device="cpu",
    photos=["ab", "cd"],
    recoveries=[RecoveryRecord(stage="lora", step=2, returned_to=0, rate_scale=0.5)],
    final_loss=None,
    seconds=1.5,
    seconds_per_step=0.5,
    peak_memory_bytes=1,
    artifact_bytes=7,
    sizes={"w": 7},
    timings={"train": 1.5},
    versions={"booth": "0"},
    created="2026-01-01T00:00:00+00:00",
)


def put(folder: Path, **changes: object) -> Path:
    with committed(folder, {"kind": "concept"}) as work:
        (work / "w").write_bytes(b"weights")
        (work / "concept.json").write_text(json.dumps(json.loads(RECORD.model_dump_json()) | changes))
    return folder


def test_a_record_reads_back_as_it_was_written(tmp_path: Path) -> None:
    assert read_record(put(tmp_path / "c")) == RECORD


def test_a_folder_without_a_record_is_no_concept(tmp_path: Path) -> None:
    with pytest.raises(BadDataError, match=r"is not a concept.*booth train"):
        read_record(tmp_path)


@pytest.mark.parametrize("file", ["w", "concept.json"])
def test_a_changed_file_is_found_and_named(tmp_path: Path, file: str) -> None:
    path = put(tmp_path / "c") / file
    path.write_bytes(path.read_bytes().replace(b"s", b"z", 1))
    with pytest.raises(DamagedFileError, match=rf"{file}.*train it again"):
        read_record(tmp_path / "c")


@pytest.mark.parametrize("change", [{"unheard_of": 1}, {"seed": "x"}, {"stages": None}])
def test_a_record_that_no_version_writes_says_so(tmp_path: Path, change: dict[str, object]) -> None:
    with pytest.raises(BadDataError, match=f"not as any released version of booth writes it.*{next(iter(change))}"):
        read_record(put(tmp_path / "c", **change))


def test_a_newer_record_is_refused_with_what_to_do(tmp_path: Path) -> None:
    newer = put(tmp_path / "c", schema_version=SCHEMA_VERSION + 1, versions={"booth": "9.8.7"}, unheard_of=1)
    with pytest.raises(BadDataError, match=rf"written by booth 9\.8\.7; this is booth {booth.__version__}.*Upgrade it"):
        read_record(newer)


@pytest.mark.parametrize("version", [0, "1", None, True, 1.0])
def test_a_version_that_was_never_written_is_damage(tmp_path: Path, version: object) -> None:
    with pytest.raises(DamagedFileError, match="no schema version"):
        read_record(put(tmp_path / "c", schema_version=version))


def test_a_record_of_the_first_version_is_read_and_left_as_it_is(tmp_path: Path) -> None:
    first = json.loads((Path(__file__).parent / "concept-1.json").read_text())
    assert first["schema_version"] == 1
    with committed(tmp_path / "c", {"kind": "concept"}) as work:
        (work / "concept.json").write_text(json.dumps(first))
    record = read_record(tmp_path / "c")
    assert record.schema_version == SCHEMA_VERSION
    assert all(stage.coverage == {} for stage in record.stages)
    assert (record.name, record.steps, len(record.stages)) == (first["name"], first["steps"], len(first["stages"]))
    assert json.loads((tmp_path / "c" / "concept.json").read_text()) == first


def test_what_a_controlnet_went_on_from_is_no_setting_any_more(tmp_path: Path) -> None:
    first = json.loads((Path(__file__).parent / "concept-1.json").read_text())
    (stage, *_) = first["stages"]
    former = {"control": "canny", "start": "nets/canny"}
    first |= {"method": "controlnet", "settings": former, "stages": [{**stage, "settings": former}]}
    with committed(tmp_path / "c", {"kind": "concept"}) as work:
        (work / "concept.json").write_text(json.dumps(first))
    record = read_record(tmp_path / "c")
    assert record.settings == record.stages[0].settings == {"control": "canny"}


def test_there_is_a_step_to_every_version() -> None:
    assert len(UPGRADES) == SCHEMA_VERSION - 1


def test_the_fields_of_a_version_stay() -> None:
    """What is added, taken away or renamed needs a new version: the older booth has to know that it cannot read it."""
    kept = json.loads((Path(__file__).parent / "concept-fields.json").read_text())
    parts = (ConceptRecord, BaseRecord, SubjectRecord, StageRecord, RecoveryRecord)
    fields = {part.__name__: sorted(part.model_fields) for part in parts}
    assert {"schema_version": SCHEMA_VERSION, **fields} == kept, "raise SCHEMA_VERSION, add its step, then this file"


def test_reading_a_concept_needs_no_torch() -> None:
    code = "import sys, booth.core.concept, booth.concept; sys.exit('torch' in sys.modules)"
    assert subprocess.run([sys.executable, "-c", code], check=False).returncode == 0


@pytest.mark.parametrize(("number", "code"), [(2, 130), (15, 143)])
def test_an_interruption_knows_its_exit_code_and_no_handler_of_errors_swallows_it(number: int, code: int) -> None:
    error = Interrupted("Stopped.", number)
    assert error.exit_code == code
    assert isinstance(error, KeyboardInterrupt)
    assert not isinstance(error, Exception)
