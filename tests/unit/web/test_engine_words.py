"""What the library says, in German: every field and method, and sentences with values in them."""

from __future__ import annotations

import ast
import json
import re
import string
from pathlib import Path

import pytest

from booth.config import RunConfig
from booth.data.decoding import STRANGERS
from booth.registry import METHODS
from booth.web import forms
from booth.web.assistant import ABOUT
from booth.web.engine_words import FOLDER, in_language

LANGUAGE = "de"
SPOKEN_ELSEWHERE = {"serve.py", "studio.py"}  # to who starts the studio, in a terminal


def fields() -> dict[str, str]:
    """The meaning of every field that a form has, by its name."""
    found = {f"run.{n}": f.description or "" for n, f in RunConfig.model_fields.items() if n not in forms.ELSEWHERE}
    for name in METHODS.own:
        for field, about in METHODS[name].Config.model_json_schema()["properties"].items():
            found[f"{name}.{field}"] = about.get("description", "")
    return found


def test_every_field_and_every_method_has_words() -> None:
    missing = {name: told for name, told in fields().items() if told and in_language(LANGUAGE, told) == told}
    trained = {name: METHODS[name].trains for name in METHODS.own}
    missing |= {name: told for name, told in trained.items() if in_language(LANGUAGE, told) == told}
    assert missing == {}


def sentences(file: Path) -> list[str]:
    """What a module says: its strings that end as sentences do, but docstrings; a value in them is a 7."""
    tree, passed = ast.parse(file.read_text(encoding="utf-8")), set[int]()
    for node in ast.walk(tree):
        if isinstance(node, ast.Module | ast.FunctionDef | ast.AsyncFunctionDef | ast.ClassDef):
            passed |= {id(node.body[0].value)} if isinstance(node.body[0], ast.Expr) else set()
        if isinstance(node, ast.JoinedStr):
            passed |= {id(part) for part in node.values}
    found = [_text(node) for node in ast.walk(tree) if id(node) not in passed]
    return [text for text in found if re.fullmatch(r"[\w`].* .*[.!?]", text)]


def _text(node: ast.AST) -> str:
    if isinstance(node, ast.JoinedStr):
        return "".join(str(part.value) if isinstance(part, ast.Constant) else "7" for part in node.values)
    return node.value if isinstance(node, ast.Constant) and isinstance(node.value, str) else ""


def test_every_sentence_of_the_studio_has_words() -> None:
    root = FOLDER.parent
    told = {
        text: file.name for file in root.rglob("*.py") if file.name not in SPOKEN_ELSEWHERE for text in sentences(file)
    }
    told = {text: name for text, name in told.items() if text != ABOUT and not text.startswith(("SELECT", "DELETE"))}
    assert len(told) > 40
    assert {text: name for text, name in told.items() if in_language(LANGUAGE, text) == text} == {}


def test_what_is_wrong_with_a_file_has_words() -> None:
    complaints = {text for _, what, advice in STRANGERS for text in (what, advice)}
    assert {text for text in complaints if in_language(LANGUAGE, text) == text} == set()
    said = in_language(LANGUAGE, "The photo 'my cat.png' is a GIF; save the picture as PNG.")
    assert said == "Das Foto „my cat.png“ ist ein GIF; speichere das Bild als PNG."


def test_no_sentence_is_of_a_time_when_the_library_named_options() -> None:
    told = json.loads((FOLDER / f"engine.{LANGUAGE}.json").read_text(encoding="utf-8"))
    assert [english for english in told if re.search(r"(?<![\w-])--[a-z]", english)] == []
    for said in ("Use a rare one such as 'sks'; `token=auto` picks one.", "draw smaller (`size`)."):
        assert any(said.split("`")[1] in english for english in told), said
    for size in ("size", "`size`"):  # a job's reason has lost the backticks
        said = in_language(LANGUAGE, f"Out of memory. Close what else uses it, or draw smaller ({size}).")
        assert said.startswith("Der Speicher reicht nicht")


def test_both_sides_have_the_same_values() -> None:
    told = json.loads((FOLDER / f"engine.{LANGUAGE}.json").read_text(encoding="utf-8"))
    for english, other in told.items():
        names = [{name for _, name, _, _ in string.Formatter().parse(text) if name} for text in (english, other)]
        assert names[1] <= names[0], english
        assert other.strip(), english


@pytest.mark.parametrize(
    ("said", "shown"),
    [
        ("Loading the base embedded.", "Das Grundmodell embedded wird geladen."),
        ("Add some first.", "Leg erst welche hinein."),
        ("photos/a.png is gone. Queue the job again from its photos.",
         "photos/a.png ist weg. Reihe den Auftrag von seinen Fotos aus neu ein."),
        ("For likeness to the subject, lora wins (.6).", "Für Ähnlichkeit mit dem Motiv gewinnt lora (.6)."),
        ("after each layer but the last: relu", "nach jeder Schicht außer der letzten: relu"),
        ("What nobody ever said before.", "What nobody ever said before."),
        ("Loading the base {x!r} %s.", "Das Grundmodell {x!r} %s wird geladen."),
        ("", ""),
    ],
)  # fmt: skip
def test_a_sentence_with_values_is_found_and_what_is_not_known_stays(said: str, shown: str) -> None:
    assert in_language(LANGUAGE, said) == shown
    assert in_language("en", said) == said
