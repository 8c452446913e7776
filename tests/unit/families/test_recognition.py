"""What a base is told to be by its own files."""

from __future__ import annotations

import json
from pathlib import Path

import pytest

from booth.core.errors import BadDataError, UsageError
from booth.families.loading import load_family
from booth.families.recognition import advice_on_base, recognise
from booth.registry import FAMILIES, PIPELINES


def base(folder: Path, pipeline: str, **files: dict[str, object]) -> Path:
    """A folder that only says what it is; keywords are files of configuration, "__" standing for "/"."""
    index = {"_class_name": pipeline} | files.pop("index", {})
    for name, values in {"model_index": index, **files}.items():
        file = folder / f"{name.replace('__', '/')}.json"
        file.parent.mkdir(parents=True, exist_ok=True)
        file.write_text(json.dumps(values))
    return folder


def test_every_family_can_be_recognised() -> None:
    assert set(PIPELINES.values()) == set(FAMILIES)
    for pipeline, family in PIPELINES.items():
        plain = pipeline.replace("Inpaint", "")
        assert any(kind.__name__ == plain for kind in FAMILIES[family].Pipeline.__mro__)


def test_a_family_is_told_from_the_pipeline(tmp_path: Path) -> None:
    assert recognise(base(tmp_path, "FluxPipeline")) == "flux"


def test_a_wrong_family_is_an_error_that_says_what_the_base_is(toy_base: Path) -> None:
    with pytest.raises(UsageError, match=r"is Stable Diffusion 1\.x / 2\.x \(stable_diffusion\), not FLUX\.1"):
        load_family(str(toy_base), family="flux")
    with pytest.raises(UsageError, match=r"no model family called 'fluks'.*'flux'"):
        load_family(str(toy_base), family="fluks")
    assert load_family(str(toy_base), family="stable_diffusion").name == "stable_diffusion"


@pytest.mark.parametrize("text", ["", "{}", "[1]", '{"_class_name": ["remote_code", "MyPipeline"]}'])
def test_a_broken_index_is_a_clear_error(tmp_path: Path, text: str) -> None:
    (tmp_path / "model_index.json").write_text(text)
    with pytest.raises(BadDataError, match=r"model_index\.json.* Get the base again"):
        load_family(str(tmp_path))


DEV, SCHNELL = {"transformer__config": {"guidance_embeds": True}}, {"transformer__config": {"guidance_embeds": False}}


@pytest.mark.parametrize(
    ("name", "pipeline", "files", "sign"),
    [
        ("black-forest-labs/FLUX.1-dev", "FluxPipeline", DEV, None),
        ("some/flux", "FluxPipeline", SCHNELL, "no guidance embedding"),
        ("Qwen/Qwen-Image", "QwenImagePipeline", SCHNELL, None),
        ("some/klein-base", "Flux2KleinPipeline", {"index": {"is_distilled": False}}, None),
        ("some/klein", "Flux2KleinPipeline", {"index": {"is_distilled": True}}, "model_index.json says so"),
        ("a/b", "QwenImage21Pipeline", {"index": {"sample_sigmas": [1.0, 0.6, 0.3]}}, "drawn in 3 fixed steps"),
        ("a/b", "QwenImage21Pipeline", {"index": {"sample_sigmas": None}}, None),
        ("a/b", "QwenImage21Pipeline", {"index": {"sample_sigmas": [i / 40 for i in range(40)]}}, None),
        ("Tongyi-MAI/Z-Image-Turbo", "ZImagePipeline", {}, "'Turbo' in its name"),
        ("lodestones/Chroma1-Flash", "ChromaPipeline", {}, "'Flash' in its name"),
        ("lodestones/Chroma1-HD", "ChromaPipeline", SCHNELL, None),
        ("/models/DreamShaperXL_Lightning", "StableDiffusionXLPipeline", {}, "'Lightning' in its name"),
        ("a/b", "StableDiffusionPipeline", {"unet__config": {"time_cond_proj_dim": 256}}, "consistency model"),
        ("a/b", "StableDiffusionPipeline", {"scheduler__scheduler_config": {"_class_name": "LCMScheduler"}}, "LCM"),
        ("/c/0a1b", "StableDiffusionXLPipeline", {"single_file": {"file": "sdxl_turbo.safetensors"}}, "'turbo'"),
        ("/home/turbo/models/mine", "StableDiffusionPipeline", {}, None),
    ],
)
def test_a_distilled_base_is_warned_about(
    tmp_path: Path, name: str, pipeline: str, files: dict[str, dict[str, object]], sign: str | None
) -> None:
    advice = advice_on_base(name, base(tmp_path, pipeline, **files))
    assert (advice is None) == (sign is None)
    assert sign is None or sign in (advice or "")
