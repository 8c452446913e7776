"""A race on its base: what decides it, what every entrant is set beside, and the plan that keeps two apart."""

from __future__ import annotations

import hashlib
import json
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass, field, replace
from pathlib import Path
from typing import Any, Literal

from booth import __version__
from booth.compare.budget import Budget
from booth.core.commit import package_versions
from booth.core.encoder import Encoder
from booth.core.errors import UsageError
from booth.core.family import Family
from booth.core.method import Subject
from booth.data.photos import Photo, PhotoSet, load_photos
from booth.evaluate.encoders import load_encoders, require_pictures_comparable
from booth.evaluate.masks import Masks
from booth.evaluate.measure import measure_rows
from booth.evaluate.protocol import Protocol
from booth.evaluate.report.files import write_whole
from booth.evaluate.rows import Photos, Untouched, draw_untouched, reference_rows
from booth.events import Reporter
from booth.families.loading import base_hash
from booth.registry import METHODS
from booth.session import Session

PLAN, REFERENCES = "race.json", "references.json"


@dataclass(frozen=True)
class Race:
    """Everything that decides a race."""

    photos: Sequence[Path]
    noun: str
    out: Path
    protocol: Protocol
    kind: Literal["subject", "style"] = "subject"
    token: str = "sks"
    base: str = "embedded"
    methods: Sequence[str] = ()  # none = all that teach a subject
    seeds: Sequence[int] = (0, 1)
    budget: Budget = field(default_factory=Budget)
    held_out: Sequence[Path] = ()
    encoders: Sequence[str] = ()
    settings: Mapping[str, Mapping[str, Any]] = field(default_factory=dict[str, Mapping[str, Any]])  # by method
    device: str = "cpu"

    def folder(self, method: str, seed: int) -> Path:
        """Where one run's concept, pictures and numbers lie."""
        return self.out / "runs" / f"{method.replace(':', '.')}-{seed}"

    def entrants(self) -> Iterator[tuple[str, int]]:
        """(method, training seed), seed by seed, so that an interrupted race has something of every method."""
        return ((method, seed) for seed in self.seeds for method in self.methods or teaching_methods())


def teaching_methods() -> tuple[str, ...]:
    """Every method but those that learn to follow a control picture instead of a subject."""
    return tuple(name for name, kind in METHODS.usable().items() if not kind.follows_control)


@dataclass(frozen=True)
class Course:
    """A race on its base, and what every entrant is set beside."""

    race: Race
    encoders: Sequence[Encoder]
    photos: Photos
    untouched: Untouched


def prepared(race: Race, trained: PhotoSet, session: Session, reporter: Reporter) -> Course:
    """The race on this base, and what every entrant is set beside."""
    with session.model() as model:
        return _course(race, trained, model, reporter)


def _course(race: Race, trained: PhotoSet, model: Family, reporter: Reporter) -> Course:
    race = replace(race, protocol=race.protocol.on(model))
    encoders = load_encoders(race.encoders, scale=model.scale)
    require_pictures_comparable(encoders)
    photos = _photos(race, trained.photos)
    photos.masks.use_segmenter(model.scale)
    _claim(race, [p.sha256 for p in trained.photos], base_hash(model.base), encoders, photos)
    subject = Subject(race.token, race.noun, race.kind)
    reporter.begin("drawing", 0, 2 * len(race.protocol.rows(subject)) + 2 * race.protocol.drift)
    reporter.say("Drawing what the untouched base draws, or finding it again.")
    untouched = draw_untouched(model, base_hash(model.base), subject, race.protocol, race.out / "untouched")
    _write_references(race, subject, untouched, photos, encoders)
    return Course(race, encoders, photos, untouched)


def _photos(race: Race, training: Sequence[Photo]) -> Photos:
    held = load_photos(list(race.held_out)).photos if race.held_out else ()
    both = {p.sha256 for p in training} & {p.sha256 for p in held}
    if both:
        names = ", ".join(p.path.name for p in held if p.sha256 in both)
        raise UsageError(
            f"{names} would be learned from and compared with, which rewards copying.",
            "Move what is held out to another folder than the photos'.",
            code="held_out.learned_from",
            field="held_out",
        )
    references = held or training
    if len(references) < 2:
        raise UsageError(
            "A race needs at least two photos to compare with.",
            "Add more, or give `held_out`.",
            code="race.too_few_photos",
            field="photos",
        )
    images, compared = ([p.image for p in several] for several in (training, references))
    return Photos(images, compared, held_out=bool(held), masks=Masks(race.noun, [*training, *held]))


def _claim(race: Race, hashes: list[str], base: str, encoders: Sequence[Encoder], photos: Photos) -> None:
    """Write the race's plan, or refuse to mix two races in one folder. More methods or seeds may join."""
    plan = {
        "noun": race.noun,
        "kind": race.kind,
        "token": race.token,
        "photos": hashes,
        "base": base,
        "protocol": race.protocol.to_json(),
        "budget": race.budget.to_json(),
        "settings": {m: dict(s) for m, s in race.settings.items()},
        "held_out": [hashlib.sha256(p.read_bytes()).hexdigest() for p in _files(race.held_out)],
        "encoders": {e.name: e.about() for e in encoders},
        "masks": photos.masks.about(),
    }
    plan = json.loads(json.dumps(plan))
    file = race.out / PLAN
    if file.is_file():
        before = json.loads(file.read_text())
        former = {"kind": "subject", **before["plan"]}
        differs = [key for key in plan if former.get(key) != plan[key]]
        if before["device"] != race.device:
            raise UsageError(
                f"{race.out} holds a race on {before['device']}, and this one is on {race.device}: seconds and memory "
                f"would be of two machines in one column.",
                f"Go on with `device={before['device']}` or another `out`.",
                code="race.other_device",
                field="device",
            )
        if differs:
            raise UsageError(
                f"{race.out} holds another race: {', '.join(differs)} {'is' if len(differs) == 1 else 'are'} "
                "different.",
                "Give the same as then to go on with it, or another `out`.",
                code="race.other_settings",
                field="out",
            )
    about = {"booth": __version__, "versions": package_versions(), "device": race.device}
    write_whole(file, json.dumps({"plan": plan, **about}, indent=1) + "\n")


def _files(places: Sequence[Path]) -> list[Path]:
    return sorted(f for p in places for f in (p.rglob("*") if p.is_dir() else [p]) if f.is_file())


def _write_references(
    race: Race, subject: Subject, untouched: Untouched, photos: Photos, encoders: Sequence[Encoder]
) -> None:
    """The untouched base, image only and prompt only: the rows that every method is set beside."""
    if (race.out / REFERENCES).is_file():
        return
    shown = race.out / "photos"  # before the numbers, whose file says that all is there
    shown.mkdir(exist_ok=True)
    for i, image in enumerate(photos.training):
        image.save(shown / f"{i:03}.png")
    rows = measure_rows(reference_rows(subject, race.protocol, untouched, photos), encoders)
    scores = {row: {name: s.to_json() for name, s in m.scores.items()} for row, m in rows.items()}
    write_whole(race.out / REFERENCES, json.dumps(scores, indent=1) + "\n")
