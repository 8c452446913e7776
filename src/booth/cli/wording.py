"""The library's words in those of the command line: a field that a message names becomes the option that gives it."""

from __future__ import annotations

import functools
import inspect
import json
import re
from collections.abc import Callable, Generator, Mapping
from contextlib import contextmanager
from contextvars import ContextVar
from dataclasses import dataclass, field
from typing import Annotated, get_args, get_origin, get_type_hints

from typer.models import ArgumentInfo, OptionInfo

# What a verb calls a field of a run, or of a function of the library, where it has another name for it.
CALLED: Mapping[str, tuple[str, ...]] = {
    "previews": ("preview_every",),
    "encoders": ("encoder",),
    "metrics": ("metric",),
    "concepts": ("more",),
    "control_types": ("control",),
    "filters": ("filter_",),
    "control": ("kind",),
    "config": ("file",),
}
NAMED = re.compile(r"`([a-z_]\w*)(?:=([^`]+))?`")  # a field, or one with a value
SETTING, ASSIGNMENTS = "settings.", "assignments"  # the path to a method's settings, and the parameter that takes them


@dataclass(frozen=True)
class Wording:
    """The options of a verb, by the names of their parameters."""

    options: Mapping[str, str] = field(default_factory=dict[str, str])
    arguments: Mapping[str, str] = field(default_factory=dict[str, str])

    @classmethod
    def of(cls, verb: Callable[..., object]) -> Wording:
        """The options that a verb's signature declares."""
        options: dict[str, str] = {}
        arguments: dict[str, str] = {}
        hints = get_type_hints(verb, include_extras=True)
        for name in inspect.signature(verb).parameters:
            told = next((i for i in get_args(hints.get(name)) if isinstance(i, OptionInfo | ArgumentInfo)), None)
            if get_origin(hints.get(name)) is not Annotated or told is None:
                continue
            if isinstance(told, ArgumentInfo):
                arguments[name] = told.metavar or name.upper()
            else:
                # Where it is annotated, typer takes what stands where a default does for a declaration too.
                declared = [d for d in (told.default, *(told.param_decls or ())) if isinstance(d, str) and d[:1] == "-"]
                longest = next((flag for flag in declared if flag.startswith("--")), *declared[:1] or [None])
                options[name] = (longest or f"--{name.strip('_').replace('_', '-')}").partition("/")[0]
        return cls(options, arguments)

    def option(self, path: str | None) -> str | None:
        """The option that gives a field, such as --class for "noun" and --set rank for "settings.rank"."""
        if path is None:
            return None
        own = path.removeprefix(SETTING).partition(".")[0]
        for name in (own, *CALLED.get(own, ())):
            if name in self.options and name != ASSIGNMENTS:
                return self.options[name]
        if ASSIGNMENTS not in self.options or path in self.arguments:
            return None
        known = path.startswith(SETTING) or own in _settings()
        return f"{self.options[ASSIGNMENTS]} {path.removeprefix(SETTING)}" if known else None

    def put(self, text: str) -> str:
        """A message with its fields as options of this verb; what is none of them stays as it is."""
        return NAMED.sub(self._named, text)

    def _named(self, found: re.Match[str]) -> str:
        name, value = found.groups()
        option = self.option(name)
        if option is None:
            return self.arguments.get(name, found.group()) if value is None else found.group()
        if value is None:
            return option
        return f"{option}={value}" if " " in option else f"{option} {value}"


_current: ContextVar[Wording] = ContextVar("wording", default=Wording())  # noqa: B039 - it is frozen


@contextmanager
def worded_for(verb: Callable[..., object]) -> Generator[None]:
    """Within this context messages are put in the words of this verb."""
    former = _current.set(Wording.of(verb))
    try:
        yield
    finally:
        _current.reset(former)


def wording() -> Wording:
    """The words of the verb that runs."""
    return _current.get()


@functools.cache
def _settings() -> frozenset[str]:
    """Every setting of a run and of the built-in methods."""
    from booth.config import RunConfig
    from booth.config.settings import SETTINGS

    methods = json.loads(SETTINGS.read_text(encoding="utf-8")).values()
    return frozenset(RunConfig.model_fields).union(*(about["settings"] for about in methods))
