"""booth generate."""

from pathlib import Path

import pytest
from PIL import Image
from told import last_object

from booth.concept import Concept


@pytest.mark.essential
def test_it_draws_and_tells_where(booth_cli, lora: Concept) -> None:
    words = ["generate", lora.folder, "a photo of sks dog", "-n", 2, "--seed", 7, "--steps", 2, "--sheet", "--out", "x"]
    result = booth_cli(*words, "--json")
    assert result.exit_code == 0, result.stderr
    told = last_object(result)
    assert told["images"] == [f"x/a-photo-of-sks-dog-{seed}.png" for seed in (7, 8)]
    assert told["sheet"] == "x/sheet.png"
    assert told["seconds"] > 0
    assert all(Path(file).is_file() for file in [*told["images"], told["sheet"]])
    assert "2/2 pictures" in result.stderr
    before = [Path(file).read_bytes() for file in told["images"]]
    again = booth_cli(*words).stdout.splitlines()
    assert again == [f"x/a-photo-of-sks-dog-{seed}-2.png" for seed in (7, 8)] + ["x/sheet-2.png"]  # nothing is lost
    assert [Path(file).read_bytes() for file in (*told["images"], *again[:2])] == before * 2


def test_the_untouched_base_is_drawn_by_its_name(booth_cli, toy_base: Path) -> None:
    result = booth_cli("generate", "--base", toy_base, "a dog", "--steps", 1)
    assert result.stdout == "pictures/a-dog-0.png\n"
    assert "warning" not in result.stderr


def test_prompts_come_from_a_file_and_a_missing_token_is_warned_about(booth_cli, lora: Concept) -> None:
    Path("prompts.txt").write_text("a photo of sks dog\na dog on the beach\n")
    result = booth_cli("generate", lora.folder, "--prompts", "prompts.txt", "--steps", 1, "--json")
    assert len(last_object(result)["images"]) == 2
    assert result.stderr.count("warning:") == 1
    assert "a sks dog on the beach" in result.stderr


def test_several_concepts_are_drawn_together(booth_cli, lora: Concept, word: Concept) -> None:
    both = booth_cli("generate", "a sks dog and zwx dog", "--concept", f"{lora.folder}:0.8", "--concept", word.folder,
                     "--steps", 1, "--out", "both")  # fmt: skip
    one = booth_cli("generate", f"{lora.folder}:0.8", "a sks dog and zwx dog", "--steps", 1, "--out", "one")
    assert (both.exit_code, one.exit_code) == (0, 0)
    name = "a-sks-dog-and-zwx-dog-0.png"
    assert (Path("both") / name).read_bytes() != (Path("one") / name).read_bytes()


def test_a_masked_part_of_a_picture_is_drawn_anew_and_resizing_is_announced(booth_cli, lora: Concept) -> None:
    photo = Image.new("RGB", (80, 64), (10, 200, 30))
    photo.save("photo.png")
    mask = Image.new("L", (40, 32))
    mask.paste(255, (8, 8, 24, 24))
    mask.save("mask.png")
    words = ["generate", lora.folder, "a sks dog", "--init", "photo.png", "--steps", 3, "--out", "x"]
    result = booth_cli(*words, "--mask", "mask.png", "--upscale", 2)
    assert result.exit_code == 0, result.stderr
    assert "mask.png is resized from 40x32 to 80x64" in result.stderr
    assert "drawn at 40x32 instead of 80x64" in result.stderr
    with Image.open("x/a-sks-dog-0.png") as drawn:
        assert drawn.size == (80, 64)
        assert drawn.getpixel((0, 0)) == (10, 200, 30)
        assert drawn.getpixel((32, 32)) != (10, 200, 30)
        assert "Denoising strength: 1, Hires upscale: 2" in drawn.text["parameters"]
    assert booth_cli(*words, "--strength", 0.1).exit_code == 2


@pytest.mark.parametrize(
    ("options", "code", "told"),
    [
        (["--scheduler", "magic"], 2, "There are: ddim"),
        (["--size", "33"], 2, "multiple of 8"),
        (["--strength", "0.5"], 2, "CONCEPT:0.8"),
        (["--mask", "m.png"], 2, "with --init"),
        (["--init", "no.png"], 65, "no.png does not exist"),
        (["--prompts", "no.txt"], 65, "no.txt does not exist"),
        (["--base", "no-such"], 69, "There is no base"),
    ],
)
def test_errors_say_what_to_do_and_have_their_code(
    booth_cli, lora: Concept, options: list[str], code: int, told: str
) -> None:
    prompt = [] if "--prompts" in options else ["a sks dog"]
    result = booth_cli("generate", lora.folder, *prompt, *options, "--json")
    assert (result.exit_code, last_object(result)["exit_code"]) == (code, code)
    assert told in result.stderr
    assert not Path("pictures").exists()


def test_parts_take_turns_on_a_gpu_only(booth_cli, toy_base: Path) -> None:
    result = booth_cli("generate", "--base", toy_base, "a dog", "--offload", "model", "--device", "cpu", "--json")
    assert result.exit_code == 2
    assert "--offload model moves parts to a GPU, and this is on cpu" in result.stderr
