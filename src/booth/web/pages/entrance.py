"""The way in: the token's cookie, the language and the theme."""

from __future__ import annotations

from typing import Literal

from fastapi import APIRouter, Request
from fastapi.responses import JSONResponse, RedirectResponse, Response
from pydantic import BaseModel

from booth.web.messages import LANGUAGE, LANGUAGES, words_of
from booth.web.view import THEME, page, studio_of

router = APIRouter()
YEAR = 365 * 86400


class Key(BaseModel):
    """What is typed in at the door."""

    token: str


class Looks(BaseModel):
    """How the studio is to look."""

    language: str | None = None
    theme: Literal["auto", "light", "dark"] | None = None


@router.get("/login", include_in_schema=False)
def login(request: Request, token: str | None = None) -> Response:
    """With the token, in; without it, where to find it."""
    door = studio_of(request).door
    if token is not None and door.knows(token):
        return _let_in(request, RedirectResponse("/", 303))
    return page(request, "login.html", status=200 if token is None else 401, wrong=token is not None)


@router.post("/login", include_in_schema=False)
def type_in(request: Request, key: Key) -> Response:
    """The token typed by hand."""
    if not studio_of(request).door.knows(key.token.strip()):
        return JSONResponse({"error": words_of(request)("login.wrong"), "code": "token"}, 401)
    return _let_in(request, JSONResponse({"go": "/"}))


def _let_in(request: Request, response: Response) -> Response:
    door = studio_of(request).door
    response.set_cookie(
        door.cookie, door.token, max_age=YEAR, httponly=True, samesite="strict", secure=request.url.scheme == "https"
    )
    return response


@router.get("/", include_in_schema=False)
def start() -> Response:
    """The first page is that of the photos."""
    return RedirectResponse("/photos", 303)


@router.post("/api/looks", tags=["settings"])
def looks(request: Request, looks: Looks) -> Response:
    """Choose the language and the theme."""
    response = JSONResponse({"reload": True})
    for name, value, allowed in (
        (LANGUAGE, looks.language, LANGUAGES), (THEME, looks.theme, ("auto", "light", "dark"))
    ):  # fmt: skip
        if value in allowed:
            response.set_cookie(name, str(value), max_age=YEAR, httponly=True, samesite="strict")
    return response
