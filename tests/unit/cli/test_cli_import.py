"""booth export, import and what they refuse."""

from __future__ import annotations

import re
import sys
from pathlib import Path

import pytest
from told import last_object

from booth.concept import Concept

sys.path.insert(0, str(Path(__file__).parent.parent / "importing"))

from bad_files import BAD_FILES, Payload, torch_pickle


def test_export_and_import_tell_their_file_and_folder(booth_cli, lora: Concept, toy_base: Path) -> None:
    told = last_object(booth_cli("export", lora.folder, "--to", "kohya", "--json"))
    assert told["file"] == "exports/lora-sks-kohya.safetensors"
    assert (told["check"]["passed"], told["lost"]) == (True, [])
    result = booth_cli("import", told["file"], "--base", toy_base)
    assert result.stdout == "concepts/sks-dog-lora-sks-kohya\n"
    assert "booth generate concepts/sks-dog-lora-sks-kohya 'a photo of sks dog'" in result.stderr
    assert Concept.load(result.stdout.strip()).record.subject.token == "sks"
    result = booth_cli("export", lora.folder, "--to", "kohya", "--out", "x.safetensors", "--picture")
    assert "Read back by" in result.stderr
    assert "of 255 in a pixel" in result.stderr


def test_an_option_that_a_format_has_no_use_for_is_refused(booth_cli, lora: Concept) -> None:
    result = booth_cli("export", lora.folder, "--to", "kohya", "--rank", 8)
    assert (result.exit_code, "--rank is for extracted and bundle" in result.stderr) == (2, True)
    result = booth_cli("export", lora.folder, "--to", "hypernetwork", "--picture")
    assert (result.exit_code, "Leave out --picture" in result.stderr) == (2, True)


def test_export_lists_its_formats(booth_cli) -> None:
    formats = {f["format"]: f for f in last_object(booth_cli("export", "--list", "--json"))["formats"]}
    assert formats["kohya"]["holds"] == ["layers"]
    assert (formats["checkpoint"]["imported"], formats["extracted"]["imported"]) == (True, False)
    assert formats["cldm"]["bases"] == ["stable_diffusion"]
    assert "AUTOMATIC1111" in booth_cli("export", "--list").stdout
    assert booth_cli("export").exit_code == 2


@pytest.mark.parametrize("name", BAD_FILES)
def test_a_bad_file_is_one_clear_error(name: str, booth_cli, toy_base: Path) -> None:
    make, code, words = BAD_FILES[name]
    Path(name).write_bytes(make())
    result = booth_cli("import", name, "--base", toy_base, "--token", "zwx", "--class", "dog", "--json")
    told = last_object(result)
    assert (result.exit_code, told["exit_code"]) == (code, code), result.stderr
    assert re.search(words, told["error"])
    assert name in told["error"]
    assert result.stderr.count("\n") == 1
    assert result.stderr.strip().isprintable()
    assert [p.name for p in Path().iterdir()] == [name]


@pytest.mark.essential
def test_a_pickle_that_runs_code_is_refused_even_where_pickles_are_allowed(booth_cli, toy_base: Path) -> None:
    Path("evil.pt").write_bytes(torch_pickle({"string_to_param": Payload()}))
    result = booth_cli("import", "evil.pt", "--allow-pickle", "--base", toy_base, "--token", "zwx", "--class", "dog")
    assert result.exit_code == 66
    assert "without running code" in result.stderr
    assert [p.name for p in Path().iterdir()] == ["evil.pt"]


@pytest.mark.parametrize("name", ["no-such.safetensors", "."])
def test_a_name_that_is_no_file_is_told(name: str, booth_cli, toy_base: Path) -> None:
    result = booth_cli("import", name, "--base", toy_base)
    assert (result.exit_code, "is no file" in result.stderr) == (65, True)


def test_import_config_writes_a_run_that_train_takes(booth_cli, photos_folder: Path, toy_base: Path) -> None:
    Path("kohya.toml").write_text(
        f'pretrained_model_name_or_path = "{toy_base}"\ntrain_data_dir = "{photos_folder}"\nclip_skip = 2\n'
        'network_module = "networks.lora"\nnetwork_dim = 4\nmax_train_steps = 1\nlearning_rate = 1e-4\n'
    )
    result = booth_cli("import-config", "kohya.toml", "--json")
    told = last_object(result)
    assert (told["left"], told["missing"]) == ({"clip_skip": "2"}, ["class"])
    assert "no equivalent: clip_skip = 2" in result.stderr
    assert booth_cli("train", "--config", "run.toml", "--class", "dog", "--dry-run").exit_code == 0
    assert booth_cli("import-config", "kohya.toml").exit_code == 2
    Path("bad.toml").write_text('network_module = "networks.lora"\nnetwork_dim = 0\n')
    assert booth_cli("import-config", "bad.toml", "--out", "x.toml").exit_code == 65
    Path("bad.toml").write_text("seed = -1\n")
    assert booth_cli("import-config", "bad.toml", "--out", "x.toml").exit_code == 2
    assert not Path("x.toml").exists()


def test_push_shows_what_would_go(booth_cli, lora: Concept) -> None:
    told = last_object(booth_cli("push", lora.folder, "me/rex", "--dry-run", "--json"))
    assert (told["sent"], told["private"]) == (False, True)
    assert "README.md" in told["files"]
    assert told["card"].startswith("---\n")
    assert booth_cli("push", lora.folder, "rex", "--dry-run").exit_code == 2
