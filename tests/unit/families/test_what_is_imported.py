"""What is not imported, because nothing here uses it, and what is closed before an import."""

from __future__ import annotations

import json
import os
import re
import subprocess
import sys
from pathlib import Path

import booth

UNUSED = ("sklearn", "torchvision", "bitsandbytes", "pandas", "matplotlib", "datasets", "tensorflow")
FAMILIES = ("flux", "sana", "qwen_image", "z_image", "stable_diffusion_3")

CLOSED = "DIFFUSERS_DISABLE_REMOTE_CODE"
SOURCE = Path(booth.__file__).parent.parent
IMPORTERS = sorted(
    ".".join(file.relative_to(SOURCE).with_suffix("").parts)
    for file in SOURCE.rglob("*.py")
    if re.search(r"^(import|from) diffusers\b", file.read_text(encoding="utf-8"), re.MULTILINE)
)

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
from diffusers.utils import constants
print(json.dumps([sorted(sys.modules), constants.DIFFUSERS_DISABLE_REMOTE_CODE]))
"""


def python(code: str, *arguments: object) -> str:
    outside = {name: value for name, value in os.environ.items() if name != CLOSED}
    run = subprocess.run(
        [sys.executable, "-c", code, *map(str, arguments)], capture_output=True, text=True, check=False, env=outside
    )
    assert run.returncode == 0, run.stderr
    return run.stdout


def test_a_training_and_a_drawing_load_no_more_than_their_family_needs(
    toy_base: Path, photos_folder: Path, tmp_path: Path
) -> None:
    loaded, closed = json.loads(python(LESSON, photos_folder, toy_base, tmp_path / "out").splitlines()[-1])
    assert [name for name in UNUSED if name in loaded] == []
    assert [name for name in FAMILIES if f"booth.families.{name}" in loaded] == []
    assert not any(name.startswith("diffusers.pipelines.flux") for name in loaded)
    assert "booth.families.stable_diffusion" in loaded  # else the list would say nothing
    assert closed, "diffusers would download code"


# Each module is imported in a process of its own, forked from one that has torch, up to where diffusers would be.
FIRST = """
import importlib, json, os, sys
import torch

class First:
    def find_spec(self, name, path=None, target=None):
        if name == "diffusers":
            print(json.dumps([module, os.environ.get(sys.argv[1])]), flush=True)
            os._exit(0)

sys.meta_path.insert(0, First())
for module in sys.argv[2:]:
    if os.fork() == 0:
        importlib.import_module(module)
        os._exit(1)
    os.wait()
"""


def test_the_downloader_of_code_is_closed_before_any_module_imports_diffusers() -> None:
    found = dict(map(json.loads, python(FIRST, CLOSED, *IMPORTERS).splitlines()))
    assert found == dict.fromkeys(IMPORTERS, "1")
