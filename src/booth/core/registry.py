"""A registry: names to classes that are imported when they are first asked for, those of plug-ins included."""

from __future__ import annotations

import importlib
import os
import sys
from collections.abc import Iterator, Mapping
from dataclasses import dataclass
from difflib import get_close_matches
from functools import lru_cache
from importlib.machinery import PathFinder
from pathlib import Path
from typing import Any, Generic, TypeVar

from booth.core.errors import NotAvailableError, UsageError

T = TypeVar("T")


@dataclass(frozen=True)
class Plugin:
    """An entry that an installed package brings."""

    name: str
    target: str  # "module:Class"
    package: str  # the distribution


class Registry(Mapping[str, type[T]], Generic[T]):
    """Names to classes, imported lazily: those of booth in their order, then those of plug-ins by name."""

    def __init__(self, kind: str, base: str, entries: Mapping[str, str], group: str = "") -> None:
        """`base` ("module:Class") is what every class derives from, `group` the entry points that are looked into."""
        self.kind = kind
        self.base = base
        self.group = group
        self._entries: dict[str, str | type[T]] = dict(entries)
        self._own = tuple(entries)

    @property
    def own(self) -> tuple[str, ...]:
        """The names that booth itself brings."""
        return self._own

    @property
    def plugins(self) -> dict[str, Plugin]:
        """What installed packages bring, by name; a name that booth or two packages have is left out."""
        named = [p for p in installed().get(self.group, ()) if p.name not in self._entries]
        return {p.name: p for p in named if sum(other.name == p.name for other in named) == 1}

    @property
    def conflicts(self) -> list[Plugin]:
        """What installed packages bring under a name that is taken, so that only "module:Class" reaches it."""
        reached = self.plugins
        others = [p for p in installed().get(self.group, ()) if reached.get(p.name) != p]
        return [p for p in others if _qualified(self._entries.get(p.name)) != p.target]

    def __getitem__(self, name: str) -> type[T]:
        entry = self._entries.get(name)
        if isinstance(entry, type):
            return entry
        if entry is not None:
            return load(entry)
        if ":" in name:
            return self._foreign(name, f"The {self.kind} {name!r}")
        plugin = self.plugins.get(name)
        if plugin is None:
            raise self._unknown(name)
        kind = self._foreign(plugin.target, f"The {self.kind} {name!r} of the package {plugin.package}")
        if getattr(kind, "name", name) != name:
            raise UsageError(
                f"The package {plugin.package} calls {plugin.target} {name!r} in its entry points, and the class calls "
                f"itself {getattr(kind, 'name', '')!r}.",
                "Give both the same name.",
                code="plugin.two_names",
            )
        return kind

    def __contains__(self, name: object) -> bool:
        return name in self._entries or name in self.plugins

    def __iter__(self) -> Iterator[str]:
        yield from self._entries
        yield from sorted(self.plugins)

    def __len__(self) -> int:
        return len(self._entries) + len(self.plugins)

    def usable(self) -> dict[str, type[T]]:
        """Every entry that can be imported here; a plug-in that cannot be takes nothing else with it."""
        found: dict[str, type[T]] = {}
        for name in self:
            try:
                found[name] = self[name]
            except (NotAvailableError, UsageError):
                if name in self._own:
                    raise
        return found

    def named(self, name: str) -> type[T]:
        """The class of a name that a user gave; one given as "module:Class" goes by its own name from then on."""
        kind = self[name]
        if ":" in name and str(getattr(kind, "name", "")) not in self:
            self.register(kind)
        return kind

    def recorded(self, name: str) -> type[T]:
        """The class of a name that a file of somebody else may hold.

        "module:Class" counts only where its module is imported already, or lies where packages are installed or where
        PYTHONPATH points: never in the folder that one happens to stand in, whose files may have come with the record.
        """
        module = name.partition(":")[0]
        if ":" in name and module not in sys.modules and not _installed_here(module):
            raise NotAvailableError(
                f"The {self.kind} {name!r} is not installed here.",
                f"Install the package that brings it, or import {module} first.",
                code="plugin.not_installed",
            )
        return self[name]

    def register(self, kind: type[T] | str, name: str = "") -> None:
        """Add a class, or a "module:Class" under a name; UsageError for a name that another class has."""
        if isinstance(kind, type):
            name = name or str(getattr(kind, "name", ""))
        former = self._entries.get(name)
        same = former == kind or _qualified(former) == _qualified(kind)  # a notebook's cell is run again
        if not name or (name in self and not same):
            told = f"has the name {name!r} already" if name else "is to be called by a name: give the class a `name`"
            raise UsageError(f"A {self.kind} {told}.", "Choose another." if name else "", code="plugin.unfit")
        self._entries[name] = kind

    def require_kind(self, kind: object, what: str) -> None:
        """UsageError unless `kind` is a class that derives from what all of this registry do."""
        base = load(self.base)
        if not (isinstance(kind, type) and issubclass(kind, base)):
            raise UsageError(
                f"{what} is no {self.kind}: it does not derive from {self.base.replace(':', '.')}.",
                code="plugin.wrong_kind",
            )

    def _foreign(self, target: str, what: str) -> type[T]:
        try:
            kind = load(target)
        except Exception as error:  # somebody else's code, which may fail in any way
            raise NotAvailableError(
                f"{what} cannot be imported from {target} ({type(error).__name__}: {error}).",
                f"Correct or install it, or choose another: {', '.join(self._own)}.",
                code="plugin.broken",
            ) from error
        self.require_kind(kind, what)
        return kind

    def _unknown(self, name: str) -> UsageError:
        taken = [p.package for p in installed().get(self.group, ()) if p.name == name]
        if taken:
            return UsageError(
                f"{' and '.join(taken)} both bring a {self.kind} called {name!r}.",
                "Write package.module:Class.",
                code="plugin.same_name",
            )
        near = get_close_matches(name, self, n=1)
        hint = f"Did you mean {near[0]!r}? " if near else ""
        return UsageError(
            f"There is no {self.kind} called {name!r}.", f"{hint}There are: {', '.join(self)}.", code="name.unknown"
        )


@lru_cache(maxsize=1)
def installed() -> Mapping[str, tuple[Plugin, ...]]:
    """What the installed packages bring by group, looked up once: reading all their metadata takes a moment."""
    from importlib.metadata import distributions

    found: dict[str, dict[Plugin, None]] = {}
    seen: set[str] = set()
    for distribution in distributions():
        if distribution.name in seen:
            continue  # an older copy further down the path
        seen.add(distribution.name)
        for point in distribution.entry_points:
            if point.group.startswith("booth."):
                plugin = Plugin(point.name, point.value.replace(" ", ""), distribution.name)
                found.setdefault(point.group, {})[plugin] = None
    return {group: tuple(plugins) for group, plugins in found.items()}


def load(target: str) -> Any:
    """What "module:Class" names."""
    module, _, attribute = target.partition(":")
    found: Any = importlib.import_module(module)
    for part in attribute.split("."):
        found = getattr(found, part)
    return found


def _qualified(kind: object) -> str:
    return f"{kind.__module__}:{kind.__qualname__}" if isinstance(kind, type) else str(kind)


def _installed_here(module: str) -> bool:
    """Whether a module's package is found without looking into the current folder."""
    top = module.partition(".")[0]
    wanted = {str(Path(p).resolve()) for p in os.environ.get("PYTHONPATH", "").split(os.pathsep) if p}
    here = str(Path.cwd())
    path = [p for p in sys.path if p and (str(Path(p).resolve()) != here or here in wanted)]
    return top not in sys.stdlib_module_names and PathFinder.find_spec(top, path) is not None
