"""What there is to choose from, and how more is added."""

from __future__ import annotations

from typing import TYPE_CHECKING, TypeVar

if TYPE_CHECKING:
    from booth.catalogue import FamilyFacts, MethodFacts

T = TypeVar("T")


def methods(*, sizes: bool = False) -> list[MethodFacts]:
    """Every method: what it trains, saves and needs, the families that offer that, and its default settings.

    With `sizes` also how many values it trains on the embedded base, which is loaded for that.
    """
    from booth.catalogue import describe_methods

    return describe_methods(sizes=sizes)


def families() -> list[FamilyFacts]:
    """Every family of models: where methods may attach, which find what they need, and how it is drawn."""
    from booth.catalogue import describe_families

    return describe_families()


def register(kind: type[T]) -> type[T]:
    """Add a class under its own `name` to what is chosen by name: a method, a metric, a family; usable as a decorator.

    UsageError if it derives from nothing that is chosen by name, or if its name is taken.
    """
    from booth.registry import register as add

    return add(kind)
