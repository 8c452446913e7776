"""The wall: the previews of a run, checkpoint by checkpoint, beside what the untouched base draws at the same seeds.

Each picture's likeness to the photos is compared with that of the base's picture at the same prompt and seed; the
interval is over the photos. Which checkpoint is best is decided as a run with `until = "done"` decides it: the highest
mean over prompts of subject x prompt, each from 0 to 1.
"""

from __future__ import annotations

import json
import math
from collections.abc import Callable, Sequence
from dataclasses import asdict, dataclass
from pathlib import Path
from typing import Any

import numpy as np
from PIL import Image
from torch import Tensor

from booth.concept import Concept
from booth.config import RunConfig
from booth.core.commit import committed_file
from booth.core.concept import TOLD
from booth.core.encoder import Encoder, Role
from booth.core.errors import BadDataError, UsageError
from booth.core.json_values import Json
from booth.core.method import Subject
from booth.core.statistics import Difference, difference
from booth.data.photos import load_photos
from booth.evaluate.encoders import likeness_role, load_encoders, with_role
from booth.events import read_events
from booth.generate.draw import draw
from booth.session import Session
from booth.train.checkpoints import read_checkpoint
from booth.train.trainer import Trainer

FILE = "wall.json"
LEAST = 0.02  # a gap between floor and ceiling below this is no scale


@dataclass(frozen=True)
class Row:
    """The pictures after some steps. `step` None is the untouched base."""

    step: int | None
    files: list[Path]
    final: bool = False  # whether it is the concept as it was finished
    kept: bool = False  # whether its checkpoint is there, to make another concept of


def wall(
    concept: Concept,
    out: Path,
    tell: Callable[[str], None] = lambda _: None,
    encoders: Sequence[str] = (),
) -> dict[str, Any]:
    """Measure the wall of a concept into `out`: the base's pictures and wall.json, whose values are returned.

    `encoders` are names; for what none of them can be asked, those that are used unnamed are.
    NotAvailableError for one that is not here, UsageError for one that is none, BadDataError for a concept that no run
    is told of or that was trained without previews.
    """
    called = load_encoders(encoders) if encoders else []
    rows, prompts = _rows(concept)
    record = concept.record
    subject = Subject(record.subject.token, record.subject.noun, record.subject.kind)
    plain = [without_subject(prompt, subject) for prompt in prompts]
    photos = [p.image for p in load_photos([Path(f) for f in record.photo_files]).photos]
    tell(f"Drawing what the untouched base draws of {len(plain)} prompts.")
    with Session(record.base.name, record.device) as session, session.model() as model:
        seeds = [seed_of(file) for file in rows[0].files]
        images = draw(model, plain, seeds)
        found = [*called, *_beside(called, likeness_role(subject), model.scale)]
    out.mkdir(parents=True, exist_ok=True)
    base = Row(None, [out / f"base-{i}.png" for i in range(len(images))])
    for image, file in zip(images, base.files, strict=True):
        with committed_file(file) as work:
            image.save(work)
    tell(f"Comparing {len(rows) + 1} rows with {len(photos)} photos.")
    see, follow = with_role(found, likeness_role(subject))[0], with_role(found, "prompt")[0]
    references, texts = see.images(photos), follow.read(plain)
    shown = [[_open(f) for f in row.files] for row in (base, *rows)]
    likeness = [(see.images(each) @ references.T).double().numpy() for each in shown]  # each (prompts, photos)
    agreement = [(follow.images(each) * texts).sum(1).double().numpy() for each in shown]  # each (prompts,)
    ceiling = _among(references)
    ignored = (follow.images(photos) @ texts.T).mean(0).double().numpy()
    scored = [
        _scored_row(row, alike, agrees, likeness[0], agreement[0], ceiling, ignored)
        for row, alike, agrees in zip((base, *rows), likeness, agreement, strict=True)
    ]
    best = _best(scored)
    values = {
        "concept": record.name,
        "prompts": prompts,
        "seeds": seeds,
        "plain": plain,
        "photos": len(photos),
        "encoders": {"subject": see.name, "prompt": follow.name},
        "called": list(encoders),
        "rows": scored,
        "best": best,
        "selection": (record.selection or {}).get("step"),
        "reason": reason(scored, best),
    }
    with committed_file(out / FILE) as work:
        work.write_text(json.dumps(values, indent=1) + "\n", encoding="utf-8")
    return values | {"sentence": in_words(values["reason"])}


def _beside(called: Sequence[Encoder], likeness: Role, scale: str) -> list[Encoder]:
    """Those that are used unnamed, where what was called for cannot tell likeness or read prompts."""
    able = {role for encoder in called for role in encoder.roles}
    return [] if {likeness, "prompt"} <= able else load_encoders(scale=scale)


def _rows(concept: Concept) -> tuple[list[Row], list[str]]:
    """The rows of a concept, the first steps first, and their prompts."""
    run_folder, samples = concept.folder / TOLD, sorted((concept.folder / "samples").glob("*.png"), key=_place)
    if not (run_folder / "events.jsonl").is_file():
        raise BadDataError(
            f"{concept.folder} has no run that tells how it came about, so it has no wall.",
            code="wall.no_run",
            field="concept",
        )
    drawn: dict[int, tuple[list[Path], list[str]]] = {}
    last = 0
    for event in read_events(run_folder / "events.jsonl"):
        if event.kind == "preview":
            step = int(event.data["step"])
            folder = concept.folder / "samples" / "previews" / f"{step:06d}"
            files = [folder / Path(str(name)).name for name in event.data["files"]]
            if all(f.is_file() for f in files):
                drawn[step] = files, [str(p) for p in event.data["prompts"]]
        if event.kind == "step":
            last = max(last, event.done)
    if not drawn:
        raise BadDataError(
            f"{concept.folder} was trained without previews.",
            "Train with `previews` to have a wall.",
            code="wall.no_previews",
            field="previews",
        )
    prompts = next(iter(drawn.values()))[1]
    rows = [
        Row(step, files, kept=_checkpoint(concept, step).is_dir())
        for step, (files, asked) in sorted(drawn.items())
        if asked == prompts
    ]
    if len(samples) == len(prompts):
        rows = [row for row in rows if row.step != last]
        rows.append(Row(last, samples, final=True))
    return rows, prompts


def seed_of(file: Path) -> int:
    """The seed at which a preview was drawn: the end of its name."""
    return int(file.stem.rpartition("-")[2])


def _place(file: Path) -> tuple[str, int]:
    """Sorts samples as they were drawn: by prompt, then by seed."""
    prompt, _, seed = file.stem.rpartition("-")
    return prompt, int(seed)


def _checkpoint(concept: Concept, step: int) -> Path:
    return concept.folder / TOLD / "checkpoints" / f"ckpt-{step:06d}"


def without_subject(prompt: str, subject: Subject) -> str:
    """What the base is asked for instead: "a photo of sks dog" becomes "a photo of a dog", a style is left out."""
    if subject.kind == "style":
        return prompt.replace(f" in {subject.name}", "")
    an = "an" if subject.noun.lower().startswith(tuple("aeiou")) else "a"
    return prompt.replace(subject.name, f"{an} {subject.noun}")


def _scored_row(
    row: Row,
    alike: np.ndarray,
    agrees: np.ndarray,
    base: np.ndarray,
    followed: np.ndarray,
    ceiling: float,
    ignored: np.ndarray,
) -> dict[str, Any]:
    """One row with its cells: how much more like the photos than the base's picture, and what of the prompt is left."""
    subject = _between(alike.mean(1), base.mean(1), np.full(len(alike), ceiling), 0.0)
    prompt = _between(agrees, ignored, followed, 1.0)
    return {
        "step": row.step,
        "final": row.final,
        "kept": row.kept,
        "files": [str(f) for f in row.files],
        "score": round(float((subject * prompt).mean()), 4),
        "units": [round(float(u), 4) for u in subject * prompt],
        "gain": _plain(difference(list(alike.mean(1)), list(base.mean(1)))),
        "followed": round(float(prompt.mean()), 4),
        "cells": [
            {"gain": _plain(difference(list(a), list(b))), "followed": round(float(f), 4)}
            for a, b, f in zip(alike, base, prompt, strict=True)
        ],
    }


def _best(rows: Sequence[dict[str, Any]]) -> int | None:
    """The index of the row with the highest score, of equals the first; the base is none."""
    taught = range(1, len(rows))
    return max(taught, key=lambda i: rows[i]["score"], default=None)


def reason(rows: Sequence[dict[str, Any]], best: int | None) -> dict[str, Json]:
    """Why a row is the best, in values: a front end has the words."""
    if best is None:
        return {}
    row, later = rows[best], rows[best + 1 :]
    against = difference(row["units"], later[-1]["units"]) if later else None
    return {
        "step": row["step"],
        "gain": row["gain"],
        "followed": row["followed"],
        "learned": not (row["gain"]["low"] <= 0 <= row["gain"]["high"]) and row["gain"]["mean"] > 0,
        "last": later[-1]["step"] if later else None,
        "later": None if against is None else "noise" if against.is_noise else "worse",
    }


def in_words(why: dict[str, Any]) -> str:
    """The reason as a sentence."""
    if not why:
        return "There is no checkpoint to choose from."
    gain = why["gain"]
    sentence = (
        f"Step {why['step']} is the best: its pictures are {gain['mean']:+.2f} [{gain['low']:+.2f}, "
        f"{gain['high']:+.2f}] more like the photos than the untouched base's, and keep {why['followed']:.0%} of what "
        "the prompts ask for"
    )
    if not why["learned"]:
        sentence += ", which is not beyond the error yet: train on"
    elif why["later"] is not None:
        sentence += f"; step {why['last']} " + ("is no better" if why["later"] == "noise" else "is worse")
    return sentence + "."


def keep(concept: Concept, step: int, out: Path) -> Concept:
    """Make a concept of another checkpoint of the same run; UsageError where that was not kept or is of no last stage.

    The photos have to be where they were: they are checked against the run's.
    """
    folder = _checkpoint(concept, step)
    if not folder.is_dir():
        found = sorted(int(p.name.rpartition("-")[2]) for p in folder.parent.glob("ckpt-*"))
        there = f"There are those after {', '.join(map(str, found))}." if found else "Train with keep_checkpoints."
        raise UsageError(
            f"The checkpoint after {step} steps was not kept.", f"{there}", code="wall.not_kept", field="keep"
        )
    configuration = json.loads((concept.folder / TOLD / "run.json").read_text(encoding="utf-8"))["configuration"]
    own = {"out": out, "resume": False, "until": "steps", "previews": 0, "keep_checkpoints": None}
    checkpoint = read_checkpoint(folder)
    with Trainer(RunConfig.model_validate(configuration | own)) as trainer:
        trainer.load_state(checkpoint.tensors, checkpoint.values)
        trainer.clock.load_state(checkpoint.values["clock"])
        return trainer.finish()


def _between(values: np.ndarray, floor: np.ndarray, ceiling: np.ndarray, unknown: float) -> np.ndarray:
    """Where values lie from floor (0) to ceiling (1); `unknown` where the two are too near to tell."""
    gap = ceiling - floor
    share = ((values - floor) / np.maximum(gap, LEAST)).clip(0, 1)
    return np.where(gap < LEAST, unknown, share)


def _among(references: Tensor) -> float:
    """The mean likeness of the photos among themselves; 1 for a single one."""
    count = len(references)
    if count < 2:
        return 1.0
    alike = (references @ references.T).double().numpy()
    return float((alike.sum() - np.trace(alike)) / (count * (count - 1)))


def _plain(found: Difference) -> dict[str, float]:
    return {name: round(value, 4) if math.isfinite(value) else 0.0 for name, value in asdict(found).items()}


def _open(file: Path) -> Image.Image:
    with Image.open(file, formats=("PNG",)) as image:
        return image.convert("RGB")
