"""What the package says of its functions to an editor: how often a public signature says `Any`."""

from __future__ import annotations

import ast
from collections.abc import Iterator
from pathlib import Path

SOURCE = Path(__file__).parent.parent.parent / "src" / "booth"
CEILING = 224  # lower it when there are fewer; most of them are objects of diffusers, which have no types


def public(name: str) -> bool:
    return not name.startswith("_") or name.endswith("__")


def functions(body: list[ast.stmt]) -> Iterator[ast.FunctionDef | ast.AsyncFunctionDef]:
    """Those of a module, and the methods of its classes; what stands inside a function is nobody else's."""
    for node in body:
        if isinstance(node, ast.ClassDef) and public(node.name):
            yield from functions(node.body)
        elif isinstance(node, ast.FunctionDef | ast.AsyncFunctionDef) and public(node.name):
            yield node
        elif isinstance(node, ast.If):
            yield from functions([*node.body, *node.orelse])


def untyped(source: str) -> int:
    """How often `Any` stands in what public functions take and return."""
    found = 0
    for function in functions(ast.parse(source).body):
        given = function.args
        taken = [*given.posonlyargs, *given.args, *given.kwonlyargs, given.vararg, given.kwarg]
        annotations = [function.returns, *(each.annotation for each in taken if each is not None)]
        parts = [part for annotation in annotations if annotation is not None for part in ast.walk(annotation)]
        found += sum(isinstance(part, ast.Name) and part.id == "Any" for part in parts)
    return found


def test_public_signatures_say_any_no_more_often_than_before() -> None:
    assert sum(untyped(file.read_text(encoding="utf-8")) for file in SOURCE.rglob("*.py")) <= CEILING


def test_any_is_counted_where_others_see_it() -> None:
    source = """
class Open:
    def a(self, x: dict[str, Any], *rest: Any, **more: Any) -> Any: ...
    def __call__(self, x: list[Any]) -> None: ...
    def _own(self) -> Any: ...
class _Own:
    def a(self) -> Any: ...
def f(x: int) -> dict[str, Any]:
    def inside() -> Any: ...
"""
    assert untyped(source) == 6
