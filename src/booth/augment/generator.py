"""Teaching classes to a base and drawing them; what exists already is neither taught nor drawn again."""

from __future__ import annotations

import hashlib
import json
from collections.abc import Callable, Iterable, Mapping, Sequence
from dataclasses import dataclass
from functools import cached_property
from pathlib import Path
from typing import Any

import numpy as np
from PIL import Image, ImageEnhance

from booth.augment.candidates import Candidate
from booth.augment.contexts import caption, context_of
from booth.augment.labelled_set import LabelledSet, Picture
from booth.augment.leaks import require_seen_only
from booth.augment.recipe import BASE, PLACEBO, Recipe, folder_name
from booth.augment.state import read_json, write_json
from booth.concept import Concept
from booth.config import RunConfig
from booth.core.alone import alone_at
from booth.core.commit import MANIFEST, committed, committed_file
from booth.core.concept import RECORD
from booth.core.errors import BadDataError, UsageError
from booth.core.family import Family
from booth.data.beside import PHOTO_SUFFIXES
from booth.data.captions import write_caption
from booth.events import Listener, current_reporter
from booth.generate.concepts import Applied, attached
from booth.generate.draw import draw
from booth.generate.png import parameters_text, save_png
from booth.generate.start import Start
from booth.session import Session
from booth.train.run import train
from booth.train.setup import choose_device

Tell = Callable[[str], None]
COPIES, DRAWN_BY = "photos", "drawn_by.json"
TURN, SHIFT, LIGHT = 8.0, 0.06, 0.12  # of a placebo: degrees, share of the sides, share of brightness and contrast


@dataclass
class Generator:
    """Holds a base for all trainings and drawings of a recipe, read when it is first needed."""

    base: str
    device: str | None = None
    listener: Listener | None = None

    @cached_property
    def session(self) -> Session:
        """The base; NotAvailableError where it is not on this machine."""
        return Session(self.base, choose_device(self.device))

    @property
    def base_hash(self) -> str:
        """The content hash of the base."""
        return self.session.hash

    def teach(
        self, recipe: Recipe, training: LabelledSet, labels: tuple[str, ...], folder: Path, label: str
    ) -> dict[str, Concept]:
        """The concept of a class and of those that are taught with it, from the training side alone.

        Empty where the recipe teaches none; another process that is at it already is waited for.

        Raises BadDataError if a concept that lies there was taught with other pictures.
        """
        if recipe.method in (BASE, PLACEBO):
            return {}
        recipe.require_tokens(labels)
        several = labels if recipe.together else (label,)
        name = "all" if recipe.together else folder_name(label, training.labels)
        with alone_at(folder / "concepts" / name):
            concept = self._taught(recipe, training, several, folder, name)
        require_seen_only(concept.record.photos, training, f"The concept {concept.folder}")
        return dict.fromkeys(several, concept)

    def _taught(
        self, recipe: Recipe, training: LabelledSet, labels: tuple[str, ...], folder: Path, name: str
    ) -> Concept:
        homes: dict[str, Path] = {}
        for label in labels:
            home = folder / "photos" / folder_name(label, training.labels)
            homes[label] = _lay_out(recipe, training.of(label), label, labels, home)
        out, first, *rest = folder / "concepts" / name, *labels
        known = _finished(out, self.base_hash, recipe, homes.values())
        if known is not None:
            return known
        others = [{"photos": [homes[o]], "token": recipe.token_of(o, labels), "noun": recipe.noun_of(o)} for o in rest]
        values: dict[str, Any] = {
            "photos": [homes[first]],
            "noun": recipe.noun_of(first),
            "token": recipe.token_of(first, labels),
            "also": others,
            "method": recipe.method,
            "base": self.base,
            "out": out,
            "seed": recipe.seed,
            "device": self.session.device,
            "settings": recipe.settings,
            "resume": True,
        }
        listeners = [self.listener] if self.listener else []
        how: dict[str, Any] = {"listeners": listeners, "cancel": current_reporter().cancel}
        return train(RunConfig(**values), **how, samples=False, session=self.session)

    def draw(self, recipe: Recipe, wanted: Sequence[Candidate], concept: Concept | None, folder: Path) -> list[Path]:
        """The candidates' files in `folder`, those that are missing drawn first, each whole or not at all."""
        missing = [c for c in wanted if not (folder / c.name).is_file()]
        if missing and recipe.method == PLACEBO:
            for each in missing:
                _save(distorted(each), folder / each.name, each, {"Method": PLACEBO})
        elif missing:
            with self.session.model() as model, attached(model, [Applied(concept)] if concept else []):
                own = {"guidance of its own": model.guidance} if recipe.guidance is None else {}
                require_drawn_alike(folder, {"sampler": model.sampler, **own})
                for several, starts in _of_one_kind(model, recipe, missing):
                    prompts, seeds = [c.prompt for c in several], [c.seed for c in several]
                    how: dict[str, Any] = {"steps": recipe.steps, "guidance": recipe.guidance, "starts": starts}
                    for each, image in zip(several, draw(model, prompts, seeds, **how), strict=True):
                        _save(image, folder / each.name, each, {"Method": recipe.method, "Strength": each.strength})
        return [folder / c.name for c in wanted]


def require_drawn_alike(folder: Path, how: Mapping[str, object]) -> None:
    """Keep beside the pictures of a folder how they are drawn; UsageError where those that lie there were otherwise."""
    before = read_json(folder / DRAWN_BY)
    known, drawn = before or {}, any(folder.glob("[!.]*.png"))
    differs = [name for name in how if name in known and known[name] != how[name]]
    if drawn and (before is None or differs):
        than = "by a version of booth that did not note how" if before is None else f"with another {differs[0]}"
        raise UsageError(
            f"The pictures in {folder} were drawn {than}, and new ones would not be of their kind.",
            "Name another folder with `out`, or delete this one.",
            code="out.other_drawings",
            field="out",
        )
    if known != {**known, **how}:
        write_json(folder / DRAWN_BY, {**known, **how})


def _finished(out: Path, base: str, recipe: Recipe, homes: Iterable[Path]) -> Concept | None:
    """The concept that lies there, if it was taught by this recipe from these photos."""
    if not (out / RECORD).is_file():
        return None
    concept = Concept.load(out)
    record = concept.record
    photos = sorted(_sha256(p) for home in homes for p in home.iterdir() if p.suffix in PHOTO_SUFFIXES)
    same = (record.method, record.base.hash, record.seed) == (recipe.method, base, recipe.seed)
    wanted = all(record.settings.get(key) == value for key, value in recipe.settings.items())
    if same and wanted and sorted(record.photos) == photos:
        return concept
    raise UsageError(
        f"{out} was taught by another recipe or from other pictures.",
        "Name another folder with `out`, or delete it.",
        code="out.other_run",
        field="out",
    )


def _sha256(file: Path) -> str:
    return hashlib.sha256(file.read_bytes()).hexdigest()


def _of_one_kind(
    model: Family, recipe: Recipe, wanted: Iterable[Candidate]
) -> Iterable[tuple[list[Candidate], list[Start] | None]]:
    """Candidates that can be drawn together, with what they are drawn over: of one size, and as much of it."""
    kinds: dict[Any, tuple[list[Candidate], list[Start]]] = {}
    for each in wanted:
        start = _start(recipe, each)
        kind = None
        if start is not None:
            kind = start.strength, start.fitted_size(model.resolution, model.multiple), start.mask is not None
        candidates, starts = kinds.setdefault(kind, ([], []))
        candidates.append(each)
        starts += [start] if start else []
    return [(candidates, starts or None) for candidates, starts in kinds.values()]


def _start(recipe: Recipe, each: Candidate) -> Start | None:
    if each.source is None:
        return None
    mask = each.source.mask() if recipe.inpaint else None
    around = None if mask is None else mask.point(lambda value: 255 - value)
    return Start(each.source.image(), each.strength, around)


def distorted(each: Candidate) -> Image.Image:
    """The source lightly turned, moved and lit: what looks like more data and holds no more than its source."""
    if each.source is None:
        raise BadDataError(
            f"The placebo {each.name} has no picture to start from.", code="augment.placebo_without_start"
        )
    rng = np.random.default_rng(each.seed)
    image = each.source.image()
    turn, *shift = rng.uniform(-1, 1, 3)
    moved = (round(float(shift[0]) * SHIFT * image.width), round(float(shift[1]) * SHIFT * image.height))
    fill = tuple(int(v) for v in np.asarray(image.resize((1, 1), Image.Resampling.BOX))[0, 0])
    image = image.rotate(TURN * float(turn), Image.Resampling.BICUBIC, translate=moved, fillcolor=fill)
    for enhance in (ImageEnhance.Brightness, ImageEnhance.Contrast):
        image = enhance(image).enhance(1 + LIGHT * float(rng.uniform(-1, 1)))
    return image


def _save(image: Image.Image, file: Path, each: Candidate, settings: Mapping[str, Any]) -> None:
    told = {"Seed": each.seed, **settings, "Source": each.source.name if each.source else None}
    with committed_file(file) as work:
        save_png(image, work, parameters_text(each.prompt, "", told))


def _lay_out(recipe: Recipe, pictures: Sequence[Picture], label: str, labels: tuple[str, ...], home: Path) -> Path:
    """The folder in `home` of copies of a class's pictures with captions; written anew where they are not those."""
    token, noun = recipe.token_of(label, labels), recipe.noun_of(label)
    captions = {p.sha256: caption(token, noun, context_of(p)) for p in pictures}
    key = hashlib.sha256(json.dumps(captions, sort_keys=True).encode()).hexdigest()
    if (read_json(home / MANIFEST) or {}).get("captions") == key:
        return home / COPIES
    with committed(home, {"label": label, "captions": key}) as work:
        (work / COPIES).mkdir()
        for picture in pictures:
            copy = work / COPIES / f"{picture.sha256[:24]}{picture.path.suffix.lower()}"
            if copy.exists():
                continue  # the same file under two names teaches no more
            copy.write_bytes(picture.path.read_bytes())
            write_caption(copy, captions[picture.sha256])
    return home / COPIES
