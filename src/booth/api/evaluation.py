"""Measure what was taught, compare ways to teach it, and advise on one."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import TYPE_CHECKING, Any, Literal

from booth.core import errors
from booth.events import Listener

if TYPE_CHECKING:
    from booth.compare.recommend import Answers, Recommendation
    from booth.concept import Concept
    from booth.core.cancel import CancelToken
    from booth.data.given import Given
    from booth.evaluate.run import Evaluation
    from booth.session import Session


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
    `any_class` does not check what the references show. `cancel` is looked at between denoising steps and scorings.
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
