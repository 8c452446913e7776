"""Which files are a base, and what a base that is not all there is told to be."""

from __future__ import annotations

import json
import shutil
import struct
from pathlib import Path

import pytest

from bases import write_base
from booth.core.errors import BadDataError, NotAvailableError
from booth.families.loading import EMBEDDED_FOLDER, base_hash, load_family, resolve_base
from booth.families.memory import Task, drawing_bytes, memory_plans, parts_of

POINTER = "version https://git-lfs.github.com/spec/v1\noid sha256:0a1b\nsize 335\n"


@pytest.fixture
def base(toy_base: Path, tmp_path: Path) -> Path:
    """A copy of the toy base to take parts from."""
    return Path(shutil.copytree(toy_base, tmp_path / "base"))


def test_the_hash_of_the_embedded_base_stays() -> None:
    """Every concept taught to it names this."""
    assert base_hash(EMBEDDED_FOLDER) == "sha256:85ce6cafb75f3ebc71a0905d625ae077606ae3dfbbc203299bb38011e9e544c1"


def test_what_is_not_read_changes_neither_hash_nor_memory(base: Path) -> None:
    known, parts, drawing = base_hash(base), parts_of(base), drawing_bytes(base)
    base_hash.cache_clear()
    weights = base / "unet" / "diffusion_pytorch_model.safetensors"
    (base / "safety_checker").mkdir()
    for name in ("safety_checker/model", "unet/diffusion_pytorch_model.fp16", "sd-v1-5", "vae/a.non_ema"):
        shutil.copyfile(weights, base / f"{name}.safetensors")
    (base / "safety_checker" / "config.json").write_text("{}")
    (base / "LICENSE.txt").write_text("free")
    assert (base_hash(base), parts_of(base), drawing_bytes(base)) == (known, parts, drawing)
    base_hash.cache_clear()
    (base / "scheduler" / "scheduler_config.json").write_text("{}")
    assert base_hash(base) != known


def test_a_part_that_the_family_does_not_load_takes_no_memory(base: Path) -> None:
    shutil.copytree(base / "text_encoder", base / "image_encoder")
    assert sorted(parts_of(base)) == ["text_encoder", "unet", "vae"]


@pytest.mark.parametrize("name", ["unet/diffusion_pytorch_model.safetensors", "tokenizer/vocab.json"])
def test_a_git_lfs_pointer_is_told_with_how_to_get_the_file(base: Path, name: str) -> None:
    (base / name).write_text(POINTER)
    with pytest.raises(BadDataError, match=rf"{Path(name).name} is only a Git LFS pointer.*git lfs pull"):
        load_family(str(base))
    if name.startswith("unet"):
        with pytest.raises(BadDataError, match="git lfs pull"):
            drawing_bytes(base)


@pytest.mark.parametrize("part", ["vae/config.json", "scheduler", "tokenizer", "text_encoder/config.json"])
def test_a_base_without_a_part_is_told_which(base: Path, part: str) -> None:
    place = base / part
    shutil.rmtree(place) if place.is_dir() else place.unlink()
    with pytest.raises(BadDataError, match=rf"is incomplete: it lacks {part}"):
        load_family(str(base))


def test_a_part_without_weights_is_told(base: Path) -> None:
    (base / "unet" / "diffusion_pytorch_model.safetensors").unlink()
    for read in (drawing_bytes, lambda folder: load_family(str(folder)), lambda f: memory_plans(f, Task(32), 0)):
        with pytest.raises(BadDataError, match=r"unet holds no \.safetensors weights"):
            read(base)


def test_a_missing_shard_is_named(base: Path) -> None:
    weights = base / "unet" / "diffusion_pytorch_model.safetensors"
    shards = {f"{i}": f"diffusion_pytorch_model-0000{i}-of-00002.safetensors" for i in (1, 2)}
    weights.rename(weights.with_name(shards["1"]))
    weights.with_name(f"{weights.name}.index.json").write_text(json.dumps({"weight_map": shards}))
    with pytest.raises(BadDataError, match=r"lacks unet/diffusion_pytorch_model-00002-of-00002"):
        load_family(str(base))


def test_an_index_that_leaves_out_the_denoiser_is_an_error(base: Path) -> None:
    index = json.loads((base / "model_index.json").read_text())
    (base / "model_index.json").write_text(json.dumps({k: v for k, v in index.items() if k != "unet"}))
    with pytest.raises(BadDataError, match="names no unet"):
        load_family(str(base))


@pytest.mark.parametrize("content", [b"", b"abc", struct.pack("<Q", 2**60) + b"{}", struct.pack("<Q", 2) + b"x:"])
def test_a_damaged_header_is_a_clear_error(base: Path, content: bytes) -> None:
    (base / "vae" / "diffusion_pytorch_model.safetensors").write_bytes(content)
    with pytest.raises(BadDataError, match="not a whole"):
        parts_of(base)


def test_a_text_encoder_may_be_left_out(tmp_path: Path) -> None:
    base = write_base("stable_diffusion_3", tmp_path / "base")
    index = json.loads((base / "model_index.json").read_text())
    index |= {"text_encoder_3": [None, None], "tokenizer_3": [None, None]}
    (base / "model_index.json").write_text(json.dumps(index))
    for name in ("text_encoder_3", "tokenizer_3"):
        shutil.rmtree(base / name)
    assert "text_encoder_3" not in load_family(str(base)).components()


@pytest.mark.parametrize("name", ["some body/a base", "a/b--c", "a/b?", "nothing"])
def test_what_can_be_no_hub_id_is_told_so(name: str) -> None:
    with pytest.raises(NotAvailableError, match="not a file or folder here, and no Hub id"):
        resolve_base(name)
