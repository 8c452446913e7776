"""The Python way in."""

import os
import subprocess
import sys
from pathlib import Path

import pytest

import booth
from booth.concept import Concept
from booth.core.errors import UsageError


def test_train_and_load(toy_base: Path, five_photos: Path, tmp_path: Path) -> None:
    config = tmp_path / "run.toml"
    config.write_text('seed = 3\ntoken = "zwx"\n[settings]\nrank = 2\nsteps = 9\n')
    out = tmp_path / "out"
    concept = booth.train(
        str(five_photos), "dog", config=config, base=str(toy_base), out=out, steps=2, settings={"dropout": 0.1}
    )
    assert booth.load(str(out)) == concept
    assert isinstance(concept, Concept)
    assert (concept.record.seed, concept.record.subject.token) == (3, "zwx")
    settings = concept.record.settings
    assert (settings["rank"], settings["steps"], settings["dropout"]) == (2, 2, 0.1)


def test_train_stays_callable_when_its_rooms_are_imported(five_photos: Path) -> None:
    import booth.train.loop  # sets booth.train to the package

    with pytest.raises(UsageError, match="Did you mean 'steps'"):
        booth.train(five_photos, "dog", stepz=3)


def test_photos_may_be_single_files(five_photos: Path, toy_base: Path, tmp_path: Path) -> None:
    files = sorted(five_photos.iterdir())[:2]
    concept = booth.train([files[0], str(files[1])], "dog", base=str(toy_base), out=tmp_path / "out", steps=1)
    assert len(concept.record.photos) == 2


def test_the_hub_s_telemetry_is_off_for_whoever_imports_booth() -> None:
    code = "import sys, booth; assert 'huggingface_hub' not in sys.modules\n"
    code += "from huggingface_hub import constants; sys.exit(not constants.HF_HUB_DISABLE_TELEMETRY)"
    environment = {k: v for k, v in os.environ.items() if "TELEMETRY" not in k and k != "HF_HUB_OFFLINE"}
    assert subprocess.run([sys.executable, "-c", code], env=environment, check=False).returncode == 0
