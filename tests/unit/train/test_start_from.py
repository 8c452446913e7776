"""A run that starts from what another learned, and a finished run that goes on with more steps."""

from __future__ import annotations

import shutil
from pathlib import Path
from typing import Any

import pytest
import torch
from lessons import KINDS, Heard, Lesson, Taught, stop_after
from lessons import weights as all_weights
from safetensors.torch import load_file, save_file
from torch import Tensor
from typer.testing import CliRunner

from booth.cli.app import app
from booth.concept import Concept
from booth.core.concept import read_record
from booth.core.errors import BadDataError, DamagedFileError, Interrupted, UsageError
from booth.export.run import export
from booth.registry import METHODS
from booth.train.reteach import translate
from booth.train.run import train
from booth.train.trainer import Trainer
from harness import slow

pytestmark = pytest.mark.usefixtures("no_samples")

OTHERS = {"textual_inversion": "ti_lora", "lora": "locon"}  # methods that contain the first


def weights(concept: Path) -> dict[str, str]:
    """The bits of what was learned, without those of the checkpoints that are kept beside it."""
    return {name: bits for name, bits in all_weights(concept).items() if not name.startswith("run/")}


def learned(trainer: Trainer) -> dict[str, Tensor]:
    """Copies of what is about to be trained, by name, before the first step."""
    trainer.start()
    state = trainer.plan_state
    for _ in trainer.plan:
        state.open()
        if not state.is_last:
            state.close()
    return {n: t.detach().clone() for stage in trainer.plan for n, t in stage.method.learned().items()}


def restored(concept: Concept, trainer: Trainer) -> dict[str, Tensor]:
    """What a concept holds, by the names of its method, read on a base that nothing is attached to."""
    (method,) = concept.methods()
    method.restore(trainer.model, concept.folder)
    found = {name: t.detach().clone() for name, t in method.learned().items()}
    method.detach(trainer.model)
    return found


@pytest.mark.parametrize("method", [name if name in KINDS else slow(name) for name in METHODS.own])
def test_a_run_starts_from_a_concept(lesson: Lesson, taught: Taught, tmp_path: Path, method: str) -> None:
    former = taught(method)
    config = lesson(method, "next", start_from=former.folder, seed=7)
    with Trainer(config, keep=False) as trainer:
        saved, begun = restored(former, trainer), learned(trainer)
    assert saved
    assert saved.keys() == begun.keys()
    assert all(torch.equal(saved[name], begun[name]) for name in saved)


def test_what_the_run_does_not_say_is_as_the_concept_has_it(lesson: Lesson, toy_base: Path) -> None:
    former = train(lesson("lora", "former", rank=3, alpha=1.5, learning_rate=3e-4, token="zwx"))
    config = lesson("lora", "next", start_from=former.folder, batch_size=1)
    bare = config.model_copy(update={"settings": {"steps": 2}})
    fields = {name: getattr(bare, name) for name in bare.model_fields_set - {"method", "noun", "base"}}
    concept = train(type(bare)(**fields))
    assert concept.record.method == "lora"
    assert concept.record.base.name == str(toy_base)
    assert concept.record.subject.token == "zwx"
    assert concept.record.subject.noun == "dog"
    assert {k: concept.record.settings[k] for k in ("rank", "alpha", "learning_rate", "steps")} == {
        "rank": 3,
        "alpha": 1.5,
        "learning_rate": 3e-4,
        "steps": 2,
    }
    assert concept.record.data["start_from"]["name"] == str(former.folder)
    assert weights(concept.folder) != weights(former.folder)


@pytest.mark.parametrize(("method", "other"), OTHERS.items())
def test_a_method_starts_from_one_that_it_contains(lesson: Lesson, taught: Taught, method: str, other: str) -> None:
    former, heard = taught(method), Heard()
    config = lesson(other, "next", start_from=former.folder)
    with Trainer(config, keep=False, listeners=[heard]) as trainer:
        saved, begun = restored(former, trainer), learned(trainer)
    assert saved.keys() < begun.keys()
    assert all(torch.equal(saved[name], begun[name]) for name in saved)
    assert any("begin afresh" in said for said in heard.messages)


def test_rows_that_go_on_moving_are_not_reset_by_the_second_stage(lesson: Lesson, taught: Taught) -> None:
    former = taught("textual_inversion")
    moved = train(lesson("pivotal_tuning", "moved", start_from=former.folder, token="sks", steps=2, token_steps=4))
    # Had the second stage begun with the rows of the concept, two small steps would have left them close to it.
    began, ended = (load_file(c.folder / "learned_embeds.safetensors")["sks"] for c in (former, moved))
    alone = train(lesson("textual_inversion", "alone", start_from=former.folder, steps=4, learning_rate=1e-5))
    still = load_file(alone.folder / "learned_embeds.safetensors")["sks"]
    assert (ended - began).abs().max() > 2 * (still - began).abs().max()


@pytest.mark.parametrize("method", ["lora", slow("t_lora"), "pivotal_tuning", slow("dreambooth")])
def test_stopped_and_resumed_it_ends_as_unbroken(lesson: Lesson, taught: Taught, method: str) -> None:
    former = taught(method, seed=3)
    straight = train(lesson(method, "straight", start_from=former.folder))
    for k in (1, 4):
        config = lesson(method, f"stopped-{k}", start_from=former.folder)
        with pytest.raises(Interrupted):
            train(config, listeners=[stop_after(k)])
        assert weights(train(config.model_copy(update={"resume": True})).folder) == weights(straight.folder)


def test_another_start_is_another_run(lesson: Lesson) -> None:
    first, second = (train(lesson("lora", f"former-{seed}", seed=seed)) for seed in (1, 2))
    config = lesson("lora", "next", start_from=first.folder)
    with pytest.raises(Interrupted):
        train(config, listeners=[stop_after(2)])
    with pytest.raises(UsageError, match="start_from was"):
        train(config.model_copy(update={"start_from": second.folder, "resume": True}))
    moved = first.folder.rename(first.folder.with_name("moved"))
    assert train(config.model_copy(update={"start_from": moved, "resume": True})).record.steps == 5


@pytest.mark.parametrize(
    ("method", "settings", "told"),
    [
        ("lora", {"rank": 3}, "differs in shape .* such as `rank`"),
        ("lora", {"alpha": 2.0}, "alpha is None in .* and 2.0 in this run"),
        ("lora", {"targets": ("attention",)}, "for which this run has no place"),
        ("dora", {}, "holds LoRA, which DoRA does not start from"),
        ("dreambooth", {}, "holds LoRA, which DreamBooth does not start from"),
    ],
)
def test_what_would_mean_something_else_is_refused(
    lesson: Lesson, taught: Taught, method: str, settings: dict[str, Any], told: str
) -> None:
    former = taught("lora")
    config = lesson(method, "next", start_from=former.folder, **settings)
    with pytest.raises(UsageError, match=told):
        train(config)
    assert not config.folder.exists()
    assert not config.folder.with_name("next.run").exists()


def test_what_is_no_start_is_refused(lesson: Lesson, tmp_path: Path, photos_folder: Path) -> None:
    for place, told in ((tmp_path / "none", "does not exist"), (photos_folder, "no concept's folder")):
        with pytest.raises(UsageError, match=told):
            train(lesson("lora", start_from=place))
    bad = tmp_path / "bad.safetensors"
    save_file({"a.b": torch.zeros(2, 2, 2), "a.c": torch.zeros(2)}, bad)
    with pytest.raises(BadDataError, match="no trainer that booth knows"):
        train(lesson("lora", start_from=bad))


@pytest.mark.parametrize(
    ("method", "format", "settings"),
    [
        ("lora", "kohya", {"rank": 3, "alpha": 1.5, "train_text_encoder": True}),
        ("lora", "diffusers", {}),
        ("lokr", "kohya", {}),
        ("textual_inversion", "embedding", {"vectors": 2}),
    ],
)
def test_a_run_starts_from_a_foreign_file(
    lesson: Lesson, taught: Taught, tmp_path: Path, method: str, format: str, settings: dict[str, Any]
) -> None:
    former = taught(method, **settings)
    file = tmp_path / "theirs.safetensors"
    export(former, format, file, picture=False)
    config = lesson(method, "next", start_from=file)
    config = config.model_copy(update={"settings": {"steps": 2}})
    fields = {name: getattr(config, name) for name in config.model_fields_set - {"method"}}
    with Trainer(type(config)(**fields), keep=False) as trainer:
        assert trainer.method.name == method
        saved, begun = restored(former, trainer), learned(trainer)
    assert saved.keys() == begun.keys()
    for name in saved:
        assert torch.allclose(saved[name], begun[name], rtol=1e-5, atol=1e-7), name


@pytest.mark.essential
@pytest.mark.parametrize("middle", [True, False])
def test_a_run_starts_from_a_controlnet_in_a_folder_of_its_own(lesson: Lesson, tmp_path: Path, middle: bool) -> None:
    former = train(lesson("controlnet", "former", control="canny", middle_attention=middle))
    place = shutil.copytree(former.folder / "controlnet", tmp_path / "sd-controlnet-canny")
    config = lesson("controlnet", "next", start_from=place)
    config = config.model_copy(update={"settings": {"steps": 2}})
    fields = {name: getattr(config, name) for name in config.model_fields_set - {"method"}}
    with Trainer(type(config)(**fields), keep=False) as trainer:
        told = trainer.method.config.model_dump()
        assert (trainer.method.name, told["control"], told["middle_attention"]) == ("controlnet", "canny", middle)
        saved, begun = restored(former, trainer), learned(trainer)
    assert saved.keys() == begun.keys()
    assert all(torch.equal(saved[name], begun[name]) for name in saved)
    unnamed = place.rename(tmp_path / "net")
    with pytest.raises(UsageError, match=r"does not say what it follows\. Add `control`"):
        train(lesson("controlnet", "third", start_from=unnamed))
    with pytest.raises(UsageError, match="holds ControlNet, which LoRA does not start from"):
        train(lesson("lora", "fourth", start_from=unnamed.rename(place)))


def test_a_file_that_holds_a_whole_model_is_a_base(lesson: Lesson, taught: Taught, tmp_path: Path) -> None:
    former, file = taught("dreambooth"), tmp_path / "whole.safetensors"
    export(former, "checkpoint", file, picture=False)
    with pytest.raises(UsageError, match=r"whole model.*`base`"):
        train(lesson("dreambooth", "next", start_from=file))


# More steps


def test_a_stopped_run_goes_on_to_more_steps_as_if_asked_for_them_at_once(lesson: Lesson, taught: Taught) -> None:
    straight = taught("lora", steps=7)
    config = lesson("lora", "stopped", steps=4)
    with pytest.raises(Interrupted):
        train(config, listeners=[stop_after(3)])
    longer = train(lesson("lora", "stopped", steps=7, resume=True))
    assert weights(longer.folder) == weights(straight.folder)
    assert longer.record.final_loss == straight.record.final_loss


@pytest.mark.essential
@pytest.mark.parametrize("method", ["lora", "pivotal_tuning", "t_lora"])
def test_a_finished_run_goes_on_bit_for_bit_where_its_checkpoints_are_kept(
    lesson: Lesson, taught: Taught, method: str
) -> None:
    straight = taught(method, steps=7)
    former = train(lesson(method, "longer", steps=4, keep_checkpoints=1, checkpoint_every=0))
    before, heard = weights(former.folder), Heard()
    config = lesson(method, "longer", steps=7, keep_checkpoints=1, resume=True)
    longer = train(config, listeners=[heard])
    assert weights(longer.folder) == weights(straight.folder)
    assert longer.record.steps == straight.record.steps
    assert any("as if 7 steps had been asked for at once" in said for said in heard.messages)
    kept = former.folder.with_name(f"longer-{former.record.steps}-steps")
    assert weights(kept) == before
    assert read_record(kept).steps == former.record.steps
    again = Heard()
    train(config, listeners=[again])
    assert not again.steps
    assert any("was finished already" in said for said in again.messages)


def test_without_checkpoints_a_finished_run_goes_on_from_its_weights_and_says_so(lesson: Lesson) -> None:
    former, heard = train(lesson("pivotal_tuning", "longer", steps=4)), Heard()
    saved = weights(former.folder)
    config = lesson("pivotal_tuning", "longer", steps=5, resume=True)
    with Trainer(config, listeners=[heard]) as trainer:
        trainer.start()
        trainer.plan_state.open()
        begun = {n: t.clone() for s in trainer.plan for n, t in s.method.learned().items()}
        for _ in trainer:
            pass
        longer = trainer.finish()
        trained = learned(Trainer(lesson("pivotal_tuning", "other", start_from=longer.folder), keep=False))
    assert any("optimiser that begins anew" in said for said in heard.messages)
    assert heard.steps == [5]
    assert longer.record.steps == former.record.steps + 1
    kept = Concept.load(former.folder.with_name(f"longer-{former.record.steps}-steps"))
    assert weights(kept.folder) == saved
    with Trainer(lesson("pivotal_tuning", "another"), keep=False) as bare:
        values = restored(kept, bare)
    assert all(torch.equal(values[name], begun[name]) for name in values)
    assert any(not torch.equal(values[name], trained[name]) for name in values)


def test_stopped_on_the_way_to_more_steps_nothing_is_lost(lesson: Lesson, taught: Taught) -> None:
    former = train(lesson("lora", "longer", steps=3, keep_checkpoints=1))
    config = lesson("lora", "longer", steps=7, keep_checkpoints=1, resume=True)
    with pytest.raises(Interrupted):
        train(config, listeners=[stop_after(5)])
    assert read_record(former.folder).steps == 3
    assert weights(train(config).folder) == weights(taught("lora", steps=7).folder)


@pytest.mark.parametrize(
    ("first", "then"),
    [({"schedule": "cosine"}, {"schedule": "cosine"}), ({}, {"seed": 1}), ({}, {"steps": 2})],
)
def test_what_is_another_run_is_refused(lesson: Lesson, first: dict[str, Any], then: dict[str, Any]) -> None:
    former = train(lesson("lora", "longer", **{"steps": 4} | first))
    before = weights(former.folder)
    with pytest.raises(UsageError, match="steps was 4 and is now"):
        train(lesson("lora", "longer", **{"steps": 6, "resume": True} | then))
    assert weights(former.folder) == before


def test_a_start_is_not_taught_to_another_base(lesson: Lesson, taught: Taught, toy_base: Path) -> None:
    """A concept that started from another is taught anew where it is taught again."""
    former = taught("lora")
    concept = train(lesson("lora", "next", start_from=former.folder))
    assert translate(concept.record, str(toy_base)).run.start_from is None


def test_a_changed_concept_is_no_start(lesson: Lesson, taught: Taught, tmp_path: Path) -> None:
    former = taught("lora")
    copy = shutil.copytree(former.folder, tmp_path / "copy")
    (copy / "pytorch_lora_weights.safetensors").write_bytes(b"changed")
    with pytest.raises(DamagedFileError, match="does not match its hash"):
        train(lesson("lora", "next", start_from=copy))


def test_the_command_line_starts_from_a_concept_and_inspect_says_so(
    taught: Taught, photos_folder: Path, tmp_path: Path
) -> None:
    former, out = taught("lora", rank=2), tmp_path / "next"
    words = ["train", str(photos_folder), "--start-from", str(former.folder), "--steps", "1", "--out", str(out)]
    result = CliRunner().invoke(app, [*words, "--no-samples"])
    assert result.exit_code == 0, result.stderr
    record = read_record(out)
    assert (record.method, record.settings["rank"], record.subject.noun) == ("lora", 2, "dog")
    told = CliRunner().invoke(app, ["inspect", str(out)])
    assert str(former.folder) in told.stdout
    missing = CliRunner().invoke(app, [*words[:2], "--start-from", "nothing", "--class", "dog"])
    assert (missing.exit_code, "does not exist" in missing.stderr) == (2, True)
