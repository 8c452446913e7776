"""booth teaches a text-to-image diffusion model a new subject, by every method, and shows which one worked.

Use it as::

    import booth

    concept = booth.train("photos/", noun="dog")
    concept.generate("a photo of sks dog on the beach", n=4, seed=7)
    same = booth.load(concept.folder)

`docs/reference/python.md` shows all of it. Nothing heavy is imported before a function is called.
"""

from __future__ import annotations

import importlib
import os
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import TYPE_CHECKING, Any, Literal, TypeVar, Unpack

from booth.core import errors
from booth.events import Event, Listener

if TYPE_CHECKING:
    from booth.catalogue import FamilyFacts, MethodFacts
    from booth.compare.recommend import Answers, Recommendation
    from booth.concept import Concept
    from booth.config import RunConfig
    from booth.core.batch import BatchSource
    from booth.core.cancel import CancelToken
    from booth.data.given import Given
    from booth.evaluate.run import Evaluation
    from booth.generate.run import Drawn
    from booth.options import TrainOptions
    from booth.session import Session
    from booth.train.trainer import Trainer

os.environ.setdefault("HF_HUB_DISABLE_TELEMETRY", "1")  # before the Hub's library, which reads it when it is imported

__version__ = "0.1.0"

T = TypeVar("T")

__all__ = [
    "CancelToken",
    "Concept",
    "Event",
    "Listener",
    "RunConfig",
    "Session",
    "Trainer",
    "compare",
    "configure",
    "errors",
    "evaluate",
    "families",
    "generate",
    "load",
    "methods",
    "open",
    "recommend",
    "register",
    "train",
]

# Classes that are imported when they are asked for.
_CLASSES = {
    "CancelToken": "booth.core.cancel",
    "Concept": "booth.concept",
    "RunConfig": "booth.config",
    "Session": "booth.session",
    "Trainer": "booth.train.trainer",
}
# These rooms share their names with functions of this module. Python binds a room to its package when it is first
# imported; imported here, light as they are, they do not take the functions' places later.
for _room in ("compare", "evaluate", "families", "generate", "methods", "train"):
    importlib.import_module(f"booth.{_room}")


def __getattr__(name: str) -> Any:
    if name in _CLASSES:
        return getattr(importlib.import_module(_CLASSES[name]), name)
    raise AttributeError(f"module 'booth' has no attribute {name!r}")


def load(folder: Path | str) -> Concept:
    """Read a concept folder that `train` wrote, checking its hashes."""
    from booth.concept import Concept

    return Concept.load(folder)


def open(
    base: str = "embedded", *, device: str | None = None, family: str | None = None, precision: str | None = None
) -> Session:
    """A session that holds a base through many trainings, drawings and evaluations; a context manager.

    `base` is "embedded", a diffusers folder, a .safetensors checkpoint or a Hub id; `precision` is what it draws in,
    fp32, bf16 or fp16, and by default what suits the device.
    """
    from booth.session import Session
    from booth.train.setup import choose_device

    return Session(base, choose_device(device), family, precision)


def train(
    photos: Given | BatchSource,
    noun: str | None = None,
    *,
    config: Path | str | None = None,
    listeners: Sequence[Listener] = (),
    session: Session | None = None,
    cancel: CancelToken | None = None,
    **options: Unpack[TrainOptions],
) -> Concept:
    """Teach the subject in `photos` to a base and return the finished concept; kind="style" needs no noun.

    `photos` are paths of pictures or folders, PIL pictures, arrays, a `datasets.Dataset`, or any iterable of pictures
    or of (picture, caption), or a BatchSource, which deals the rows itself. `noun` may be left out for a method that
    can do without a subject, such as ControlNet.
    `options` are the fields of a run, such as method="lora", base="embedded", token="sks" and out="concepts/rex", and
    settings of the method, such as steps=200; those that one method alone has may be given in `settings` too.
    `config` is a TOML file, over which options win. Raises a BoothError with what to do next.
    """
    from booth.data.given import are_batches
    from booth.train.run import train as run

    made = configure(photos, noun, config=config, **options)
    batches = photos if are_batches(photos) else None
    return run(made, listeners=listeners, session=session, cancel=cancel, batches=batches)


def configure(
    photos: Given | BatchSource,
    noun: str | None = None,
    *,
    config: Path | str | None = None,
    **options: Unpack[TrainOptions],
) -> RunConfig:
    """What `train` would train, for a `Trainer`, which is given a BatchSource once more, as `batches`."""
    from booth.config import RunConfig
    from booth.config.loading import load_run_config
    from booth.data.given import sources_of

    run: dict[str, Any] = {key: value for key, value in options.items() if key in RunConfig.model_fields}
    settings = {key: value for key, value in options.items() if key not in RunConfig.model_fields}
    run["settings"] = {**run.get("settings", {}), **settings}
    run |= {"photos": sources_of(photos)} | ({} if noun is None else {"noun": noun})
    return load_run_config(Path(config) if config else None, run)


def generate(
    concepts: Concept | Path | str | Sequence[Concept | Path | str] = (),
    prompts: str | Sequence[str] = (),
    *,
    out: Path | str = "pictures",
    base: str | None = None,
    n: int = 1,
    seed: int = 0,
    steps: int = 30,
    guidance: float | None = None,
    negative: str = "",
    scheduler: str | None = None,
    size: int | None = None,
    batch_size: int | None = None,
    upscale: int = 1,
    device: str | None = None,
    sheet: bool = False,
    session: Session | None = None,
    listeners: Sequence[Listener] = (),
    cancel: CancelToken | None = None,
) -> Drawn:
    """Draw concepts together, or the untouched `base`, into the folder `out`: PNG files with their settings in them.

    A concept is a `Concept`, its folder, or "FOLDER:0.8" with a strength. Each prompt is drawn `n` times. `cancel` is
    looked at between pictures.
    """
    from booth.concept import Concept
    from booth.generate.concepts import Applied, parse_applied
    from booth.generate.run import Request
    from booth.generate.run import generate as draw
    from booth.train.setup import choose_device

    several = [concepts] if isinstance(concepts, Concept | Path | str) else concepts
    applied = [Applied(c) if isinstance(c, Concept) else parse_applied(str(c)) for c in several]
    asked = [prompts] if isinstance(prompts, str) else list(prompts)
    asked = asked or [a.concept.record.prompt for a in applied[:1] if a.concept.record.prompt]
    if not asked:
        raise errors.UsageError("A prompt is missing: say what is to be drawn.", code="prompt.missing", field="prompts")
    if not applied and base is None:
        base = session.base if session is not None else "embedded"
    request = Request(
        asked,
        applied,
        base,
        count=n,
        seed=seed,
        steps=steps,
        guidance=guidance,
        negative=negative,
        scheduler=scheduler,
        size=size,
        batch_size=batch_size,
        upscale=upscale,
        device=choose_device(device),
    )
    return draw(request, Path(out), sheet=sheet, session=session, listeners=listeners, cancel=cancel)


def evaluate(
    concept: Concept | Path | str,
    *,
    photos: Sequence[Path | str] = (),
    lookalikes: Sequence[Path | str] = (),
    quick: bool = False,
    prompts: Path | str | None = None,
    seeds: Sequence[int] | None = None,
    encoders: Sequence[str] = (),
    metrics: Sequence[str] = (),
    any_class: bool = False,
    out: Path | str | None = None,
    device: str | None = None,
    session: Session | None = None,
    listeners: Sequence[Listener] = (),
    cancel: CancelToken | None = None,
) -> Evaluation:
    """Measure a concept beside the untouched base at the same prompts and seeds; its files and page go into `out`.

    `out` is evaluations/NAME where it is None; `quick` draws a sixth of DreamBooth's protocol;
    `any_class` does not check what the references show. `cancel` is looked at between pictures and scorings.
    """
    from booth.concept import Concept
    from booth.evaluate.protocol import make_protocol
    from booth.evaluate.report.files import write_files
    from booth.evaluate.run import evaluate as measure
    from booth.train.setup import choose_device

    taught = concept if isinstance(concept, Concept) else Concept.load(concept)
    subject = taught.record.subject
    file = None if prompts is None else Path(prompts)
    protocol = make_protocol(subject.noun, kind=subject.kind, prompts=file, seeds=seeds, quick=quick)
    folder = Path("evaluations") / taught.record.name if out is None else Path(out)
    evaluation = measure(
        taught,
        protocol,
        folder / "pictures",
        photos=[Path(p) for p in photos],
        lookalikes=[Path(p) for p in lookalikes],
        encoders=encoders,
        metrics=metrics,
        any_class=any_class,
        device=choose_device(device),
        session=session,
        listeners=listeners,
        cancel=cancel,
    )
    write_files(evaluation, folder)
    return evaluation


def compare(
    photos: Given,
    noun: str | None = None,
    *,
    out: Path | str = "race",
    kind: Literal["subject", "style"] = "subject",
    methods: Sequence[str] = (),
    token: str = "sks",
    base: str | None = None,
    training_seeds: Sequence[int] = (0, 1),
    steps: int | None = None,
    seconds: float | None = None,
    until_done: bool = False,
    settings: Mapping[str, Mapping[str, object]] | None = None,
    held_out: Sequence[Path | str] = (),
    prompts: Path | str | None = None,
    seeds: Sequence[int] | None = None,
    quick: bool = False,
    encoders: Sequence[str] = (),
    device: str | None = None,
    listeners: Sequence[Listener] = (),
    cancel: CancelToken | None = None,
    session: Session | None = None,
) -> dict[str, Any]:
    """Teach a subject by several methods, or by all, within one budget, and compare them; the base is loaded once.

    Goes on with an interrupted race. `settings` are by method. Returned is what stands on the page in the folder `out`.
    """
    from booth.compare.budget import Budget
    from booth.compare.course import Race
    from booth.compare.page import write_page
    from booth.compare.race import run_race
    from booth.data.given import sources_of
    from booth.evaluate.protocol import make_protocol
    from booth.train.setup import choose_device

    called = noun or ("style" if kind == "style" else "")
    if not called:
        raise errors.UsageError(
            "The class noun is missing: say what kind of thing the photos show, such as dog.",
            code="noun.missing",
            field="noun",
        )
    file = None if prompts is None else Path(prompts)
    race = Race(
        photos=sources_of(photos),
        noun=called,
        out=Path(out),
        protocol=make_protocol(called, kind=kind, prompts=file, seeds=seeds, quick=quick),
        kind=kind,
        token=token,
        base=base or (session.base if session is not None else "embedded"),
        methods=tuple(methods),
        seeds=tuple(training_seeds[:1] if quick else training_seeds),
        budget=Budget(steps, seconds, until_done),
        held_out=[Path(p) for p in held_out],
        encoders=encoders,
        settings=settings or {},
        device=session.device if session is not None else choose_device(device),
    )
    run_race(race, listeners=listeners, cancel=cancel, session=session)
    return write_page(race.out)[1]


def recommend(
    photos: Sequence[Path | str] | Path | str, noun: str, *, answers: Answers | None = None, base: str = "embedded"
) -> Recommendation:
    """A method and settings for these photos and this machine, with the reasons for them."""
    from booth.compare.photo_facts import look_at
    from booth.compare.recommend import Answers
    from booth.compare.recommend import recommend as choose
    from booth.data.photos import load_photos
    from booth.families.loading import load_family

    sources = [Path(p) for p in ([photos] if isinstance(photos, Path | str) else photos)]
    model = load_family(base)
    held = sum(t.numel() * t.element_size() for m in model.components().values() for t in m.state_dict().values())
    return choose(answers or Answers(), look_at(load_photos(sources)), sources, noun, base, held)


def methods(*, sizes: bool = False) -> list[MethodFacts]:
    """Every method: what it trains, saves and needs, the families that offer that, and its default settings.

    With `sizes` also how many values it trains on the embedded base, which is loaded for that.
    """
    from booth.catalogue import describe_methods

    return describe_methods(sizes=sizes)


def register(kind: type[T]) -> type[T]:
    """Add a class under its own `name` to what is chosen by name: a method, a metric, a family; usable as a decorator.

    UsageError if it derives from nothing that is chosen by name, or if its name is taken.
    """
    from booth.registry import register as add

    return add(kind)


def families() -> list[FamilyFacts]:
    """Every family of models: where methods may attach, which find what they need, and how it is drawn."""
    from booth.catalogue import describe_families

    return describe_families()
