"""What every request has to pass: Host, Origin, token, method and kind of content. Media pass through it like all else.

The dangers are a page of another site in the same browser (forged requests, DNS rebinding), other people on the
network, and hostile files. `SECURITY.md` says what is promised.
"""

from __future__ import annotations

import hmac
from collections.abc import Awaitable, Callable, MutableMapping
from dataclasses import dataclass
from typing import Any
from urllib.parse import urlsplit

from starlette.datastructures import Headers, MutableHeaders
from starlette.requests import HTTPConnection
from starlette.responses import JSONResponse, RedirectResponse, Response

from booth.web.messages import words_of

Scope = MutableMapping[str, Any]
Receive = Callable[[], Awaitable[MutableMapping[str, Any]]]
Send = Callable[[MutableMapping[str, Any]], Awaitable[None]]

LOOPBACK = ("127.0.0.1", "localhost", "[::1]")
READING = frozenset({"GET", "HEAD"})
CHANGING = frozenset({"POST", "PUT", "PATCH", "DELETE"})
OPEN = ("/login", "/static/", "/icon.svg")  # the only paths that need no token; nothing of the user's is there
MARK = "x-booth-studio"  # a header that no form and no page of another site can send without asking first
# Kinds of content that no HTML form can send; a request without content needs none.
KINDS = ("application/json", "application/octet-stream")
MAX_BODY = 64 * 2**20
LARGE = {"/api/import": 8 * 2**30}  # what may be larger: weights, which go straight to the disk
CONTENT_POLICY = (
    "default-src 'none'; script-src 'self'; style-src 'self'; img-src 'self' blob: data:; connect-src 'self'; "
    "font-src 'self'; manifest-src 'self'; form-action 'self'; base-uri 'none'; frame-ancestors 'none'"
)
HEADERS = {
    "content-security-policy": CONTENT_POLICY,
    "x-content-type-options": "nosniff",
    "x-frame-options": "DENY",
    "referrer-policy": "no-referrer",
    "cross-origin-opener-policy": "same-origin",
    "cross-origin-resource-policy": "same-origin",
    "permissions-policy": "camera=(), microphone=(), geolocation=()",
}


@dataclass(frozen=True)
class Door:
    """Who is let in."""

    token: str
    port: int
    hosts: tuple[str, ...] = LOOPBACK

    @property
    def cookie(self) -> str:
        """The name of the cookie: browsers do not tell the ports of a machine apart."""
        return f"booth_studio_{self.port}"

    def knows(self, token: str | None) -> bool:
        """Whether it is the token, compared in the same time whatever it is."""
        return token is not None and hmac.compare_digest(token.encode("utf-8", "surrogateescape"), self.token.encode())

    def allows_host(self, host: str) -> bool:
        """Whether a Host header names this machine by a name that was allowed."""
        return host.lower() in {name for h in self.hosts for name in (h, f"{h}:{self.port}")}

    def allows_origin(self, origin: str) -> bool:
        """Whether a page of this origin is one of ours."""
        parts = urlsplit(origin)
        return parts.scheme in ("http", "https") and self.allows_host(parts.netloc)


class Guard:
    """ASGI middleware around everything."""

    def __init__(self, app: Callable[[Scope, Receive, Send], Awaitable[None]], door: Door) -> None:
        self.app, self.door = app, door

    async def __call__(self, scope: Scope, receive: Receive, send: Send) -> None:
        if scope["type"] == "lifespan":
            await self.app(scope, receive, send)
            return
        if scope["type"] != "http":  # there are no web sockets here
            return
        refused = self._refused(scope)
        send = _with_headers(send, scope["path"])
        if refused is not None:
            await refused(scope, receive, send)
            return
        await self.app(scope, _limited(receive, LARGE.get(scope["path"], MAX_BODY)), send)

    def _refused(self, scope: Scope) -> Response | None:
        """The answer to a request that is not let in."""
        headers, method, path = Headers(scope=scope), scope["method"], scope["path"]
        if len(headers.getlist("host")) != 1 or not self.door.allows_host(headers["host"]):
            return _told(scope, 400, "host")
        origin = headers.get("origin")
        if origin is not None and not self.door.allows_origin(origin):
            return _told(scope, 403, "origin")
        if method not in READING | CHANGING:
            return _told(scope, 405, "method")
        if "\\" in path or "\0" in path or ".." in path.split("/"):
            return _told(scope, 400, "path")
        if method in CHANGING:
            if (refused := self._not_ours(scope, headers)) is not None:
                return refused
        elif headers.get("sec-fetch-site") == "cross-site" and headers.get("sec-fetch-mode") != "navigate":
            return _told(scope, 403, "origin")
        if path in OPEN or any(path.startswith(place) for place in OPEN if place.endswith("/")):
            return None
        if self.door.knows(_token_in(headers, self.door.cookie)):
            return None
        if method == "GET" and "text/html" in headers.get("accept", ""):
            return RedirectResponse("/login", 303)
        return _told(scope, 401, "token")

    def _not_ours(self, scope: Scope, headers: Headers) -> Response | None:
        """The answer to a change that a form or a page of another site could have asked for."""
        kind = headers.get("content-type", "").split(";")[0].strip().lower()
        length = headers.get("content-length", "0")
        if headers.get("sec-fetch-site", "same-origin") not in ("same-origin", "none"):
            return _told(scope, 403, "origin")
        has_body = length != "0" or "transfer-encoding" in headers
        if kind not in KINDS and (kind or has_body):
            return _told(scope, 415, "content")
        if MARK not in headers and "authorization" not in headers:
            return _told(scope, 403, "mark", mark=MARK)
        most = LARGE.get(scope["path"], MAX_BODY)
        if not length.isdecimal() or int(length) > most:
            return _told(scope, 413, "size", n=most // 2**20)
        return None


def _token_in(headers: Headers, cookie: str) -> str | None:
    scheme, _, bearer = headers.get("authorization", "").partition(" ")
    if scheme.lower() == "bearer":
        return bearer.strip()
    for part in headers.get("cookie", "").split(";"):
        name, _, value = part.strip().partition("=")
        if name == cookie:
            return value
    return None


def _told(scope: Scope, status: int, code: str, **values: object) -> Response:
    """Why a request is not let in, in the language of the browser that sent it."""
    return JSONResponse({"error": words_of(HTTPConnection(scope))(f"refused.{code}", **values), "code": code}, status)


def _with_headers(send: Send, path: str) -> Send:
    async def sending(message: MutableMapping[str, Any]) -> None:
        if message["type"] == "http.response.start":
            headers = MutableHeaders(scope=message)
            for name, value in HEADERS.items():
                headers.setdefault(name, value)
            headers.setdefault("cache-control", "no-cache" if path.startswith("/static/") else "no-store")
        await send(message)

    return sending


class TooLarge(Exception):
    """More was sent than was announced or is allowed."""


def _limited(receive: Receive, most: int) -> Receive:
    """A body without an announced length is counted."""
    taken = 0

    async def receiving() -> MutableMapping[str, Any]:
        nonlocal taken
        message = await receive()
        taken += len(message.get("body", b""))
        if taken > most:
            raise TooLarge
        return message

    return receiving
