"""The examples of fleets elsewhere: they are what their formats say, and call `booth fleet` as it is."""

from __future__ import annotations

import re
import shlex
import subprocess
from pathlib import Path
from typing import Any

import pytest
from test_site import check_command

FOLDER = Path(__file__).parent.parent.parent / "docs" / "guides" / "fleet"
FILES = sorted(p for p in FOLDER.iterdir() if p.is_file())


@pytest.mark.parametrize("file", FILES, ids=lambda file: file.name)
def test_the_command_takes_what_it_is_given(file: Path) -> None:
    (words,) = re.findall(r"(?:run: \|\n\s+|entrypoint: |^)booth (fleet .+?)(?: &)?$", file.read_text(), re.MULTILINE)
    check_command(shlex.split(words))


def read(name: str) -> Any:
    yaml = pytest.importorskip("yaml", reason="PyYAML is not installed")
    return yaml.safe_load((FOLDER / name).read_text())


def test_the_ray_job_has_a_token_and_no_dashboard() -> None:
    job = read("ray-job.yaml")
    cluster = job["spec"]["rayClusterSpec"]
    assert cluster["headGroupSpec"]["rayStartParams"]["include-dashboard"] == "false"
    for group in (cluster["headGroupSpec"], *cluster["workerGroupSpecs"]):
        (container,) = group["template"]["spec"]["containers"]
        assert {"RAY_AUTH_MODE", "RAY_AUTH_TOKEN"} <= {entry["name"] for entry in container["env"]}


def test_the_managed_job_recovers() -> None:
    job = read("skypilot.yaml")
    assert job["resources"]["use_spot"] is True
    assert "job_recovery" in job["resources"]


def test_the_batch_script_is_one_and_passes_the_signal_on() -> None:
    script = FOLDER / "fleet.sbatch"
    subprocess.run(["bash", "-n", str(script)], check=True)
    text = script.read_text()
    assert "#SBATCH --signal=B:TERM@120" in text
    assert "trap 'kill -TERM" in text
