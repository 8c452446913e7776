"""A whole run: what it tells, what it refuses, what it leaves behind."""

from __future__ import annotations

import json
import math
import mmap
import os
import resource
import shutil
import sys
from collections import namedtuple
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest
import torch
from lessons import KINDS, STEPS, Lesson, Taught, stop_after, weights
from PIL import Image
from safetensors.torch import load_file

from booth.concept import Concept
from booth.core.errors import (
    BadDataError,
    BoothError,
    DamagedFileError,
    DiskFullError,
    Interrupted,
    OutOfMemoryError,
    UsageError,
)
from booth.events import Event
from booth.registry import METHODS
from booth.train import callbacks, record, samples, stage_data
from booth.train.run import TrainResult, train
from booth.train.timing import forget_peak_memory, peak_memory
from harness import slow

pytestmark = pytest.mark.usefixtures("no_samples")


class Diary:
    """Writes down what it hears."""

    def __init__(self) -> None:
        self.lines: list[str] = []

    def __call__(self, event: Event) -> None:
        data = event.data
        if event.kind == "plan":
            self.lines.append(f"start {[stage['name'] for stage in data['stages']]} at {event.done}")
        elif event.kind == "step":
            self.lines.append(f"{data['stage']} {data['step']}/{data['total']}")
        elif event.kind == "checkpoint":
            self.lines.append(f"saved {data['folder']} after {data['step']}")
        elif event.kind == "preview":
            self.lines.append(f"{len(data['files'])} previews after {event.done}")
        elif event.text:
            self.lines.append(event.text)


@pytest.fixture
def stopped(lesson: Lesson) -> Any:
    """The configuration of a run that was stopped after three steps, to be resumed."""
    config = lesson()
    with pytest.raises(Interrupted):
        train(config, listeners=[stop_after(3)])
    return config.model_copy(update={"resume": True})


def test_a_listener_hears_everything_in_order(lesson: Lesson) -> None:
    diary = Diary()
    train(lesson("two_stage", previews=4), listeners=[diary])
    assert diary.lines[diary.lines.index("start ['token', 'denoiser'] at 0") :] == [
        "start ['token', 'denoiser'] at 0",
        "token 1/3",
        "token 2/3",
        "saved checkpoints/ckpt-000002 after 2",
        "token 3/3",
        "saved checkpoints/ckpt-000003 after 3",
        "denoiser 1/5",
        "saved checkpoints/ckpt-000004 after 4",
        "4 previews after 4",
        "denoiser 2/5",
        "denoiser 3/5",
        "saved checkpoints/ckpt-000006 after 6",
        "denoiser 4/5",
        "denoiser 5/5",
        "4 previews after 8",
        "saved checkpoints/ckpt-000008 after 8",
        diary.lines[-1],
    ]
    assert diary.lines[-1].startswith("Writing the concept")


def test_the_run_says_nothing_itself(lesson: Lesson, capsys: pytest.CaptureFixture[str]) -> None:
    train(lesson())
    assert capsys.readouterr().out == ""


@pytest.mark.parametrize("method", [name if name in KINDS else slow(name) for name in METHODS])
def test_a_concept_says_how_it_came_about(lesson: Lesson, tmp_path: Path, method: str) -> None:
    config = lesson(method)
    concept = train(config)
    record = concept.record
    assert concept.folder == tmp_path / "out"
    assert concept.record == Concept.load(tmp_path / "out").record
    assert (record.name, record.method, record.subject.token, record.subject.noun) == ("out", method, "sks", "dog")
    assert record.base.name == config.base
    assert record.base.hash.startswith("sha256:")
    assert record.prompt == "a photo of sks dog"
    assert len(record.photos) == 4
    assert {len(photo) for photo in record.photos} == {64}
    assert record.settings["steps"] == STEPS
    assert record.steps == sum(stage.steps for stage in record.stages)
    assert record.steps == STEPS + record.settings.get("token_steps", 0)
    assert {"load", "encode", "train", "checkpoint", "save", "samples"} <= record.timings.keys()
    drawn = record.settings["prior_weight"] > 0 and record.settings["prior"] == "pictures"
    assert ("class_pictures" in record.timings) == drawn
    assert 0 < record.timings["train"] < record.seconds
    assert record.seconds_per_step == pytest.approx(record.timings["train"] / record.steps)
    assert record.peak_memory_bytes > 10**7
    assert {"booth", "torch", "diffusers"} <= record.versions.keys() | {"booth"}
    files = [file for stage in record.stages for file in stage.files]
    assert sorted(files) == sorted(record.sizes)
    assert record.sizes == {file: (concept.folder / file).stat().st_size for file in files}
    assert record.artifact_bytes == sum(record.sizes.values())
    assert len(list((concept.folder / "samples").glob("*.png"))) == 4
    assert not (tmp_path / "out.run").exists()
    assert (record.precision, record.device) == ("fp32", "cpu")


def test_the_numbers_of_a_run_are_plain(lesson: Lesson) -> None:
    concept = train(lesson())
    result = TrainResult.of(concept).to_json()
    assert json.loads(json.dumps(result)) == result
    assert list(result) == [
        "concept",
        "method",
        "steps",
        "seconds",
        "seconds_per_step",
        "peak_memory_bytes",
        "artifact_bytes",
        "final_loss",
    ]
    assert (result["method"], result["steps"], result["concept"]) == ("lora", STEPS, str(concept.folder))
    assert math.isfinite(result["final_loss"])


def test_the_last_tenth_of_the_losses_is_averaged() -> None:
    assert record.mean_of_last([9.0] * 18 + [1.0, 2.0]) == 1.5
    assert record.mean_of_last([9.0, 3.0]) == 3.0
    assert record.mean_of_last([9.0] * 18 + [None, 2.0]) == 2.0
    assert record.mean_of_last([None]) is None


def test_samples_and_previews_are_drawn_at_the_same_prompts_and_seeds(
    lesson: Lesson, monkeypatch: pytest.MonkeyPatch, tmp_path: Path
) -> None:
    asked: list[tuple[list[str], list[int]]] = []

    def draw(model: Any, prompts: list[str], seeds: list[int], **how: Any) -> list[Image.Image]:
        asked.append((prompts, seeds))
        return [Image.new("RGB", (8, 8)) for _ in prompts]

    monkeypatch.setattr(samples, "draw", draw)
    train(lesson(previews=2, seed=5))
    assert len(asked) == 3
    assert asked[0] == asked[1] == asked[2]
    prompts, seeds = asked[0]
    assert seeds == [5, 6, 7, 8]
    assert all("sks dog" in prompt for prompt in prompts)
    folder = tmp_path / "out" / "samples"
    assert sorted(p.name for p in (folder / "previews").iterdir()) == ["000002", "000004"]
    first = Image.open(sorted(folder.glob("*.png"))[0])
    assert "Seed: " in first.text["parameters"]  # type: ignore[attr-defined]


def test_previews_do_not_change_what_is_learned(lesson: Lesson, monkeypatch: pytest.MonkeyPatch) -> None:
    plain = train(lesson("lora", "plain", ema=0.9, dropout=0.5))
    monkeypatch.undo()  # samples are drawn
    monkeypatch.setattr(samples, "STEPS", 1)
    watched = train(lesson("lora", "watched", ema=0.9, dropout=0.5, previews=1))
    assert weights(watched.folder) == weights(plain.folder)


def test_a_preview_that_cannot_be_kept_does_not_stop_the_run(lesson: Lesson, monkeypatch: pytest.MonkeyPatch) -> None:
    diary = Diary()

    def failing(*arguments: Any) -> Any:
        raise OSError(28, "No space left on device")

    monkeypatch.setattr(callbacks, "draw_samples", failing)
    train(lesson(previews=2), listeners=[diary])
    assert sum("could not be kept" in line for line in diary.lines) == 2


@pytest.mark.essential
def test_class_pictures_are_drawn_once_for_two_runs(lesson: Lesson, monkeypatch: pytest.MonkeyPatch) -> None:
    drawn = 0
    draw = stage_data.draw

    def counting(*arguments: Any, **named: Any) -> Any:
        nonlocal drawn
        drawn += 1
        return draw(*arguments, **(named | {"steps": 1}))

    monkeypatch.setattr(stage_data, "draw", counting)
    train(lesson("dreambooth", "a", noun="cat"))
    assert drawn == 1
    train(lesson("dreambooth", "b", noun="cat", resolution=32))  # the base's own side
    assert drawn == 1
    train(lesson("dreambooth", "c", noun="cat", resolution=16))
    assert drawn == 2


def test_bad_photos_leave_nothing_behind(lesson: Lesson, tmp_path: Path) -> None:
    bad = tmp_path / "bad"
    bad.mkdir()
    (bad / "a.jpg").write_text("no picture")
    before = sorted(tmp_path.iterdir())
    with pytest.raises(BadDataError, match=r"a\.jpg"):
        train(lesson(photos=[bad]))
    assert sorted(tmp_path.iterdir()) == before


@pytest.mark.essential
@pytest.mark.parametrize("finished", [False, True])
def test_another_run_is_not_resumed(lesson: Lesson, tmp_path: Path, finished: bool) -> None:
    if finished:
        train(lesson())
    else:
        with pytest.raises(Interrupted):
            train(lesson(), listeners=[stop_after(3)])
    others = {
        "learning_rate": lesson(resume=True, learning_rate=9e-4),
        "seed": lesson(resume=True, seed=3),
        "flip": lesson(resume=True, flip=True),
        "class": lesson(resume=True, noun="cat"),
        "method": lesson("textual_inversion", resume=True),
    }
    for told, other in others.items():
        with pytest.raises(UsageError, match=rf"belongs to another run:.*\b{told} was .* and is now"):
            train(other)
        assert (tmp_path / "out").exists() == finished


def test_other_photos_are_another_run(lesson: Lesson, stopped: Any, photos_folder: Path) -> None:
    (photos_folder / "0.png").unlink()
    with pytest.raises(UsageError, match="photos is different"):
        train(stopped)


def test_how_often_it_saves_or_shows_may_change(stopped: Any, lesson: Lesson, taught: Taught) -> None:
    resumed = train(stopped.model_copy(update={"checkpoint_every": 1, "previews": 2}))
    assert weights(resumed.folder) == weights(taught().folder)


@pytest.mark.essential
def test_a_finished_run_is_returned_when_resumed(lesson: Lesson, tmp_path: Path) -> None:
    concept = train(lesson())
    (tmp_path / "out.run").mkdir()  # killed before it was removed
    diary = Diary()
    again = train(lesson(resume=True), listeners=[diary])
    assert again == concept
    assert not any("lora 1/" in line for line in diary.lines)
    assert not (tmp_path / "out.run").exists()


def test_a_finished_concept_that_was_damaged_is_not_returned(lesson: Lesson, tmp_path: Path) -> None:
    train(lesson())
    (tmp_path / "out" / "pytorch_lora_weights.safetensors").write_bytes(b"")
    with pytest.raises(DamagedFileError, match="pytorch_lora_weights"):
        train(lesson(resume=True))


@pytest.mark.essential
def test_neither_a_concept_nor_an_unfinished_run_is_overwritten(lesson: Lesson, stopped: Any) -> None:
    with pytest.raises(UsageError, match=r"unfinished run.*`resume`"):
        train(lesson())
    train(stopped)
    with pytest.raises(UsageError, match=r"finished concept.*`out`"):
        train(lesson())


def test_resume_without_a_checkpoint_starts_and_says_so(lesson: Lesson) -> None:
    diary = Diary()
    train(lesson(resume=True), listeners=[diary])
    assert any("no checkpoint" in line for line in diary.lines)
    assert "start ['lora'] at 0" in diary.lines


def test_time_and_losses_are_counted_across_a_resume(stopped: Any, tmp_path: Path) -> None:
    values = json.loads((tmp_path / "out.run" / "checkpoints" / "ckpt-000003" / "state.json").read_text())
    assert len(values["history"]) == 3
    record = train(stopped).record
    assert record.seconds > values["clock"]["total"]
    assert record.timings["train"] > values["clock"]["parts"]["train"]


def test_too_full_a_disk_is_noticed_before_the_first_step(lesson: Lesson, monkeypatch: pytest.MonkeyPatch) -> None:
    usage = namedtuple("usage", "total used free")
    monkeypatch.setattr(shutil, "disk_usage", lambda _: usage(0, 0, 1000))
    diary = Diary()
    with pytest.raises(DiskFullError, match="bytes are missing"):
        train(lesson("dreambooth", prior_weight=0.0), listeners=[diary])
    assert not any(line.startswith("dreambooth") for line in diary.lines)


@pytest.fixture
def small_files() -> Iterator[None]:
    """No file may grow beyond a million bytes."""
    soft, hard = resource.getrlimit(resource.RLIMIT_FSIZE)
    resource.setrlimit(resource.RLIMIT_FSIZE, (1_000_000, hard))
    yield
    resource.setrlimit(resource.RLIMIT_FSIZE, (soft, hard))


@pytest.mark.essential
def test_a_disk_that_fills_up_while_saving_keeps_the_run(
    lesson: Lesson, taught: Taught, tmp_path: Path, small_files: None
) -> None:
    """DreamBooth's checkpoints are larger than the limit, the token's of the first stage are not."""
    config = lesson("two_stage", checkpoint_every=2)
    with pytest.raises(DiskFullError, match=r"ckpt-000004.*bytes are missing.*`resume`"):
        train(config)
    kept = sorted(p.name for p in (tmp_path / "out.run" / "checkpoints").iterdir())
    assert kept == ["ckpt-000002", "ckpt-000003"]
    hard = resource.getrlimit(resource.RLIMIT_FSIZE)[1]
    resource.setrlimit(resource.RLIMIT_FSIZE, (hard, hard))  # space was made
    resumed = train(config.model_copy(update={"resume": True}))
    assert weights(resumed.folder) == weights(taught("two_stage").folder)


@pytest.mark.essential
def test_a_disk_that_fills_up_with_the_concept_keeps_the_run(
    lesson: Lesson, taught: Taught, monkeypatch: pytest.MonkeyPatch, tmp_path: Path
) -> None:
    write = METHODS["lora"].write

    def full(*arguments: Any) -> None:
        write(*arguments)
        raise OSError(28, "No space left on device")

    monkeypatch.setattr(METHODS["lora"], "write", full)
    with pytest.raises(DiskFullError, match="bytes are missing"):
        train(lesson())
    assert sorted(p.name for p in tmp_path.iterdir()) == ["out.run", "photos"]
    monkeypatch.setattr(METHODS["lora"], "write", write)
    diary = Diary()
    resumed = train(lesson(resume=True), listeners=[diary])
    assert f"start ['lora'] at {STEPS}" in diary.lines
    assert weights(resumed.folder) == weights(taught().folder)


@pytest.mark.parametrize(
    ("error", "expected"),
    [
        (torch.OutOfMemoryError("CUDA out of memory"), OutOfMemoryError),
        (Interrupted("Stopped by SIGTERM.", 15), Interrupted),
        (OSError(28, "No space left on device"), DiskFullError),
    ],
)
def test_whatever_goes_wrong_at_the_end_the_weights_are_kept(
    lesson: Lesson, monkeypatch: pytest.MonkeyPatch, error: BaseException, expected: type[BaseException]
) -> None:
    draw = samples.draw

    def failing(*_: Any, **__: Any) -> None:
        raise error

    monkeypatch.setattr(samples, "draw", failing)
    with pytest.raises(expected) as caught:
        train(lesson(checkpoint_every=0))
    assert expected is OutOfMemoryError or "`resume`" in str(caught.value)
    monkeypatch.setattr(samples, "draw", draw)
    diary = Diary()
    train(lesson(checkpoint_every=0, resume=True), listeners=[diary])
    assert f"start ['lora'] at {STEPS}" in diary.lines


@pytest.mark.essential
def test_out_of_memory_while_training_keeps_the_checkpoint_and_advises(
    lesson: Lesson, taught: Taught, monkeypatch: pytest.MonkeyPatch, tmp_path: Path
) -> None:
    from booth.train.update import Update

    backward = Update.backward
    calls = 0

    def failing(update: Update, loss: torch.Tensor) -> None:
        nonlocal calls
        calls += 1
        if calls >= 4:  # on every rung of the ladder
            raise torch.OutOfMemoryError("CUDA out of memory. Tried to allocate 2.00 GiB")
        backward(update, loss)

    monkeypatch.setattr(Update, "backward", failing)
    with pytest.raises(OutOfMemoryError, match=r"batch_size=1.*gradient_checkpointing") as caught:
        train(lesson())
    assert isinstance(caught.value, BoothError)
    assert (tmp_path / "out.run" / "checkpoints" / "ckpt-000002").is_dir()
    monkeypatch.setattr(Update, "backward", backward)
    assert weights(train(lesson(resume=True)).folder) == weights(taught().folder)


def test_bfloat16_is_another_precision_and_keeps_its_weights_in_float32(lesson: Lesson) -> None:
    plain, half = train(lesson(out="plain")), train(lesson(out="half", precision="bf16"))
    assert half.record.precision == "bf16"
    assert weights(half.folder) != weights(plain.folder)
    kept = [t for file in half.folder.rglob("*.safetensors") for t in load_file(file).values()]
    assert kept
    assert all(t.dtype == torch.float32 for t in kept)
    with pytest.raises(UsageError, match="precision was 'bf16' and is now 'fp32'"):
        train(lesson(out="half", resume=True))


def test_a_token_can_be_picked(lesson: Lesson) -> None:
    record = train(lesson(token="auto")).record
    assert record.subject.token != "auto"
    assert record.subject.token in record.prompt


@pytest.mark.essential
def test_a_concept_draws_its_subject_again(lesson: Lesson, toy_base: Path) -> None:
    concept = train(lesson(learning_rate=0.05, steps=10))
    pictures = concept.generate("a photo of sks dog", n=2, seed=7, steps=2)
    assert [p.size for p in pictures] == [(32, 32)] * 2
    again = Concept.load(concept.folder).generate(["a photo of sks dog"], n=2, seed=7, steps=2)
    assert [p.tobytes() for p in pictures] == [p.tobytes() for p in again]
    weak = concept.generate("a photo of sks dog", n=1, seed=7, strength=0.0, steps=2)
    assert weak[0].tobytes() != pictures[0].tobytes()


@pytest.mark.skipif(sys.platform != "linux", reason="only there can a process's highest mark be taken back")
def test_memory_that_an_earlier_run_took_is_not_counted_for_the_next():
    with mmap.mmap(-1, 100_000_000) as much:  # pages of its own: a tensor's may be the allocator's, and stay with it
        for page in range(0, len(much), mmap.PAGESIZE):
            much[page] = 1
        high = peak_memory("cpu")
    forget_peak_memory("cpu")
    assert peak_memory("cpu") < high - 50_000_000


def test_a_controlnet_without_samples_is_written_too(lesson: Lesson, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.undo()  # the drawing is the real one
    concept = train(lesson("controlnet", control="scribble", steps=1), samples=False)
    assert not list((concept.folder / "samples").glob("*.png"))


def test_a_photo_whose_name_is_no_utf_8_is_trained_and_written_down(lesson: Lesson, photos_folder: Path) -> None:
    odd = photos_folder / os.fsdecode(b"caf\xe9.png")
    try:
        (photos_folder / "0.png").rename(odd)
    except OSError:
        pytest.skip("this filesystem takes text alone")
    concept = train(lesson(steps=1))
    again = Concept.load(concept.folder)
    assert [Path(file).name for file in again.record.photo_files if "caf" in file] == ["caf\\xe9.png"]
    told = (concept.folder / "run" / "run.json").read_text(encoding="utf-8")
    assert "caf\\\\xe9.png" in told
