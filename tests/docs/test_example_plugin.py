"""The example plug-in, installed: its author's own tests, and its names on the command line and in a concept."""

from __future__ import annotations

import json
import os
import subprocess
import sys
from collections.abc import Iterator
from pathlib import Path

import pytest
from safetensors.torch import load_file
from script_files import load
from typer.testing import CliRunner

import booth.core.registry as registries
from booth.cli.app import app
from booth.concept import Concept
from booth.core.errors import NotAvailableError
from booth.core.registry import Plugin
from booth.machine import examine
from booth.registry import METHODS, OPTIMIZERS

ROOT = Path(__file__).parent.parent.parent
PLUGIN = ROOT / "examples" / "plugin"


@pytest.fixture(scope="module")
def site(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A folder of packages in which pip has installed the example, from its own files alone."""
    folder = tmp_path_factory.mktemp("site")
    load("draw_guides").install(["install", str(PLUGIN)], folder)
    return folder


@pytest.fixture
def installed(site: Path, monkeypatch: pytest.MonkeyPatch) -> Iterator[None]:
    """The packages of this process with the example among them."""
    monkeypatch.syspath_prepend(str(site))
    registries.installed.cache_clear()
    yield
    monkeypatch.undo()
    registries.installed.cache_clear()
    for module in [m for m in sys.modules if m.startswith("booth_example")]:
        del sys.modules[module]


@pytest.mark.essential
def test_the_authors_own_tests_pass(site: Path) -> None:
    path = os.pathsep.join([str(site), str(ROOT / "src")])
    command = [sys.executable, "-m", "pytest", "-q", "-p", "no:cacheprovider", "-o", "addopts=", str(PLUGIN / "tests")]
    environment = {**os.environ, "PYTHONPATH": path, "OMP_NUM_THREADS": "1"}
    done = subprocess.run(command, capture_output=True, text=True, env=environment, cwd=site)
    assert done.returncode == 0, done.stdout
    assert " passed" in done.stdout


@pytest.mark.essential
def test_the_command_line_trains_draws_and_tells_it(
    installed: None, toy_base: Path, photos_folder: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.chdir(tmp_path)
    monkeypatch.setenv("BOOTH_CACHE", str(tmp_path / "cache"))
    chosen = ["method=bitfit", "optimizer=lion", "optimizer.beta2=0.9", "weighting=soft_min_snr", "pull=0.01"]
    settings = [word for assignment in chosen for word in ("--set", assignment)]
    words = ["train", str(photos_folder), "--class", "dog", "--base", str(toy_base), "--steps", "2", "--out", "out"]
    done = CliRunner().invoke(app, [*words, *settings])
    assert done.exit_code == 0, f"{done.output}\n{done.stderr}"
    assert "BitFit adapts these layers: in the unet attention" in done.stderr
    record = Concept.load("out").record
    assert (record.method, record.stages[0].files) == ("bitfit", ["bitfit.safetensors"])
    assert record.settings["options"]["optimizer"] == {"beta2": 0.9}
    assert record.stages[0].coverage["unet"]["attention"][0] > 0
    assert record.stages[0].coverage["unet"]["convolution"][0] == 0

    done = CliRunner().invoke(app, ["generate", "out", "a photo of sks dog", "--steps", "2", "--out", "drawn"])
    assert done.exit_code == 0, f"{done.output}\n{done.stderr}"
    done = CliRunner().invoke(app, ["methods", "--base", str(toy_base), "--json"])
    told = json.loads(done.stdout.splitlines()[-1])
    assert next(m for m in told["methods"] if m["name"] == "bitfit")["values"] > 0
    assert "lion" in [c["name"] for c in told["choices"]["optimizer"]]


def test_its_format_is_written_and_proved(
    installed: None, toy_base: Path, photos_folder: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("BOOTH_CACHE", str(tmp_path / "cache"))
    words = ["train", str(photos_folder), "--class", "dog", "--base", str(toy_base), "--steps", "2", "--method", "loha"]
    assert CliRunner().invoke(app, [*words, "--out", str(tmp_path / "out")]).exit_code == 0
    file = tmp_path / "rex.safetensors"
    done = CliRunner().invoke(app, ["export", str(tmp_path / "out"), "--to", "diff", "--out", str(file), "--json"])
    assert done.exit_code == 0, f"{done.output}\n{done.stderr}"
    assert "lora_unet_mid_block_attentions_0_transformer_blocks_0_attn2_to_k.diff" in load_file(file)


def test_the_doctor_lists_it_and_what_is_wrong_with_others(installed: None, monkeypatch: pytest.MonkeyPatch) -> None:
    found = dict(registries.installed())
    found["booth.metrics"] = (*found["booth.metrics"], Plugin("broken", "no_such_module:Metric", "broken"))
    found["booth.optimizers"] = (*found["booth.optimizers"], Plugin("adamw", "booth_example.lion:Lion", "greedy"))
    monkeypatch.setattr(registries, "installed", lambda: found)
    told = examine()
    assert {(p["kind"], p["name"]) for p in told["plugins"] if not p["problem"]} == {
        ("method", "bitfit"),
        ("optimizer", "lion"),
        ("loss weighting", "soft_min_snr"),
        ("metric", "sharpness"),
        ("export format", "diff"),
    }
    assert any("'broken' of the package broken cannot be imported" in sentence for sentence in told["missing"])
    assert any("'adamw' of the package greedy, whose name another has" in sentence for sentence in told["missing"])


def test_a_class_of_it_may_be_named_by_its_module(
    installed: None, toy_base: Path, photos_folder: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("BOOTH_CACHE", str(tmp_path / "cache"))
    method, optimizer = "booth_example.bitfit:BitFit", "booth_example.lion:Lion"
    words = ["train", str(photos_folder), "--class", "dog", "--base", str(toy_base), "--steps", "2", "--method", method]
    done = CliRunner().invoke(app, [*words, "--set", f"optimizer={optimizer}", "--out", str(tmp_path / "out")])
    assert done.exit_code == 0, f"{done.output}\n{done.stderr}"
    assert Concept.load(tmp_path / "out").methods()[0].name == "bitfit"


def test_without_it_its_concept_says_what_is_missing(tmp_path: Path) -> None:
    assert "bitfit" not in METHODS
    assert "lion" not in OPTIMIZERS
    with pytest.raises(NotAvailableError, match=r"booth_example\.bitfit:BitFit' is not installed here. Install the"):
        METHODS.recorded("booth_example.bitfit:BitFit")
