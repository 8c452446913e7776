"""From values to pages: templates, words, numbers and the picture that every page has in common."""

from __future__ import annotations

import json
import time
from pathlib import Path

from fastapi import Request
from fastapi.responses import HTMLResponse
from jinja2 import Environment, FileSystemLoader, StrictUndefined
from markupsafe import Markup

from booth import __version__
from booth.core.words import duration, size
from booth.web.messages import LANGUAGES, Words, words_of
from booth.web.studio import Studio

FOLDER = Path(__file__).parent
THEME = "booth_theme"  # a cookie
THEMES = ("auto", "light", "dark")
NAVIGATION = ("photos", "runs", "compare", "draw", "concepts", "settings")

environment = Environment(
    loader=FileSystemLoader(FOLDER / "templates"), autoescape=True, undefined=StrictUndefined, trim_blocks=True,
    lstrip_blocks=True,
)  # fmt: skip
environment.filters["duration"] = duration
environment.filters["size"] = size
environment.filters["percent"] = lambda share: f"{100 * share:.0f}"
environment.filters["json"] = json.dumps  # into what htmx puts in place, which may hold no script
environment.filters["embed"] = lambda value: Markup(json.dumps(value).replace("<", "\\u003c").replace("&", "\\u0026"))


def studio_of(request: Request) -> Studio:
    """The parts of the studio that serves a request."""
    return request.app.state.studio


def page(request: Request, template: str, *, here: str = "", status: int = 200, **values: object) -> HTMLResponse:
    """A template as an answer; `here` is the part of the studio that it belongs to."""
    words = words_of(request)
    theme = request.cookies.get(THEME, "auto")
    common = {
        "t": words,
        "lang": words.language,
        "languages": LANGUAGES,
        "theme": theme if theme in THEMES else "auto",
        "navigation": NAVIGATION,
        "here": here,
        "version": __version__,
        "assets": __version__,
        "ago": lambda then: ago(words, then),
        "clock": clock,
        "url": request.url.path,
    }
    return HTMLResponse(environment.get_template(template).render(common | values), status)


def ago(words: Words, then: float | None) -> str:
    """How long something is past."""
    if then is None:
        return ""
    seconds = max(0.0, time.time() - then)
    for unit, length in (("days", 86400), ("hours", 3600), ("minutes", 60)):
        if seconds >= length:
            return words(f"ago.{unit}", n=int(seconds // length))
    return words("ago.now")


def clock(then: float | None) -> str:
    """The time of day here, to the second."""
    return "" if then is None else time.strftime("%H:%M:%S", time.localtime(then))
