"""booth world: the captioned synthetic world, and the base that is trained in it."""

from __future__ import annotations

from pathlib import Path
from typing import Annotated, Any

import typer

from booth.cli.guard import guarded
from booth.cli.options import AsJson, Device, Seed
from booth.cli.output import finish, say

world = typer.Typer(
    help="The synthetic world: draw it, train a base in it, score that base.",
    no_args_is_help=True,
    pretty_exceptions_enable=False,
)


def render(
    out: Annotated[Path, typer.Option(help="Folder to write into.", metavar="DIR")] = Path("world-pictures"),
    count: Annotated[int, typer.Option("-n", "--count", help="Pictures.", min=1)] = 24,
    seed: Seed = 0,
    split: Annotated[str, typer.Option(help="train, held_out, new_identity or any.", metavar="SPLIT")] = "train",
    as_json: AsJson = False,
) -> None:
    """Draw captioned pictures of the world: PNGs, metadata.jsonl and a contact sheet."""
    from booth.world.gallery import write_gallery

    files, sheet = write_gallery(out, count, seed, split)
    result = {"images": list(map(str, files)), "sheet": str(sheet)}
    finish(result, [str(sheet)], as_json)


def subject(
    noun: Annotated[str, typer.Argument(help="What it is: a noun of the world.")],
    out: Annotated[Path, typer.Option(help="Folder for its photos.", metavar="DIR")],
    photos: Annotated[int, typer.Option("-n", "--photos", help="Photos.", min=1, max=20)] = 5,
    seed: Seed = 0,
    as_json: AsJson = False,
) -> None:
    """Draw photos of one individual that the embedded base has never seen, to teach it as one's own thing is taught."""
    from booth.core.errors import UsageError
    from booth.core.places import require_empty
    from booth.evaluate.subjects import world_subject
    from booth.world.vocabulary import NOUNS

    if noun not in NOUNS:
        raise UsageError(
            f"The world has no {noun!r}.", f"It has {', '.join(NOUNS)}.", code="world.noun_unknown", field="noun"
        )
    require_empty(out)
    taken = world_subject(seed, noun, photos)
    out.mkdir(parents=True, exist_ok=True)
    files = [out / f"{i}.png" for i in range(1, len(taken.photos) + 1)]
    for photo, file in zip(taken.photos, files, strict=True):
        photo.save(file)
    result = {"images": list(map(str, files)), "identity": taken.identity.to_dict()}
    finish(result, list(map(str, files)), as_json)


def pretrain(
    out: Annotated[Path, typer.Option(help="Folder of the training; the base comes in OUT/base.", metavar="DIR")],
    seen: Annotated[
        int, typer.Option(help="Pictures that the denoiser learns from, each time under fresh noise.", min=1)
    ] = 2_000_000,
    pictures: Annotated[int, typer.Option(help="Different pictures among them: rendered first.", min=1)] = 120_000,
    batch: Annotated[int, typer.Option(help="Pictures a step.", min=1)] = 32,
    photographs: Annotated[
        Path | None, typer.Option(help="Photographs from which the autoencoder learns as well.", metavar="DIR")
    ] = None,
    start: Annotated[
        str | None, typer.Option(help="Base to go on from; a new one is trained if left out.", metavar="BASE")
    ] = None,
    workers: Annotated[int, typer.Option(help="Processes that render.", min=1)] = 2,
    device: Device = None,
    as_json: AsJson = False,
) -> None:
    """Train a base in the world; the same command again goes on where it was interrupted."""
    from booth.families.loading import resolve_base
    from booth.families.quiet import hush
    from booth.train.setup import choose_device
    from booth.world.pretrain import pretrain as learn

    hush()
    base = learn(
        out,
        seen,
        pictures=pictures,
        batch=batch,
        workers=workers,
        device=choose_device(device),
        photographs=photographs,
        start=None if start is None else resolve_base(start),
    )
    say(f"Score it with: booth world score --base {base}")
    finish({"base": str(base)}, [str(base)], as_json)


def judges(
    out: Annotated[Path, typer.Option(help="Folder of the training; the judges come in OUT/judges.", metavar="DIR")],
    base: Annotated[
        str, typer.Option(help="Base whose autoencoder the judges get used to.", metavar="BASE")
    ] = "embedded",
    steps: Annotated[int, typer.Option(help="Training steps of the three judges together.", min=3)] = 36_000,
    workers: Annotated[int, typer.Option(help="Processes that render.", min=1)] = 2,
    device: Device = None,
    as_json: AsJson = False,
) -> None:
    """Train the judges that score a base, apart from it, and measure their own errors."""
    from booth.families.loading import load_family
    from booth.families.quiet import hush
    from booth.train.setup import choose_device
    from booth.world.judging import train_judges

    hush()
    device = choose_device(device)
    model = load_family(base, device)
    vae: Any = model.components()["vae"]
    folder = train_judges(out, steps, vae, model.base / "tokenizer", workers=workers, device=device)
    finish({"judges": str(folder)}, [str(folder)], as_json)


def score(
    base: Annotated[str, typer.Option(help="embedded or a folder that pretrain wrote.", metavar="BASE")] = "embedded",
    pictures: Annotated[int, typer.Option(help="Pictures to draw and judge.", min=1)] = 400,
    seed: Seed = 0,
    as_json: AsJson = False,
) -> None:
    """Draw what training never showed together and judge it: object, scene, colour, accessory, emptiness, sharpness."""
    from booth.families.quiet import hush
    from booth.world.score import score as judge

    hush()
    result = judge(base, pictures, seed)
    names = ("object", "scene", "colour", "joint", "accessory", "empty", "sharpness")
    lines = [f"{name:<9} {100 * result[name]:5.1f} %" for name in names]
    for i, name in enumerate(names):
        if name in result["judge_errors"]:
            lines[i] += f"   (of renders {100 * (1 - result['judge_errors'][name]):5.1f} %)"
    finish(result, [*lines, f"over {result['pictures']} pictures"], as_json)


def labelled(
    out: Annotated[Path, typer.Option(help="Folder for pictures and metadata.csv.", metavar="DIR")],
    noun: Annotated[str, typer.Option("--class", help="What all pictures show.", metavar="NOUN")] = "dog",
    labels: Annotated[str, typer.Option(help="The classes: patterns.", metavar="NAMES")] = "stripes,dots,checks,heart",
    scarce: Annotated[str, typer.Option(help="Those of which there are few.", metavar="NAMES")] = "checks,heart",
    few: Annotated[int, typer.Option(help="Pictures of a scarce class.", min=2)] = 12,
    many: Annotated[int, typer.Option(help="Pictures of another class.", min=2)] = 60,
    test: Annotated[int, typer.Option(help="Pictures of each class to test with.", min=2)] = 60,
    seed: Seed = 0,
    as_json: AsJson = False,
) -> None:
    """Draw a labelled set whose truth is known: one noun in several patterns, some of them scarce."""
    from booth.world.labelled import write_labelled

    table = write_labelled(out, noun, labels.split(","), scarce.split(",") if scarce else [], few, many, test, seed)
    finish({"table": str(table)}, [str(table)], as_json)


for verb in (render, subject, labelled, pretrain, judges, score):
    world.command()(guarded(verb))
