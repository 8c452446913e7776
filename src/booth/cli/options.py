"""Options that several verbs share."""

from __future__ import annotations

from typing import Annotated

import typer

AsJson = Annotated[bool, typer.Option("--json", help="The last line of stdout is one JSON object.")]
Base = Annotated[
    str | None,
    typer.Option(help="embedded, a diffusers folder, a .safetensors checkpoint or a Hub id.", metavar="BASE"),
]
Kind = Annotated[
    str | None, typer.Option("--family", help="What kind of base it has to be; found out if left out.", metavar="NAME")
]
Device = Annotated[
    str | None,
    typer.Option(help="cpu, cuda or mps; if left out, cuda where there is one, else cpu.", metavar="DEVICE"),
]
Precision = Annotated[
    str | None, typer.Option(help="fp32, bf16 or fp16; what suits the device if left out.", metavar="TYPE")
]
Seed = Annotated[int, typer.Option(help="Decides all randomness.", min=0)]
