"""Train a ControlNet on renders of the world, and measure how well drawings obey their hints.

    python benchmarks/control_obedience.py --control canny --out results/canny.json --concept runs/canny
    python benchmarks/control_obedience.py --pictures-of circles --out results/circles.json --concept runs/circles

Training is `booth.train` on a folder of pictures, hints and captions that is rendered first, so that the same command
goes on after an interruption; previews between the steps show when obedience sets in ("sudden convergence"). Held-out
renders are then drawn from their captions with and without the ControlNet, at the same seeds. A world's depth and
normals come from its compositing, every other hint is made from the picture by its control.
"""

from __future__ import annotations

import argparse
import json
import sys
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import numpy as np
import torch
from diffusers import ControlNetModel
from PIL import Image, ImageDraw

import booth
from booth.concept import Concept
from booth.controls.normals import encode
from booth.core.commit import committed
from booth.families.loading import base_hash, load_family
from booth.generate.concepts import Applied, attached
from booth.generate.draw import draw
from booth.generate.sheet import contact_sheet
from booth.registry import CONTROLS
from booth.world.captions import caption
from booth.world.render import normals, render
from booth.world.sampling import UPRIGHT_SHARE, sample_factors

COLOURS = ("red", "green", "blue", "yellow", "orange", "purple", "pink", "brown", "black", "white")
TOLERANCE = 1 / 64  # of the side: how far an edge may lie beside the hint's
SMOOTH = 4  # times larger are circles drawn, so that their edges are smooth
SHOWN = 8  # columns of the contact sheet
Row = tuple[Image.Image, Image.Image, str]  # picture, hint, caption


def world_rows(control: str, count: int, seed: int, side: int) -> Iterator[Row]:
    """Renders of `side` pixels with their hints and captions."""
    make = CONTROLS[control]()
    for index in range(count):
        rng = np.random.default_rng([seed, index])
        factors = sample_factors(rng, upright_share=UPRIGHT_SHARE)
        rendered = render(factors, side)
        picture = Image.fromarray(rendered.image)
        if control == "depth":
            hint = Image.fromarray(np.rint(rendered.depth * 255).astype(np.uint8)).convert("RGB")
        elif control == "normals":
            hint = encode(normals(rendered.depth))
        else:
            hint = make(picture)
        yield picture, hint, caption(factors, rng)


def circle_rows(count: int, seed: int, side: int) -> Iterator[Row]:
    """Filled circles on plain grounds, the hint the outline alone: after Fill50K of ControlNet's own tutorial."""
    for index in range(count):
        rng = np.random.default_rng([seed, index])
        inside, outside = rng.choice(COLOURS, 2, replace=False)
        x, y, r = *rng.integers(side // 4, side - side // 4, 2), rng.integers(side // 10, side // 4)
        box = [SMOOTH * int(v) for v in (x - r, y - r, x + r, y + r)]
        large = (SMOOTH * side, SMOOTH * side)
        picture, hint = Image.new("RGB", large, str(outside)), Image.new("RGB", large)
        ImageDraw.Draw(picture).ellipse(box, fill=str(inside))
        ImageDraw.Draw(hint).ellipse(box, outline="white", width=SMOOTH)
        yield picture.reduce(SMOOTH), hint.reduce(SMOOTH), f"{inside} circle on {outside}"


def write_set(rows: Iterator[Row], folder: Path) -> None:
    """Pictures, hints and captions as `booth train` reads them; whole or not at all."""
    if folder.is_dir():
        return
    with committed(folder, {"kind": "pictures with hints"}) as work:
        for index, (picture, hint, words) in enumerate(rows):
            picture.save(work / f"{index:06}.png")
            hint.save(work / f"{index:06}-condlabel.png")
            (work / f"{index:06}.txt").write_text(words + "\n", encoding="utf-8")


def edge_f1(drawn: Image.Image, wanted: Image.Image, canny: Any) -> float:
    """F1 of the Canny edges of two pictures, each edge matched within the tolerance; 1 if neither has any."""
    a, b = (np.asarray(canny(image))[..., 0] > 0 for image in (drawn, wanted))
    if not a.any() or not b.any():
        return float(a.any() == b.any())
    precision, recall = (a & _near(b)).sum() / a.sum(), (b & _near(a)).sum() / b.sum()
    return float(2 * precision * recall / max(precision + recall, 1e-9))


def _near(edges: np.ndarray) -> np.ndarray:
    height, width = edges.shape
    reach = round(TOLERANCE * width)
    padded = np.pad(edges, reach)
    span = range(2 * reach + 1)
    return np.any([padded[y : y + height, x : x + width] for y in span for x in span], axis=0)


def write_small(base: str, folder: Path) -> None:
    """A ControlNet of this base to start from, with the attention of its first level alone: two thirds of the bytes."""
    if folder.is_dir():
        return
    whole: Any = load_family(base).control_copy(middle_attention=False)
    levels = ["DownBlock2D"] * len(whole.config.down_block_types)
    levels[0] = whole.config.down_block_types[0]
    small: Any = ControlNetModel.from_config({**whole.config, "down_block_types": levels})
    small.load_state_dict({name: whole.state_dict()[name] for name in small.state_dict()})
    small.save_pretrained(folder, safe_serialization=True)


def by_step(concept: Concept, wanted: list[Row], canny: Any) -> list[dict[str, float]]:
    """Mean edge F1 of each preview's pictures, which follow the hints of the first training pictures in their order."""
    rows: list[dict[str, float]] = []
    for folder in sorted((concept.folder / "samples" / "previews").glob("*")):
        files = sorted(folder.glob("*.png"), key=lambda f: int(f.stem.rpartition("-")[2]))
        values = [edge_f1(Image.open(f).convert("RGB"), row[0], canny) for f, row in zip(files, wanted)]
        rows.append({"step": int(folder.name), "edge_f1": round(float(np.mean(values)), 4)})
    return rows


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--pictures-of", choices=["world", "circles"], default="world")
    parser.add_argument("--control", default="canny", choices=list(CONTROLS))
    parser.add_argument("--pictures", type=int, default=4000)
    parser.add_argument("--hints", type=int, default=200, help="held-out hints to draw after")
    parser.add_argument("--previews", type=int, default=250, help="steps between two looks at the obedience")
    parser.add_argument("--guidance", type=float, help="of the drawings; the base's own by default")
    parser.add_argument("--base", default="embedded")
    parser.add_argument("--set", dest="settings", nargs="*", default=[], help="KEY=VALUE of the method, as JSON")
    parser.add_argument("--small", action="store_true", help="leave out the attention of all levels but the first")
    parser.add_argument("--device")
    parser.add_argument("--concept", type=Path, required=True, help="folder of the ControlNet; its set lies beside it")
    parser.add_argument("--out", type=Path, required=True)
    parser.add_argument("--sheet", type=Path)
    options = parser.parse_args()

    with booth.open(options.base) as session, session.model() as model:
        side = model.resolution

    def rows(count: int, seed: int) -> Iterator[Row]:
        return (
            circle_rows(count, seed, side)
            if options.pictures_of == "circles"
            else world_rows(options.control, count, seed, side)
        )

    pictures = options.concept.with_name(f"{options.concept.name}-pictures-{options.pictures}")
    write_set(rows(options.pictures, seed=0), pictures)
    control = "circles" if options.pictures_of == "circles" else options.control
    pairs = (text.partition("=") for text in options.settings)
    settings = {"control": control} | {key: json.loads(value) for key, _, value in pairs}
    if options.small:
        write_small(options.base, options.concept.with_name(f"{options.concept.name}-small"))
        settings |= {
            "start_from": options.concept.with_name(f"{options.concept.name}-small"),
            "middle_attention": False,
        }
    concept = booth.train(
        pictures, method="controlnet", base=options.base, out=options.concept, previews=options.previews,
        device=options.device, resume=True, **settings,
    )  # fmt: skip
    model = load_family(options.base, options.device or "cpu")
    guidance = model.guidance if options.guidance is None else options.guidance
    held_out = list(rows(options.hints, seed=1))
    prompts, seeds = [words for _, _, words in held_out], list(range(len(held_out)))
    without = draw(model, prompts, seeds, guidance=guidance)
    with attached(model, [Applied(concept)]):
        followed = draw(model, prompts, seeds, guidance=guidance, control_images=[[hint for _, hint, _ in held_out]])
    canny = CONTROLS["canny"]()
    scores = {
        name: [edge_f1(image, row[0], canny) for image, row in zip(images, held_out)]
        for name, images in (("without", without), ("with", followed))
    }
    result = {
        "booth": booth.__version__,
        "torch": torch.__version__,
        "base": base_hash(model.base),
        "pictures_of": options.pictures_of,
        "control": control,
        "pictures": options.pictures,
        "settings": concept.record.settings,
        "seconds": round(concept.record.seconds, 1),
        "artifact_bytes": concept.record.artifact_bytes,
        "hints": len(held_out),
        "guidance": guidance,
        "tolerance": TOLERANCE,
        "edge_f1": {name: {"mean": round(float(np.mean(v)), 4), "std": round(float(np.std(v)), 4)}
                    for name, v in scores.items()},
        "better_with": round(float(np.mean(np.array(scores["with"]) > scores["without"])), 4),
        "by_step": by_step(concept, list(rows(4, seed=0)), canny),
    }  # fmt: skip
    print(json.dumps(result, indent=2))
    options.out.parent.mkdir(parents=True, exist_ok=True)
    options.out.write_text(json.dumps(result, indent=2) + "\n")
    if options.sheet:
        columns = [[r[0] for r in held_out], [r[1] for r in held_out], without, followed]
        names = ["the picture", f"its {control} hint", "without", "with"]
        contact_sheet([column[:SHOWN] for column in columns], names).save(options.sheet)


if __name__ == "__main__":
    sys.exit(main())
