"""What is not imported, because nothing here uses it, and what is closed before an import."""

from __future__ import annotations

import json
import os
import subprocess
import sys
from pathlib import Path

import pytest

UNUSED = ("sklearn", "torchvision", "bitsandbytes", "pandas", "matplotlib", "datasets", "tensorflow")
FAMILIES = ("flux", "sana", "qwen_image", "z_image", "stable_diffusion_3")

LESSON = """
import json, sys
from booth.config import RunConfig
from booth.generate.draw import draw
from booth.session import Session
from booth.train.trainer import Trainer

config = RunConfig(photos=[sys.argv[1]], noun="dog", base=sys.argv[2], method="lora", out=sys.argv[3])
with Trainer(config.model_copy(update={"settings": {"steps": 1}}), keep=False) as trainer:
    for step in trainer:
        pass
    draw(trainer.model, ["a dog"], [0], steps=1)
print(json.dumps(sorted(sys.modules)))
"""


def python(code: str, *arguments: object) -> str:
    run = subprocess.run(
        [sys.executable, "-c", code, *map(str, arguments)], capture_output=True, text=True, check=False
    )
    assert run.returncode == 0, run.stderr
    return run.stdout


def test_a_training_and_a_drawing_load_no_more_than_their_family_needs(
    toy_base: Path, photos_folder: Path, tmp_path: Path
) -> None:
    loaded = json.loads(python(LESSON, photos_folder, toy_base, tmp_path / "out").splitlines()[-1])
    assert [name for name in UNUSED if name in loaded] == []
    assert [name for name in FAMILIES if f"booth.families.{name}" in loaded] == []
    assert not any(name.startswith("diffusers.pipelines.flux") for name in loaded)
    assert "booth.families.stable_diffusion" in loaded  # else the list would say nothing


@pytest.mark.parametrize("module", ["booth.families.flux", "booth.families.layout", "booth.world.denoiser"])
def test_diffusers_downloads_no_code_whichever_module_imports_it(module: str) -> None:
    code = f"import {module}; from diffusers.utils import constants; print(constants.DIFFUSERS_DISABLE_REMOTE_CODE)"
    outside = {name: value for name, value in os.environ.items() if name != "DIFFUSERS_DISABLE_REMOTE_CODE"}
    run = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, check=True, env=outside)
    assert run.stdout.strip() == "True"
