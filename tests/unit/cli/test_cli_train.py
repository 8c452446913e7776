"""booth train."""

from pathlib import Path

import pytest
from told import last_object

from booth.concept import Concept
from booth.core.concept import read_record
from booth.registry import METHODS
from harness import slow

FEW = ["--steps", "2", "--set", "class_pictures=2"]


@pytest.mark.essential
@pytest.mark.parametrize("method", [name if name in ("two_stage", "lora") else slow(name) for name in METHODS])
def test_training_prints_the_concept_and_its_numbers(booth_cli, toy_base: Path, five_photos: Path, method: str) -> None:
    two = "token_steps" in METHODS[method].Config.model_fields  # a stage for the token and one for the denoiser
    few = [*FEW, "--set", "token_steps=2"] if two else FEW
    result = booth_cli("train", five_photos, "--class", "dog", "--method", method, "--base", toy_base, *few, "--json")
    assert result.exit_code == 0, result.stderr
    told = last_object(result)
    assert set(told) == {
        "concept",
        "method",
        "steps",
        "seconds",
        "seconds_per_step",
        "peak_memory_bytes",
        "artifact_bytes",
        "final_loss",
    }
    record = read_record(Path(told["concept"]))
    assert (record.method, told["method"]) == (method, method)
    assert told["steps"] == (4 if two else 2)
    assert told["artifact_bytes"] == sum(record.sizes.values())
    assert Path(told["concept"]) == Path.cwd() / "concepts" / f"sks-dog-{method}"
    assert "loss" in result.stderr
    assert len(result.stdout.splitlines()) == 1


def test_without_json_stdout_is_the_folder_alone(booth_cli, toy_base: Path, five_photos: Path) -> None:
    result = booth_cli("train", five_photos, "--class", "dog", "--base", toy_base, "--out", "mine", *FEW)
    assert result.stdout == f"{Path.cwd() / 'mine'}\n"
    assert "booth generate" in result.stderr


@pytest.mark.essential
def test_settings_come_from_file_then_set_then_flags(booth_cli, toy_base: Path, five_photos: Path) -> None:
    Path("run.toml").write_text(
        f"""
        class = "dog"
        base = "{toy_base}"
        seed = 5
        token = "zwx"
        [settings]
        rank = 2
        steps = 9
        dropout = 0.1
        """
    )
    sets = ["--set", "rank=3", "--set", "seed=6", "--set", "steps=8"]
    result = booth_cli("train", five_photos, "--config", "run.toml", *sets, "--steps", "2", "--seed", "7", "--json")
    record = read_record(Path(last_object(result)["concept"]))
    settings = record.settings
    assert (record.seed, record.subject.token) == (7, "zwx")
    assert (settings["rank"], settings["steps"], settings["dropout"]) == (3, 2, 0.1)


def test_a_style_needs_no_class_and_another_one_may_be_taught_beside_it(
    booth_cli, toy_base: Path, five_photos: Path
) -> None:
    also = f"{five_photos}=zwx style"
    words = ["train", five_photos, "--kind", "style", "--also", also, "--base", toy_base, "--dry-run"]
    result = booth_cli(*words, "--json")
    assert result.exit_code == 0, result.stderr
    plan = last_object(result)
    assert plan["subject"] == {"token": "sks", "noun": "style", "kind": "style"}
    assert plan["stages"][0]["prompts"] == ["a picture in sks style"]
    assert plan["also"][0]["subject"] == {"token": "zwx", "noun": "style"}
    told = booth_cli(*words).stdout
    assert told.count("flat folder of 5 photos") == 2
    assert "subject   zwx style" in told


@pytest.mark.essential
def test_a_dry_run_tells_the_plan_and_writes_nothing(booth_cli, toy_base: Path, five_photos: Path) -> None:
    words = ["train", five_photos, "--class", "dog", "--base", toy_base, "--method", "two_stage", "--dry-run"]
    result = booth_cli(*words, "--token", "red", "--json")
    assert result.exit_code == 0, result.stderr
    plan = last_object(result)
    assert [stage["name"] for stage in plan["stages"]] == ["token", "denoiser"]
    assert plan["stages"][0]["values"] == 32
    assert plan["stages"][1]["settings"]["steps"] == METHODS["two_stage"].defaults("tiny")["steps"]
    assert len(plan["photos"]["used"]) == 5
    assert "knows the token 'red'" in plan["warnings"][0]
    told = booth_cli(*words)
    assert "Nothing was written." in told.stdout
    assert "flat folder of 5 photos" in told.stdout
    assert list(Path.cwd().iterdir()) == []
    assert not (Path.cwd().parent / "cache").exists()


def test_a_dry_run_tells_buckets_and_memory_plans(booth_cli, toy_base: Path, tmp_path: Path) -> None:
    from PIL import Image

    Image.new("RGB", (96, 64), (90, 20, 40)).save(tmp_path / "wide.png")
    words = ["train", tmp_path / "wide.png", "--class", "dog", "--base", toy_base, "--crop", "buckets", "--dry-run"]
    told = booth_cli(*words, "--set", "memory=bf16+freed")
    assert told.exit_code == 0, told.stderr
    assert "wide.png, 96x64, bucket 40x24" in told.stdout
    assert "memory    Memory plan bf16+freed: about" in told.stdout
    assert "nf4+freed+checkpointing: " in told.stdout


def test_a_common_word_as_token_is_warned_about(booth_cli, toy_base: Path, five_photos: Path) -> None:
    result = booth_cli("train", five_photos, "--class", "dog", "--base", toy_base, "--token", "red", *FEW)
    assert result.exit_code == 0
    assert "warning: The base knows the token 'red'" in result.stderr


def test_auto_picks_a_rare_token(booth_cli, toy_base: Path, five_photos: Path) -> None:
    from booth.core.tokens import RARE_TOKENS

    result = booth_cli("train", five_photos, "--class", "dog", "--base", toy_base, "--token", "auto", *FEW, "--json")
    assert Concept.load(last_object(result)["concept"]).record.subject.token in RARE_TOKENS


def test_a_finished_run_is_not_overwritten_and_resume_returns_it(booth_cli, toy_base: Path, five_photos: Path) -> None:
    words = ["train", five_photos, "--class", "dog", "--base", toy_base, *FEW, "--json"]
    first = last_object(booth_cli(*words))
    again = booth_cli(*words)
    assert again.exit_code == 2
    assert "--out" in again.stderr
    assert last_object(booth_cli(*words, "--resume"))["concept"] == first["concept"]


def test_without_samples_nothing_is_drawn(booth_cli, toy_base: Path, five_photos: Path) -> None:
    how = ("--base", str(toy_base), "--class", "dog", "--out", "quiet", "--steps", "1", "--no-samples")
    assert booth_cli("train", str(five_photos), *how).exit_code == 0
    assert (Path("quiet") / "concept.json").is_file()
    assert not list(Path("quiet").rglob("*.png"))


def test_previews_are_drawn_while_training(booth_cli, toy_base: Path, five_photos: Path) -> None:
    result = booth_cli(
        "train", five_photos, "--class", "dog", "--base", toy_base, *FEW, "--preview-every", "1", "--json"
    )
    assert result.stderr.count("Preview after") == 2
    assert list(Path(last_object(result)["concept"]).glob("samples/previews/*/*.png"))


@pytest.mark.parametrize(
    ("words", "code", "told"),
    [
        (["--class", "dog"], 2, "PHOTOS is missing"),
        (["PHOTOS"], 2, "--class is missing"),
        (["PHOTOS", "--class", "dog", "--method", "lroa"], 2, "Did you mean 'lora'"),
        (["PHOTOS", "--class", "dog", "--set", "rnak=3"], 2, "Did you mean 'rank'"),
        (["PHOTOS", "--class", "dog", "--set", "rank"], 2, "Write key=value, such as --set rank=8"),
        (["PHOTOS", "--class", "dog", "--set", "rank=0"], 2, "greater than or equal to 1"),
        (["PHOTOS", "--class", "dog", "--crop", "middle"], 2, "'center', 'random', 'subject' or 'buckets'"),
        (["PHOTOS", "--class", "dog", "--token", "dog"], 2, "Choose a rare token"),
        (["PHOTOS", "--class", "dog", "--config", "no.toml"], 2, "no.toml does not exist"),
        (["PHOTOS", "--class", "dog", "--base", "no-such"], 69, "There is no base 'no-such'"),
        (["PHOTOS", "--class", "dog", "--device", "abacus"], 69, "--device cpu"),
        (["nowhere", "--class", "dog"], 65, "nowhere"),
        (["PHOTOS", "--class", "dog", "--set", "rank=0", "--set", "flip=3"], 2, "flip=3 does not work"),
    ],
)
def test_errors_say_what_to_do_and_have_their_code(
    booth_cli, toy_base: Path, five_photos: Path, words: list[str], code: int, told: str
) -> None:
    base = [] if "--base" in words else ["--base", toy_base]
    result = booth_cli("train", *(five_photos if word == "PHOTOS" else word for word in words), *base, "--json")
    assert result.exit_code == code
    assert told in result.stderr
    assert "Traceback" not in result.stderr
    error = last_object(result)
    assert error["exit_code"] == code
    assert told in error["error"]
    assert not Path("concepts").exists()
