"""From an address to a running server."""

from __future__ import annotations

import ipaddress
import socket
from collections.abc import Callable
from pathlib import Path

import uvicorn

from booth.core.errors import UsageError
from booth.web.app import create_app
from booth.web.home import Home
from booth.web.safety import LOOPBACK, Door
from booth.web.studio import hold, open_studio

SHORTEST = 16  # characters of a token that somebody chose
BACKLOG = 128  # connections that may wait to be taken up


def serve(
    folder: Path, *, host: str, port: int, token: str | None, hosts: tuple[str, ...], renew: bool, assistant: bool,
    tell: Callable[[str], None],
) -> None:  # fmt: skip
    """Serve the studio of a folder until it is interrupted; `tell` hears the address, with the token in it.

    Raises UsageError for an address that others can reach without a token of one's own, for one that is taken, and
    for a folder that another studio has open.
    """
    if not is_loopback(host) and token is None:
        raise UsageError(
            f"`host={host}` can be reached by others, so that the studio needs a token that you chose: `token`, of at "
            f"least {SHORTEST} characters.",
            "Leave `host` out to use it on this machine alone.",
            code="token.needed",
            field="token",
        )
    if token is not None and (len(token) < SHORTEST or not token.isascii() or not token.isprintable() or " " in token):
        raise UsageError(
            f"A `token` needs at least {SHORTEST} ASCII characters without spaces.",
            code="token.too_short",
            field="token",
        )
    home = Home(folder.resolve())
    home.make()
    held = hold(home)
    try:
        listening = _listen(host, port)
        port = listening.getsockname()[1]
        names = (*LOOPBACK, *(() if is_loopback(host) or host in ("0.0.0.0", "::") else (_in_url(host),)), *hosts)
        door = Door(token or home.token(renew), port, names)
        studio = open_studio(home, door, assistant)
        shown = _in_url("127.0.0.1" if host in ("0.0.0.0", "::") else host)
        tell(f"http://{shown}:{port}/login?token={door.token}")
        config = uvicorn.Config(
            create_app(studio), log_level="warning", access_log=False, server_header=False, timeout_graceful_shutdown=3
        )
        uvicorn.Server(config).run(sockets=[listening])
    finally:
        held.close()


def is_loopback(host: str) -> bool:
    """Whether only this machine can reach it."""
    if host == "localhost":
        return True
    try:
        return ipaddress.ip_address(host.strip("[]")).is_loopback
    except ValueError:
        return False


def _in_url(host: str) -> str:
    return f"[{host}]" if ":" in host and not host.startswith("[") else host


def _listen(host: str, port: int) -> socket.socket:
    family = socket.AF_INET6 if ":" in host else socket.AF_INET
    listening = socket.socket(family, socket.SOCK_STREAM)
    listening.setsockopt(socket.SOL_SOCKET, socket.SO_REUSEADDR, 1)
    try:
        listening.bind((host.strip("[]"), port))
        listening.listen(BACKLOG)  # so that who opens the address as soon as it is told waits, and is not refused
    except OSError as error:
        listening.close()
        raise UsageError(
            f"{host}:{port} cannot be used: {error.strerror}.",
            "Choose another `port`.",
            code="port.taken",
            field="port",
        ) from error
    return listening
