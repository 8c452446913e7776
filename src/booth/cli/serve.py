"""booth serve: the studio in a browser."""

from __future__ import annotations

from pathlib import Path
from typing import Annotated

import typer

from booth.cli.output import say


def serve(
    folder: Annotated[
        Path, typer.Argument(help="Folder of photos, runs and concepts.", metavar="[DIR]", show_default="this one")
    ] = Path("."),
    host: Annotated[
        str, typer.Option(help="Address to listen at; any but this machine's own needs --token.", metavar="ADDRESS")
    ] = "127.0.0.1",
    port: Annotated[int, typer.Option(help="0 takes a free one.", min=0, max=65535)] = 7878,
    token: Annotated[
        str | None,
        typer.Option(
            envvar="BOOTH_STUDIO_TOKEN",
            help="The secret that browsers have to know.",
            show_default="a random one, kept",
        ),
    ] = None,
    allow_host: Annotated[
        list[str] | None,
        typer.Option(help="Another name by which browsers reach this machine; may be repeated.", metavar="NAME"),
    ] = None,
    new_token: Annotated[bool, typer.Option("--new-token", help="Forget the former token, and who knew it.")] = False,
    assistant: Annotated[
        bool, typer.Option("--assistant-may-train", help="Let tools at /mcp train and draw, not only look.")
    ] = False,
) -> None:
    """Open the studio of a folder: print the address to open in a browser, and serve until interrupted."""
    from booth.core.errors import NotAvailableError

    try:
        from booth.web.serve import serve as run
    except ModuleNotFoundError as error:
        raise NotAvailableError(
            f"The studio needs {error.name}.", 'Run: pip install "booth[studio]"', code="package.missing"
        ) from error

    def tell(address: str) -> None:
        say("The studio is open. It ends with Ctrl-C; what runs goes on, and is there when you open it again.")
        print(address, flush=True)

    hosts = tuple(allow_host or ())
    run(folder, host=host, port=port, token=token, hosts=hosts, renew=new_token, assistant=assistant, tell=tell)
