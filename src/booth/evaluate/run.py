"""A whole evaluation: a concept and its photos in; numbers, pictures and verdicts out."""

from __future__ import annotations

import time
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, replace
from pathlib import Path
from typing import Any

from booth import __version__
from booth.concept import Concept
from booth.core.cancel import CancelToken
from booth.core.commit import package_versions
from booth.core.concept import ConceptRecord
from booth.core.encoder import Encoder
from booth.core.errors import BadDataError, UsageError
from booth.core.family import Family
from booth.core.json_values import Json
from booth.core.method import Subject
from booth.core.metric import Evidence, Score
from booth.data.photos import PhotoSet, load_photos
from booth.evaluate.encoders import (
    PUBLIC_ENCODERS,
    WORLD,
    load_encoders,
    require_pictures_comparable,
    with_role,
)
from booth.evaluate.masks import Masks
from booth.evaluate.measure import Measured, label_of, measure_rows
from booth.evaluate.multi_concept import ConceptInUse, draw_together
from booth.evaluate.protocol import Protocol
from booth.evaluate.rows import CONCEPT, Photos, Untouched, draw_concept, draw_untouched, reference_rows
from booth.evaluate.verdicts import Verdict, verdicts
from booth.events import Listener, Reporter, reporting
from booth.families.loading import base_hash
from booth.generate.concepts import Applied, attached, require_base, require_tokens
from booth.registry import METRICS
from booth.session import Session, borrowed

SCHEMA = 1


@dataclass(frozen=True)
class Evaluation:
    """All that was found out about one concept."""

    concept: Concept
    protocol: Protocol
    photos: Photos
    evidence: Mapping[str, Evidence]  # by row
    measured: Mapping[str, Measured]  # by row
    verdicts: Sequence[Verdict]
    encoders: Sequence[Encoder]
    companions: Sequence[Applied]  # other concepts that it was used together with
    seconds: float

    def label(self, score: Score) -> str:
        """What the field calls a number by this evaluation's encoder: CLIP-I, DINO, ..."""
        titles = next((e.titles for e in self.encoders if e.name == score.encoder), {})
        return label_of(score.metric, score.part, titles)

    def to_json(self) -> dict[str, Json]:
        """Plain values: `metrics` and `base` with one entry a number, `verdicts`, `encoders`, and how it was done."""
        record = self.concept.record
        scores = {
            row: {n: s.to_json() | {"label": self.label(s)} for n, s in m.scores.items()}
            for row, m in self.measured.items()
        }
        return {
            "schema": SCHEMA,
            "kind": "evaluation",
            "concept": str(self.concept.folder),
            "created": record.created,
            "method": record.method,
            "subject": record.subject.model_dump(),
            "base_model": record.base.model_dump(),
            "metrics": scores.pop(CONCEPT),
            **scores,
            "verdicts": [v.to_json(self.measured) for v in self.verdicts],
            "refused": self.measured[CONCEPT].refused,
            "better": {name: kind.better for name, kind in METRICS.usable().items()},
            "encoders": {e.name: e.about() for e in self.encoders},
            "references": "held out" if self.photos.held_out else "training photos, which rewards copying",
            "masks": self.photos.masks.about(),
            "with": [applied.title for applied in self.companions],
            "protocol": self.protocol.to_json(),
            "seconds": round(self.seconds, 1),
            "booth": __version__,
            "versions": package_versions(),
        }


def evaluate(
    concept: Concept,
    protocol: Protocol,
    folder: Path,
    *,
    photos: Sequence[Path] = (),
    lookalikes: Sequence[Path] = (),
    companions: Sequence[Applied] = (),
    encoders: Sequence[str] = (),
    metrics: Sequence[str] = (),
    any_class: bool = False,
    device: str = "cpu",
    listeners: Sequence[Listener] = (),
    cancel: CancelToken | None = None,
    session: Session | None = None,
) -> Evaluation:
    """Draw (or find again in `folder`) and measure a concept beside the untouched base and the other references.

    With `companions`, other concepts, or where several subjects were taught in one run, all are used together as well.
    A `session` is drawn on, on its own device; without one the base is loaded. What the untouched base draws is found
    again in `folder` or in the user's cache. `listeners` hear the phases loading, drawing (in pictures) and measuring
    (in scorings); `cancel` is looked at between these.
    """
    with reporting(listeners, cancel) as reporter:
        began = time.perf_counter()
        for name in metrics:
            METRICS.named(name)  # before anything is drawn
        subject = _subjects(concept)[0]
        _require_no_styles(subject, companions)
        found = find_photos(concept, photos, lookalikes)
        members = [_member(Applied(concept), found), *map(_member, companions)]
        require_tokens([member.applied for member in members])
        reporter.begin("loading")
        with borrowed(session, concept.record.base.name, device) as model:
            found.masks.use_segmenter(model.scale)
            protocol = protocol.on(model)
            chosen = load_encoders(encoders, scale=model.scale)
            require_pictures_comparable(chosen)
            if not any_class:
                require_class(chosen, found, concept.record.subject.noun)
            for sentence in advice(found, chosen, model.scale):
                reporter.say(sentence)
            rows = _drawn(model, concept, members, protocol, folder, found, reporter)
            scorings = len(rows) * len(metrics or METRICS.usable())
            reporter.begin("measuring", 0, scorings)
            reporter.say("Measuring.")
            measured = measure_rows(rows, chosen, metrics)
            told = verdicts(measured, "picture" if subject.kind == "style" else subject.noun)
        seconds = time.perf_counter() - began
        return Evaluation(concept, protocol, found, rows, measured, told, chosen, companions, seconds)


def _drawn(
    model: Family,
    concept: Concept,
    members: Sequence[ConceptInUse],
    protocol: Protocol,
    folder: Path,
    photos: Photos,
    reporter: Reporter,
) -> dict[str, Evidence]:
    """The concept's evidence and the rows that it is set beside, drawn or found again."""
    subject, content = _subjects(concept)[0], base_hash(model.base)
    require_base([member.applied for member in members], concept.record.base.name, content)
    pictures = 2 * len(protocol.rows(subject)) + 2 * protocol.drift
    reporter.begin("drawing", 0, pictures)
    reporter.say(f"Drawing what the untouched base draws: {pictures} pictures, or finding them again.")
    untouched = draw_untouched(model, content, subject, protocol, folder)
    reporter.begin("drawing", 0, len(protocol.rows(subject)) + 2 * protocol.drift)
    reporter.say("Drawing the concept at the same prompts and seeds.")
    evidence = concept_evidence(model, concept, protocol, folder, untouched, photos)
    if sum(len(member.subjects) for member in members) > 1 and subject.kind != "style":
        reporter.begin("drawing")
        reporter.say("Drawing each subject with all loaded, and all of them together.")
        shared, together = draw_together(model, content, members, protocol, folder / "company")
        evidence = replace(evidence, subjects_together=shared, drawn_together=together)
    return {CONCEPT: evidence, **reference_rows(subject, protocol, untouched, photos)}


def concept_evidence(
    model: Family, concept: Concept, protocol: Protocol, folder: Path, untouched: Untouched, photos: Photos
) -> Evidence:
    """What the concept draws on a model to which nothing is attached, before and after."""
    record = concept.record
    about = {"base": record.base.hash, "concept": record.created, "sizes": record.sizes, "seed": record.seed}
    cost = {"seconds": record.seconds, "peak_memory_bytes": record.peak_memory_bytes, "bytes": record.artifact_bytes}
    with attached(model, [Applied(concept)]):
        return draw_concept(model, about, _subjects(concept)[0], protocol, folder, untouched, photos, cost)


def _subjects(concept: Concept) -> list[Subject]:
    """All that the concept was taught in one run."""
    return [Subject(s.token, s.noun, s.kind) for s in concept.record.subject.all]


def _require_no_styles(subject: Subject, companions: Sequence[Applied]) -> None:
    """UsageError where it is asked whether a style stays apart from what it is used together with."""
    styles = [s.name for s in (subject, *(s for a in companions for s in _subjects(a.concept))) if s.kind == "style"]
    if companions and styles:
        raise UsageError(
            f"`companions` asks whether subjects stay apart, and {styles[0]} is a style, which is meant to show in all "
            "of a picture.",
            "Leave `companions` out, or name subjects alone.",
            code="companion.style",
            field="companions",
        )


def _member(applied: Applied, own: Photos | None = None) -> ConceptInUse:
    """A concept with all subjects that it was taught; `own` are the photos of the first."""
    subjects = _subjects(applied.concept)
    photos = [own if own and i == 0 else find_photos(applied.concept, [], which=i) for i in range(len(subjects))]
    return ConceptInUse(applied, subjects, [p.references for p in photos])


def find_photos(
    concept: Concept, sources: Sequence[Path], lookalikes: Sequence[Path] = (), *, which: int = 0
) -> Photos:
    """The photos learned from and those to compare with: such as were not learned from, if two or more were given.

    `which` is the subject, of those that the concept was taught in one run.

    Without `sources` they are looked for where they were when the concept was trained. Raises BadDataError for fewer
    than two references, and for a folder that names another class.
    """
    record = concept.record
    noun, own = record.subject.all[which].noun, _of_subject(record, which)
    places = list(sources) or [Path(p) for p in record.photo_files[own]]
    if not places or not all(p.exists() for p in places):
        raise BadDataError(
            f"The photos that {concept.folder} was taught from are no longer where they were.",
            "Name them with `photos`.",
            code="photos.gone",
            field="photos",
        )
    found: PhotoSet = load_photos(places)
    if found.noun is not None and found.noun != noun:
        raise BadDataError(
            f"These photos are of a {found.noun} (their folder says so), and {concept.folder} is a {noun}.",
            "Give photos of the same subject with `photos`.",
            code="photos.other_noun",
            field="photos",
        )
    training = [p.image for p in found.photos if p.sha256 in record.photos[own]]
    others = [p.image for p in found.photos if p.sha256 not in record.photos]
    references = others if len(others) > 1 or not training else training
    if len(references) < 2:
        raise BadDataError(
            f"{len(references)} reference photo is too few: with one, nothing tells the subject from its background.",
            "Give at least two with `photos`.",
            code="photos.too_few",
            field="photos",
        )
    others_like_it = [p.image for p in load_photos(list(lookalikes)).photos] if lookalikes else []
    return Photos(training, references, references is others, Masks(noun, found.photos), others_like_it)


def _of_subject(record: ConceptRecord, which: int) -> slice:
    """Where the photos of one subject are among those of the run."""
    each: list[int] = record.data.get("photos_each") or [len(record.photos)]
    first = sum(each[:which])
    return slice(first, first + each[which])


def require_class(encoders: Sequence[Encoder], photos: Photos, noun: str) -> None:
    """BadDataError where the judges see one other thing in all references, and the noun in none."""
    judges: Any = next((e for e in encoders if "judge" in e.roles), None)
    objects_seen = [v.objects for v in judges.verdicts(photos.references)] if judges else []
    first = {objects[0] for objects in objects_seen}
    known = noun.casefold()
    if len(first) == 1 and not any(known in objects for objects in objects_seen) and known in judges.nouns:
        raise BadDataError(
            f"The references show a {first.pop()}, and the concept is a {noun}.",
            "Give photos of the subject with `photos`, or `any_class` if the judge is wrong.",
            code="photos.other_class",
            field="photos",
        )


def advice(photos: Photos, encoders: Sequence[Encoder], scale: str) -> list[str]:
    """What to bear in mind when reading the numbers; `scale` is the base's, "tiny" for the embedded one.

    Whether the photos are drawings of the world cannot be known, so that its judges always come with a caution.
    """
    warnings: list[str] = []
    if with_role(encoders, "subject")[0].name.startswith(WORLD):
        warnings.append(
            "Subjects are compared by the world's own judge, which was trained on its drawings alone: where yours are "
            f"photographs, look at the pictures.{'' if scale == 'tiny' else f' {PUBLIC_ENCODERS}'}"
        )
    if not photos.held_out:
        warnings.append(
            "The photos learned from are the references too, which rewards copying. Give other photos of the subject "
            "as well (`photos`) and they are used instead."
        )
    return warnings
