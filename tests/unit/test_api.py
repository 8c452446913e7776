"""The Python way in."""

import os
import subprocess
import sys
from importlib import import_module
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import torch
from PIL import Image
from torch import Tensor

import booth
from booth.concept import Concept
from booth.config import RunConfig
from booth.core.errors import BadDataError, UsageError
from booth.core.method import MethodConfig
from booth.core.objective import NoiseLevels, Weighting
from booth.data.given import sources_of
from booth.data.photos import load_photos
from booth.options import TrainOptions
from booth.registry import WEIGHTINGS


@pytest.mark.essential
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
    import_module("booth.train.loop")  # would set booth.train to the package
    import_module("booth.generate.draw")

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


def test_everything_that_is_named_is_there_and_what_is_heavy_waits() -> None:
    assert all(getattr(booth, name) is not None for name in booth.__all__)
    probe = "import sys, booth; print([m for m in ('torch', 'numpy', 'pydantic', 'PIL') if m in sys.modules])"
    assert subprocess.run([sys.executable, "-c", probe], capture_output=True, text=True).stdout.strip() == "[]"


def test_the_options_that_an_editor_shows_are_those_that_there_are() -> None:
    known = {*RunConfig.model_fields, *MethodConfig.model_fields} - {"photos", "noun"}
    assert set(TrainOptions.__annotations__) == known


def pictures(folder: Path) -> list[Image.Image]:
    return [Image.open(file).convert("RGB") for file in sorted(folder.iterdir())]


@pytest.mark.parametrize("form", ["pictures", "arrays", "stack", "floats", "pairs", "rows", "generator"])
def test_photos_may_be_in_memory(five_photos: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch, form: str) -> None:
    monkeypatch.setenv("BOOTH_CACHE", str(tmp_path))
    shown = pictures(five_photos)
    arrays = [np.asarray(image) for image in shown]
    given: dict[str, Any] = {
        "pictures": shown,
        "arrays": arrays,
        "stack": np.stack(arrays),
        "floats": [a / 255 for a in arrays],
        "pairs": [(image, f"dog {i}") for i, image in enumerate(shown)],
        "rows": [{"image": image, "text": f"dog {i}"} for i, image in enumerate(shown)],
        "generator": (image for image in shown),
    }
    (folder,) = sources_of(given[form])
    found = load_photos([folder]).photos
    assert [p.image.tobytes() for p in found] == [image.tobytes() for image in shown]
    captions = [f"dog {i}" for i in range(5)] if form in ("pairs", "rows") else [None] * 5
    assert [p.caption for p in found] == captions
    before = {p: p.stat().st_mtime_ns for p in tmp_path.rglob("*")}
    assert sources_of(shown if form == "generator" else given[form]) == [folder]  # kept once
    assert {p: p.stat().st_mtime_ns for p in tmp_path.rglob("*")} == before


def test_photos_may_be_a_data_set(five_photos: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    datasets = pytest.importorskip("datasets")
    monkeypatch.setenv("BOOTH_CACHE", str(tmp_path))
    shown = pictures(five_photos)
    files = [{"bytes": file.read_bytes(), "path": None} for file in sorted(five_photos.iterdir())]
    rows = {"image": files, "text": [f"dog {i}" for i in range(5)]}
    info = datasets.DatasetInfo(
        features=datasets.Features({"image": datasets.Image(), "text": datasets.Value("string")})
    )
    table = datasets.table.InMemoryTable.from_pydict(rows, schema=info.features.arrow_schema)
    (folder,) = sources_of(
        datasets.Dataset(table, info=info, fingerprint="of this test")
    )  # which it is not asked to find
    found = load_photos([folder]).photos
    assert [p.image.tobytes() for p in found] == [image.tobytes() for image in shown]
    assert [p.caption for p in found] == rows["text"]


def test_what_is_registered_is_chosen_by_name(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(WEIGHTINGS, "_entries", dict(WEIGHTINGS._entries))

    @booth.register
    class Doubled(Weighting):
        name = "doubled"
        title = "twice as much"
        source = "of this test"

        def __call__(self, levels: NoiseLevels) -> Tensor:
            return 2 * torch.ones_like(levels.signal)

    assert WEIGHTINGS["doubled"] is Doubled
    with pytest.raises(booth.errors.UsageError, match="nothing that can be registered"):
        booth.register(dict)


def test_what_is_no_photo_is_named(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("BOOTH_CACHE", str(tmp_path))
    with pytest.raises(BadDataError, match=r"Photo 0 is neither a path"):
        sources_of([object()])  # type: ignore[list-item]
    with pytest.raises(BadDataError, match="caption of photo 0 is no text"):
        sources_of([(Image.new("RGB", (64, 64)), 5)])  # type: ignore[list-item]
    with pytest.raises(BadDataError, match="no photos"):
        sources_of(np.zeros((0, 64, 64, 3)))
    assert not any(tmp_path.iterdir())


@pytest.mark.essential
def test_taught_from_memory_a_concept_is_resumed_and_its_photos_are_found(
    five_photos: Path, toy_base: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("BOOTH_CACHE", str(tmp_path / "cache"))
    rows = [(image, "a dog") for image in pictures(five_photos)]
    how: dict[str, Any] = {"base": str(toy_base), "out": tmp_path / "out", "steps": 2}
    concept = booth.train(rows, "dog", **how)
    assert booth.train(rows, "dog", **how, resume=True) == concept
    assert all(Path(file).is_file() for file in concept.record.photo_files)
