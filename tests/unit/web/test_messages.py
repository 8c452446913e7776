"""Every word is in the message files, in every language, and none stands anywhere else."""

from __future__ import annotations

import re
import string
from pathlib import Path

import pytest

from booth.web import forms, keeper, plans
from booth.web.messages import FOLDER, LANGUAGES, Words, messages, preferred

WEB = Path(plans.__file__).parent
TEMPLATES = sorted((WEB / "templates").glob("*.html"))
SCRIPTS = sorted(p for p in (WEB / "static").glob("*.js") if p.name != "htmx.min.js")
# The same in every language: units, signs, names of things.
NAMES = {"booth", "fp32", "fp16", "bf16"}


def places(text: str) -> set[str]:
    return {name for _, name, _, _ in string.Formatter().parse(text) if name}


@pytest.mark.parametrize("language", LANGUAGES)
def test_every_language_says_everything_with_the_same_values(language: str) -> None:
    first = messages("en")
    assert messages(language).keys() == first.keys()
    for key, text in messages(language).items():
        assert text.strip(), key
        assert places(text) == places(first[key]), key
    assert (FOLDER / f"{language}.json").read_text(encoding="utf-8").endswith("}\n")


def test_every_key_that_is_used_is_there() -> None:
    known = messages("en")
    for template in TEMPLATES:
        for key in re.findall(r"""\bt\(\s*['"]([\w.]+)['"]\s*[,)]""", template.read_text()):
            assert key in known, f"{template.name}: {key}"
    for script in SCRIPTS:
        for key in re.findall(r"""\bsay\("([\w.]+)"[,)]""", script.read_text()):
            assert f"js.{key}" in known, f"{script.name}: {key}"
    for rule in forms.IDLE:
        assert rule[3] in known
    for key in keeper.ENDINGS.values():
        assert key in known


@pytest.mark.parametrize("template", TEMPLATES, ids=lambda p: p.name)
def test_no_word_stands_in_a_template(template: Path) -> None:
    text = template.read_text()
    text = re.sub(r"\{#.*?#\}|\{%.*?%\}|\{\{.*?\}\}", "", text, flags=re.DOTALL)
    said = re.sub(r"<script.*?</script>|<svg.*?</svg>|<[^>]*>", " ", text, flags=re.DOTALL)
    words = set(re.findall(r"[A-Za-zÀ-ÿ]\w+", said)) - NAMES
    assert words == set()
    for spoken in re.findall(r'(?:title|placeholder|alt|aria-label)="([^"]*)"', text):
        assert not re.search(r"[A-Za-z]{2,}", spoken), spoken


def test_the_browser_s_language_is_spoken() -> None:
    assert preferred("fr;q=0.9, de-AT;q=0.8, en") == "de"
    assert preferred("") == "en"
    assert Words("de")("nav.photos") == "Fotos"
    assert Words("xx").language == "en"
    assert "<" not in Words("en").for_scripts()
