"""The `parameters` chunk, read back with the expressions that AUTOMATIC1111 reads it with."""

import json
import re
from pathlib import Path

from PIL import Image

from booth.generate.png import parameters_text, save_png

# modules/infotext_utils.py of AUTOMATIC1111's web UI
PARAMETER = re.compile(r'\s*(\w[\w \-/]+):\s*("(?:\\.|[^\\"])+"|[^,]*)(?:,|$)')


def parse(text: str) -> dict[str, str]:
    """Its parse_generation_parameters, as far as it is about prompts and the last line."""
    *lines, last = text.strip().split("\n")
    if len(PARAMETER.findall(last)) < 3:
        lines.append(last)
        last = ""
    prompt, negative, in_negative = "", "", False
    for line in map(str.strip, lines):
        if line.startswith("Negative prompt:"):
            in_negative, line = True, line[16:].strip()
        if in_negative:
            negative += ("" if negative == "" else "\n") + line
        else:
            prompt += ("" if prompt == "" else "\n") + line
    pairs = {k: json.loads(v) if v.startswith('"') else v for k, v in PARAMETER.findall(last)}
    return {"Prompt": prompt, "Negative prompt": negative, **pairs}


SETTINGS = {"Steps": 30, "Sampler": "DDIM", "CFG scale": "5", "Seed": 7, "Size": "64x64", "Model hash": "abc"}


def test_the_text_is_written_as_the_web_ui_writes_it() -> None:
    text = parameters_text("a dog, running", "ugly", SETTINGS)
    assert text == (
        "a dog, running\nNegative prompt: ugly\n"
        "Steps: 30, Sampler: DDIM, CFG scale: 5, Seed: 7, Size: 64x64, Model hash: abc"
    )


def test_there_is_no_negative_line_without_a_negative_prompt() -> None:
    assert parameters_text("a dog", "", SETTINGS).count("\n") == 1


def test_values_with_commas_and_colons_survive_and_none_is_left_out() -> None:
    settings = SETTINGS | {"Concepts": 'a, b: "c"', "Model": None}
    read = parse(parameters_text("a dog", "blurry: yes", settings))
    assert read["Concepts"] == 'a, b: "c"'
    assert read["Seed"] == "7"
    assert read["Prompt"] == "a dog"
    assert read["Negative prompt"] == "blurry: yes"
    assert "Model" not in read


def test_a_png_carries_the_text_and_nothing_else(tmp_path: Path) -> None:
    file = tmp_path / "a.png"
    image = Image.new("RGB", (8, 8), "red")
    image.info["comment"] = "where it was taken"
    save_png(image, file, "Käse, 猫\nSteps: 1")
    with Image.open(file) as read:
        assert read.text == {"parameters": "Käse, 猫\nSteps: 1"}
        assert not read.getexif()


def test_equal_pictures_are_equal_files(tmp_path: Path) -> None:
    for name in ("a.png", "b.png"):
        save_png(Image.new("RGB", (8, 8), "red"), tmp_path / name, "x")
    assert (tmp_path / "a.png").read_bytes() == (tmp_path / "b.png").read_bytes()
