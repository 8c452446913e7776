"""The `booth` command: which verbs there are. Nothing heavy is imported before a verb's body runs."""

from __future__ import annotations

import atexit
import gc
import os
from typing import Annotated

import typer

from booth import __version__
from booth.cli.augment import augment
from booth.cli.bench import bench
from booth.cli.caption import caption
from booth.cli.compare import compare
from booth.cli.demo import demo
from booth.cli.doctor import doctor
from booth.cli.evaluate import evaluate
from booth.cli.export import export
from booth.cli.fleet import fleet
from booth.cli.generate import generate
from booth.cli.guard import GuardedGroup, guarded
from booth.cli.hint import hint
from booth.cli.import_config import import_config
from booth.cli.import_file import import_file
from booth.cli.inspect import inspect
from booth.cli.mask import mask
from booth.cli.methods import methods
from booth.cli.prompt_card import prompt_card
from booth.cli.push import push
from booth.cli.recommend import recommend
from booth.cli.reteach import reteach
from booth.cli.serve import serve
from booth.cli.streams import make_lasting
from booth.cli.study import study
from booth.cli.taste import taste
from booth.cli.train import train
from booth.cli.wall import wall
from booth.cli.world import world
from booth.core.process import keep_freed_memory

app = typer.Typer(
    name="booth",
    cls=GuardedGroup,
    help="Teach a text-to-image model a new subject from a handful of photos.",
    no_args_is_help=True,
    pretty_exceptions_enable=False,
    context_settings={"help_option_names": ["-h", "--help"]},
)
for verb in (
    train,
    reteach,
    generate,
    evaluate,
    wall,
    compare,
    study,
    taste,
    recommend,
    hint,
    caption,
    mask,
    inspect,
    methods,
    export,
    prompt_card,
    push,
    serve,
    demo,
    doctor,
    bench,
):
    app.command()(guarded(verb))
app.command("import")(guarded(import_file))
app.command()(guarded(import_config))
app.add_typer(augment, name="augment")
app.add_typer(fleet, name="fleet")
app.add_typer(world, name="world")


def _show_version(wanted: bool) -> None:
    if wanted:
        typer.echo(f"booth {__version__}")
        raise typer.Exit


@app.callback()
def common(
    version: Annotated[
        bool, typer.Option("--version", callback=_show_version, is_eager=True, help="Print the version and leave.")
    ] = False,
) -> None:
    """Teach a text-to-image model a new subject from a handful of photos."""


def main() -> None:
    """Run the command line; the exit codes are in docs/reference/exit-codes.md."""
    # Set before any library reads them: no code from the Hub, and only our own words on the screen.
    os.environ["DIFFUSERS_DISABLE_REMOTE_CODE"] = "1"
    os.environ.setdefault("TRANSFORMERS_VERBOSITY", "error")
    os.environ.setdefault("DIFFUSERS_VERBOSITY", "error")
    # OpenMP's threads spin for milliseconds while they wait, which starves them of each other where another program is
    # busy. Short spins more than halve the time of a step on two cores then, and cost a sixth on an idle machine.
    os.environ.setdefault("GOMP_SPINCOUNT", "1000")
    # What the thousands of modules define is never garbage: to look through it, again and at the end, takes a second.
    gc.set_threshold(600_000)
    atexit.register(gc.freeze)
    keep_freed_memory()
    make_lasting()
    app()
