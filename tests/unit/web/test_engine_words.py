"""What the library says, in German: every field and method, and sentences with values in them."""

from __future__ import annotations

import json
import string

import pytest

from booth.config import RunConfig
from booth.registry import METHODS
from booth.web import forms
from booth.web.engine_words import FOLDER, in_language

LANGUAGE = "de"


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
