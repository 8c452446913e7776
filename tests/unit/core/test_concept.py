"""What a concept says about itself, and how a folder that is none is turned away."""

from __future__ import annotations

import json
import subprocess
import sys
from pathlib import Path

import pytest

from booth.core.commit import committed
from booth.core.concept import BaseRecord, ConceptRecord, RecoveryRecord, StageRecord, SubjectRecord, read_record
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


@pytest.mark.parametrize("change", [{"schema_version": 2}, {"unheard_of": 1}, {"seed": "x"}])
def test_a_record_of_another_version_says_so(tmp_path: Path, change: dict[str, object]) -> None:
    with pytest.raises(BadDataError, match=f"another version of booth.*{next(iter(change))}"):
        read_record(put(tmp_path / "c", **change))


def test_reading_a_concept_needs_no_torch() -> None:
    code = "import sys, booth.core.concept, booth.concept; sys.exit('torch' in sys.modules)"
    assert subprocess.run([sys.executable, "-c", code], check=False).returncode == 0


@pytest.mark.parametrize(("number", "code"), [(2, 130), (15, 143)])
def test_an_interruption_knows_its_exit_code_and_no_handler_of_errors_swallows_it(number: int, code: int) -> None:
    error = Interrupted("Stopped.", number)
    assert error.exit_code == code
    assert isinstance(error, KeyboardInterrupt)
    assert not isinstance(error, Exception)
