"""Errors are values: each place that makes one names its code, and no message of the library names an option."""

from __future__ import annotations

import ast
import re
from collections import defaultdict
from collections.abc import Iterator
from pathlib import Path

import pytest
from script_files import load

from booth.config import RunConfig
from booth.core import errors

SOURCES = Path(errors.__file__).parents[1]
ERRORS = frozenset(name for name, kind in vars(errors).items() if isinstance(kind, type) and name.endswith("Error"))
OPTION = re.compile(r"(?<![\w-])--[a-z]")
STYLE = re.compile(r"var\(--[a-z]+\)|--[a-z]+: #[0-9a-f]+")  # a variable of CSS, and what it is
# What is told with an option in it outside the command line, and why that is right.
MAY = {
    "foreign_configs/diffusers_command.py": "reads other trainers' command lines",
    "generate/words.py": "names the options of sd-scripts that a line of prompts may hold",
    "hub/card.py": "shows a command to those who read a model's card",
}


def sources() -> Iterator[tuple[str, ast.Module]]:
    for file in sorted(SOURCES.rglob("*.py")):
        yield file.relative_to(SOURCES).as_posix(), ast.parse(file.read_text(encoding="utf-8"))


def texts(module: ast.Module) -> Iterator[ast.Constant]:
    """The strings of a module that are no docstrings."""
    docstrings = {
        id(node.body[0].value)
        for node in ast.walk(module)
        if isinstance(node, ast.Module | ast.ClassDef | ast.FunctionDef | ast.AsyncFunctionDef)
        and node.body
        and isinstance(node.body[0], ast.Expr)
    }
    for node in ast.walk(module):
        if isinstance(node, ast.Constant) and isinstance(node.value, str) and id(node) not in docstrings:
            yield node


def test_no_message_outside_the_command_line_names_an_option() -> None:
    named = [
        f"{name}:{text.lineno}: {text.value}"
        for name, module in sources()
        if not name.startswith("cli/") and name not in MAY
        for text in texts(module)
        # The studio starts commands: a word that is an option and no more is one of theirs, as is a command line.
        if OPTION.search(STYLE.sub("", text.value))
        and not (name.startswith("web/") and re.match(r"(--[a-z-]+=?[\w/]*$|booth | --)", text.value))
    ]
    assert named == []


def test_every_error_has_a_code() -> None:
    without = [
        f"{name}:{node.lineno}"
        for name, module in sources()
        if name != "world/pretrain.py"
        for node in ast.walk(module)
        if isinstance(node, ast.Call)
        and isinstance(node.func, ast.Name | ast.Attribute)
        and (node.func.id if isinstance(node.func, ast.Name) else node.func.attr) in ERRORS
        and not {"code", None} & {word.arg for word in node.keywords}
    ]
    assert without == []


def test_a_code_is_of_one_class_and_one_form() -> None:
    exits: dict[str, set[int]] = defaultdict(set)
    for each in load("write_reference").raised():
        exits[each.code].add(each.kind.exit_code)
        assert re.fullmatch(r"[a-z0-9_]+(\.([a-z0-9_]+|\.\.\.))?", each.code), each
    assert {code: codes for code, codes in exits.items() if len(codes) > 1} == {}


@pytest.mark.essential
def test_settings_at_fault_are_named_by_their_path() -> None:
    fields = {each.field for each in load("write_reference").raised() if each.field.startswith("settings")}
    assert fields
    assert fields & {"settings.learning_rate", "settings.targets"}
    assert not fields - {"settings"} & {f"settings.{name}" for name in RunConfig.model_fields}
