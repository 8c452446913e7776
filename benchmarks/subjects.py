"""Teach subjects by each method and let the judges compare with the untouched base at the same prompts and seeds.

    python benchmarks/subjects.py --out results/subjects.json --sheets docs/sheets
    python benchmarks/subjects.py --photos DIR:NOUN DIR:NOUN ... --out results/photographs.json

One row a run is kept in the result file: what is there is not run again, so that an interrupted study goes on.
"""

from __future__ import annotations

import argparse
import json
import sys
import tempfile
from pathlib import Path
from typing import Any

import torch
from PIL import Image

from booth import __version__
from booth.concept import Concept
from booth.config import RunConfig
from booth.data.photos import load_photos
from booth.evaluate.judged import judge
from booth.evaluate.subjects import PROMPT_SCENES, world_subject
from booth.families.loading import base_hash, load_family
from booth.generate.concepts import Applied, attached
from booth.generate.draw import draw
from booth.generate.sheet import contact_sheet
from booth.registry import METHODS
from booth.train.run import train
from booth.world.judges import Judges
from booth.world.vocabulary import SCENES

TEST_SEEDS = {"cat": 1, "backpack": 2, "teapot": 3, "dog": 4, "boot": 5}  # subject seeds; others are for tuning
TOKEN = "sks"
DRAWINGS = 2  # a prompt


def write_photos(images: list[Image.Image], folder: Path) -> Path:
    folder.mkdir(parents=True)
    for i, image in enumerate(images):
        image.save(folder / f"{i}.png")
    return folder


def subjects_of(options: argparse.Namespace, work: Path) -> dict[str, tuple[Path, str, list[Image.Image]]]:
    """Name -> (folder of photos, noun, reference pictures)."""
    if options.photos:
        pairs = [text.rpartition(":") for text in options.photos]
        found = {Path(folder).name: (Path(folder), noun) for folder, _, noun in pairs}
        return {n: (f, noun, [p.image for p in load_photos([f]).photos]) for n, (f, noun) in found.items()}
    seeds = {f"{noun}-{seed}": (noun, seed) for noun, seed in (s.split(":") for s in options.subjects)}
    made = {name: world_subject(int(seed), noun) for name, (noun, seed) in seeds.items()}
    return {name: (write_photos(s.photos, work / name), s.noun, s.unseen) for name, s in made.items()}


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--photos", nargs="*", help="folders of real photos, each as DIR:NOUN")
    parser.add_argument("--subjects", nargs="*", default=[f"{n}:{s}" for n, s in TEST_SEEDS.items()], help="NOUN:SEED")
    parser.add_argument("--methods", nargs="*", default=[m for m in METHODS if METHODS[m].needs_subject])
    parser.add_argument("--seeds", nargs="*", type=int, default=[0, 1])
    parser.add_argument("--set", nargs="*", default=[], help="METHOD.key=value")
    parser.add_argument("--base", default="embedded")
    parser.add_argument("--guidance", type=float, default=5.0)
    parser.add_argument("--out", type=Path, required=True)
    parser.add_argument("--sheets", type=Path)
    options = parser.parse_args()
    judges, base = Judges(), load_family(options.base)
    result: dict[str, Any] = json.loads(options.out.read_text()) if options.out.exists() else {"runs": []}
    result |= {
        "booth": __version__,
        "torch": torch.__version__,
        "threads": torch.get_num_threads(),
        "base": base_hash(base.base),
        "judges": judges.errors,
        "prompts": [f"a {TOKEN} NOUN {SCENES[s].phrases[0]}" for s in PROMPT_SCENES],
        "drawings_a_prompt": DRAWINGS,
        "guidance": options.guidance,
    }
    done = {(r["subject"], r["method"], r["seed"]) for r in result["runs"]}
    with tempfile.TemporaryDirectory() as folder:
        work = Path(folder)
        for name, (photos, noun, references) in subjects_of(options, work).items():
            rows: list[tuple[str, list[Image.Image]]] = []
            scenes = [s for s in PROMPT_SCENES for _ in range(DRAWINGS)]
            prompts = [f"a {TOKEN} {noun} {SCENES[s].phrases[0]}" for s in scenes]
            seeds = [100 + i for i in range(len(prompts))]
            how = {"batch_size": 10, "guidance": options.guidance}
            for method in ["base", *options.methods]:
                for seed in [0] if method == "base" else options.seeds:
                    if (name, method, seed) in done:
                        continue
                    row: dict[str, Any] = {"subject": name, "noun": noun, "method": method, "seed": seed}
                    if method == "base":
                        images = draw(base, prompts, seeds, **how)
                    else:
                        concept = teach(options, method, photos, noun, seed, work / f"{name}-{method}-{seed}")
                        record = concept.record
                        row |= {"seconds": record.timings, "artifact_bytes": sum(record.sizes.values())}
                        with attached(base, [Applied(concept)]):
                            images = draw(base, prompts, seeds, **how)
                    row |= judge(judges, images, references, noun, scenes).to_dict()
                    result["runs"].append(row)
                    rows.append((f"{method} {seed}", images[::DRAWINGS]))
                    print(json.dumps({k: v for k, v in row.items() if k != "seconds"}), file=sys.stderr, flush=True)
                    options.out.parent.mkdir(parents=True, exist_ok=True)
                    options.out.write_text(json.dumps(result, indent=1) + "\n")
            if options.sheets and rows:
                options.sheets.mkdir(parents=True, exist_ok=True)
                pictures = [[p.image for p in load_photos([photos]).photos], *(images for _, images in rows)]
                titles = ["the photos", *(title for title, _ in rows)]
                contact_sheet(pictures, titles, list(PROMPT_SCENES)).save(options.sheets / f"{name}.jpg", quality=88)
    result["summary"] = summary(result["runs"])
    options.out.write_text(json.dumps(result, indent=1) + "\n")
    print(json.dumps(result["summary"], indent=1))


def teach(options: argparse.Namespace, method: str, photos: Path, noun: str, seed: int, out: Path) -> Concept:
    settings = {}
    for text in options.set:
        key, _, value = text.partition("=")
        if key.partition(".")[0] == method:
            settings[key.partition(".")[2]] = json.loads(value)
    config = RunConfig(
        photos=[photos], noun=noun, token=TOKEN, method=method, base=options.base, out=out, seed=seed, settings=settings
    )
    return train(config)


def summary(runs: list[dict[str, Any]]) -> dict[str, dict[str, Any]]:
    """Mean and range over runs of each figure, by method."""
    table: dict[str, dict[str, Any]] = {}
    for method in dict.fromkeys(r["method"] for r in runs):
        mine = [r for r in runs if r["method"] == method]
        table[method] = {"runs": len(mine)}
        for key in ("identity", "similarity", "object", "scene", "joint"):
            values = [r[key] for r in mine]
            table[method][key] = [round(sum(values) / len(values), 3), min(values), max(values)]
    return table


if __name__ == "__main__":
    main()
