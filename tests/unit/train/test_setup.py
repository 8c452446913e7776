"""What a run decides before its first step."""

from __future__ import annotations

import sys
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import torch
from PIL import Image

from booth.config import RunConfig
from booth.config.loading import load_run_config
from booth.core.errors import NotAvailableError, OutOfMemoryError, UsageError
from booth.core.family import Family
from booth.core.method import Subject
from booth.core.tokens import RARE_TOKENS
from booth.data.photos import Photo, PhotoSet
from booth.train import setup
from booth.train.advice import advice, advice_on_memory
from booth.train.identity import lasting_name, require_same


def config(**options: Any) -> RunConfig:
    return RunConfig(**({"photos": [Path("p")], "noun": "dog"} | options))


def photos(*hashes: str) -> PhotoSet:
    image = Image.new("RGB", (8, 8))
    return PhotoSet(tuple(Photo(Path(h), h, image) for h in hashes), "flat")


def test_the_best_device_here_is_taken(monkeypatch: pytest.MonkeyPatch) -> None:
    for here, expected in ((True, "cuda"), (False, "cpu")):
        monkeypatch.setattr(torch.cuda, "is_available", lambda here=here: here)
        assert setup.choose_device(None) == expected
    assert setup.choose_device("cpu") == "cpu"


@pytest.mark.parametrize("name", ["gpu", "cuda:99", "xpu"])
def test_a_device_that_is_not_here_is_named(name: str) -> None:
    with pytest.raises(NotAvailableError, match=f"'{name}'.*`device=cpu`"):
        setup.choose_device(name)


@pytest.mark.parametrize(
    ("asked", "device", "has_bf16", "expected", "autocast"),
    [
        (None, "cpu", True, "fp32", None),
        (None, "mps", True, "fp32", None),
        (None, "cuda", True, "bf16", torch.bfloat16),
        (None, "cuda:1", False, "fp16", torch.float16),
        ("fp16", "cuda", True, "fp16", torch.float16),
        ("bf16", "cpu", False, "bf16", torch.bfloat16),
        ("fp32", "cuda", True, "fp32", None),
    ],
)
@pytest.mark.filterwarnings("ignore:.*GradScaler is enabled")
def test_precision_suits_the_device(
    monkeypatch: pytest.MonkeyPatch,
    asked: str | None,
    device: str,
    has_bf16: bool,
    expected: str,
    autocast: torch.dtype | None,
) -> None:
    monkeypatch.setattr(torch.cuda, "is_bf16_supported", lambda: has_bf16)
    assert setup.choose_precision(asked, device) == expected
    assert setup.autocast_type(expected) == autocast
    assert (setup.make_scaler(expected) is not None) == (expected == "fp16")


def test_half_precision_needs_a_gpu() -> None:
    with pytest.raises(UsageError, match="`precision=fp32` or bf16"):
        setup.choose_precision("fp16", "cpu")


def test_a_token_is_taken_as_given_or_picked_by_the_photos() -> None:
    assert setup.choose_token("zorp", photos("a")) == "zorp"
    picked = {setup.choose_token("auto", photos(str(i))) for i in range(60)}
    assert picked <= set(RARE_TOKENS)
    assert len(picked) > 6
    assert setup.choose_token("auto", photos("a", "b")) == setup.choose_token("auto", photos("a", "b"))


def test_the_same_run_is_the_same() -> None:
    now = {"photos": ["a"], "steps": 5, "learning_rate": 1e-4}
    require_same(dict(now), now, "here")


@pytest.mark.parametrize(
    ("change", "told"),
    [
        ({"steps": 7}, "steps was 5 and is now 7"),
        ({"photos": ["b"]}, "photos is different"),
        ({"base": "sha256:2"}, "base is different"),
        ({"learning_rate": 2e-4, "steps": 6}, "learning_rate was 0.0001 and is now 0.0002; steps was 5 and is now 6"),
        ({"rank": 4}, "rank was None and is now 4"),
    ],
)
def test_what_differs_is_named(change: dict[str, Any], told: str) -> None:
    former = {"photos": ["a"], "base": "sha256:1", "steps": 5, "learning_rate": 1e-4}
    with pytest.raises(UsageError, match=rf"here belongs to another run: {told}.*another `out`"):
        require_same(former, former | change, "here")


@pytest.mark.parametrize(
    "error",
    [
        torch.OutOfMemoryError("CUDA out of memory."),
        MemoryError(),
        np._core._exceptions._ArrayMemoryError((1,), np.dtype("f4")),
        RuntimeError("[enforce fail at alloc_cpu.cpp:121] err == 0. DefaultCPUAllocator: can't allocate memory"),
    ],
)
def test_out_of_memory_comes_with_advice(error: Exception) -> None:
    settings = {"batch_size": 4, "accumulate": 2, "gradient_checkpointing": False, "optimizer": "prodigy"}
    with pytest.raises(OutOfMemoryError) as caught, advice_on_memory(config(method="dreambooth"), settings):
        raise error
    told = str(caught.value)
    assert "`batch_size=2` and `accumulate=4`" in told
    assert "`gradient_checkpointing=true`" in told
    assert "`method=lora`" in told


def test_advice_leaves_out_what_is_done_already() -> None:
    settings = {"batch_size": 1, "gradient_checkpointing": True}
    with pytest.raises(OutOfMemoryError) as caught, advice_on_memory(config(), settings):
        raise MemoryError
    assert "batch_size" not in str(caught.value)
    assert "gradient_checkpointing" not in str(caught.value)
    assert "`method`" not in str(caught.value)


def test_a_real_failure_to_allocate_is_recognised() -> None:
    with pytest.raises(OutOfMemoryError), advice_on_memory(config(), {}):
        torch.empty(2**60, dtype=torch.uint8)


def test_other_errors_pass() -> None:
    with pytest.raises(RuntimeError, match="shapes"), advice_on_memory(config(), {}):
        raise RuntimeError("shapes do not match")


def test_a_folder_is_remembered_from_everywhere(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    (tmp_path / "base").mkdir()
    monkeypatch.chdir(tmp_path)
    assert lasting_name("base") == str(tmp_path / "base")
    assert lasting_name("embedded") == "embedded"
    assert lasting_name("owner/name") == "owner/name"


@pytest.fixture
def kohya(tmp_path: Path) -> Path:
    """A project folder as kohya's scripts have it."""
    folder = tmp_path / "img" / "10_ohwx dog"
    folder.mkdir(parents=True)
    Image.fromarray(np.random.default_rng(0).integers(0, 255, (48, 48, 3), dtype=np.uint8)).save(folder / "0.png")
    return tmp_path / "img"


@pytest.mark.parametrize(
    ("given", "expected"),
    [
        ({}, "ohwx dog"),
        ({"token": "zwx"}, "zwx dog"),
        ({"noun": "wolf"}, "ohwx wolf"),
        ({"token": "sks", "noun": "wolf"}, "sks wolf"),
    ],
)
def test_a_kohya_folder_names_what_is_not_given(kohya: Path, given: dict[str, Any], expected: str) -> None:
    subject, _ = setup.load_subjects(load_run_config(None, {"photos": [kohya], **given}))
    assert subject.name == expected


def test_a_folder_that_names_nothing_needs_a_noun(kohya: Path) -> None:
    other = (kohya / "10_ohwx dog").rename(kohya / "photos")
    with pytest.raises(UsageError, match="`noun` is missing"):
        setup.load_subjects(load_run_config(None, {"photos": [other]}))


def test_a_method_without_a_subject_takes_none_from_a_folder(kohya: Path) -> None:
    subject, _ = setup.load_subjects(load_run_config(None, {"photos": [kohya], "method": "controlnet"}))
    assert subject.name == ""


def test_another_name_than_the_folders_is_warned_of(kohya: Path, toy: Family) -> None:
    run = load_run_config(None, {"photos": [kohya], "token": "zwx"})
    subject, sets = setup.load_subjects(run)
    method = setup.make_method(run, toy, subject)
    assert any("called for ohwx dog" in told for told in advice(run, toy, method, [(subject, sets[0])]))
    same = Subject("ohwx", "dog")
    assert not any("called for" in told for told in advice(run, toy, method, [(same, sets[0])]))


@pytest.mark.parametrize(
    ("options", "told"),
    [
        ({"method": "controlnet", "noun": "", "token": "", "until": "done"}, "`until=done`.*follows hints"),
        ({"settings": {"optimizer": "lion"}}, "optimizer"),
    ],
)
def test_what_would_fail_later_fails_before_the_work(toy: Family, options: dict[str, Any], told: str) -> None:
    run = config(**options)
    with pytest.raises(UsageError, match=told):
        setup.make_method(run, toy, Subject(run.token, run.noun))


def test_an_optimizer_that_is_not_here_is_told_before_the_work(toy: Family, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setitem(sys.modules, "prodigyopt", None)
    with pytest.raises(NotAvailableError, match="prodigyopt"):
        setup.make_method(config(settings={"optimizer": "prodigy"}), toy, Subject("sks", "dog"))
