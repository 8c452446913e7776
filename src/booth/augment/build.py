"""`booth augment`: from a labelled set to the set that is handed on, resumable at any kill."""

from __future__ import annotations

import json
import os
import time
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from booth.augment.classifiers import default_classifiers
from booth.augment.copies import comparing_encoder
from booth.augment.crossfit import CrossFit, cross_fit
from booth.augment.derived_set import training_side, write_set
from booth.augment.fit import Schedule
from booth.augment.generator import Generator, Tell
from booth.augment.labelled_set import LabelledSet, Picture
from booth.augment.making import Made, Maker
from booth.augment.readers import read_set
from booth.augment.recipe import BASE, PLACEBO, Recipe, anywhere, require_labels
from booth.augment.state import read_json, write_json
from booth.core.commit import size_of
from booth.core.errors import UsageError
from booth.core.json_values import Json
from booth.events import Listener, current_reporter, reporting
from booth.executor.job import Executor, Job, Resident, raise_failed
from booth.executor.spread import spread
from booth.registry import METHODS

RECORD, WORK = "augment.json", "work"
JUDGING = Schedule(
    steps=200, batch=16, side=64
)  # of the cross-fitted classifier, from scratch: it only has to tell classes apart


@dataclass(frozen=True)
class Built:
    """What was made."""

    out: Path
    wanted: dict[str, int]
    real: dict[str, list[Picture]]
    kept: dict[str, list[Made]]
    drawn: dict[str, list[Made]]
    record: dict[str, Any]


def build(
    recipe: Recipe,
    out: Path,
    *,
    command: str = "",
    listener: Listener | None = None,
    tell: Tell = lambda _: None,
    on_picture: Callable[[str, int], None] = lambda _label, _done: None,
    executor: Executor | None = None,
) -> Built:
    """Teach, draw, filter and check for copies, and write the derived set; the same command again goes on.

    With an `executor` the classes are taught and drawn by its workers, each of which holds a base.
    """
    began = time.perf_counter()
    found = prepared(recipe, out, tell)
    require_same_recipe(recipe, out)
    training = training_side(found)
    encoder = comparing_encoder(recipe.encoder)
    tell(f"Copies are looked for with {encoder.name} ({encoder.title}).")
    judges = _judges(recipe, training, out, tell)
    labels = tuple(recipe.classes) or tuple(judges.weakest if judges else training.labels)
    if judges and not recipe.classes:
        told = ", ".join(f"{label} {judges.recall[label]:.2f}" for label in labels)
        tell(f"The weakest classes by an inner validation (recall): {told}.")
    generator = Generator(recipe.base, recipe.device, listener)
    if read_json(out / RECORD) is None:  # that of a finished build tells of its set until the next one is whole
        write_json(
            out / RECORD, {"recipe": recipe.model_dump(mode="json"), "command": command, "classes": list(labels)}
        )
    maker = Maker(recipe, training, labels, out / WORK, generator, encoder, lambda: judges, on_picture)
    if executor is not None:
        _spread(recipe, out, labels, executor, tell)
    kept = {label: maker.kept(label, recipe.per_class) for label in labels}
    drawn = {label: maker.made(label, _drawn(maker, label)) for label in labels}
    for label in labels:
        tell(account(label, drawn[label], kept[label], recipe))
    origins = write_set(found, maker, kept, out)
    record = {
        "recipe": recipe.model_dump(mode="json"),
        "command": command,
        "classes": list(labels),
        "recall": judges.recall if judges else None,
        "base": generator.base_hash if recipe.method != PLACEBO else "",
        "encoder": {"name": encoder.name, **encoder.about()},
        "training": sorted(p.sha256 for p in training.pictures),
        "pictures": len(origins),
        "shares": {label: shares(drawn[label], recipe.filter) for label in labels},
        "floors": {label: _floors(maker, label) for label in labels},
        "seconds": round(time.perf_counter() - began + _before(out), 1),
        "bytes": size_of(out / WORK),
    }
    write_json(out / RECORD, record)
    return Built(out, dict.fromkeys(labels, recipe.per_class), {x: training.of(x) for x in labels}, kept, drawn, record)


def make(arguments: Mapping[str, Any], resident: Resident) -> dict[str, Json]:
    """Teach and draw one class, a job of an executor; `build` finds it done."""
    recipe, out = Recipe.model_validate(arguments["recipe"]), Path(arguments["out"])

    def maker() -> Maker:
        training = training_side(read_set(recipe.data, recipe.columns, recipe.images))
        judges = _judges(recipe, training, out, lambda _: None)
        encoder, generator = comparing_encoder(recipe.encoder), Generator(recipe.base, recipe.device)
        return Maker(recipe, training, tuple(arguments["labels"]), out / WORK, generator, encoder, lambda: judges)

    key = json.dumps({name: value for name, value in arguments.items() if name != "label"}, sort_keys=True)
    with reporting([resident.on_event], resident.cancel):
        held = resident.hold("maker", key, maker)
        return {"pictures": len(held.kept(arguments["label"], recipe.per_class))}


def _spread(recipe: Recipe, out: Path, labels: Sequence[str], executor: Executor, tell: Tell) -> None:
    told: dict[str, Any] = {"recipe": anywhere(recipe), "out": str(out.absolute()), "labels": list(labels)}
    jobs = [Job(label, "booth.augment.build:make", {**told, "label": label}) for label in labels]
    for outcome in spread(executor, jobs, current_reporter().cancel):
        raise_failed(outcome)
        tell(f"{outcome.job.key}: {outcome.result['pictures']} pictures.")


def prepared(recipe: Recipe, out: Path, tell: Tell) -> LabelledSet:
    """The set, read and checked, before anything is written."""
    if recipe.method not in (BASE, PLACEBO):
        kind = METHODS[recipe.method]
        if kind.follows_control:
            raise UsageError(
                f"{recipe.method} follows a control picture and teaches no class.",
                "Use another method.",
                code="method.follows_control",
                field="method",
            )
    found = read_set(recipe.data, recipe.columns, recipe.images)
    require_outside(recipe, found, out)
    for sentence in (found.layout, *found.notes):
        tell(sentence)
    require_labels(recipe, found)
    recipe.require_tokens(tuple(recipe.classes) or found.labels)
    for label in recipe.classes or found.labels:
        if len(training_side(found).of(label)) == 1:
            tell(
                f"warning: the class {label!r} has a single picture: whatever is drawn of it will look like that "
                "one, and "
                "nothing can be held out to prove that it helps."
            )
    tell_of_domain(recipe, found, tell)
    return found


def require_outside(recipe: Recipe, found: LabelledSet, out: Path) -> None:
    """UsageError where the new set would come into the folder of the pictures: what was given is never written into."""
    shared = Path(os.path.commonpath([p.path.parent.resolve() for p in found.pictures]))
    home = recipe.data.resolve() if recipe.data.is_dir() else shared
    if out.resolve().is_relative_to(home):
        raise UsageError(
            f"{out} lies in the folder of the pictures, where nothing is written.",
            "Name another with `out`.",
            code="out.inside_data",
            field="out",
        )


def tell_of_domain(recipe: Recipe, found: LabelledSet, tell: Tell) -> None:
    """A word where the base cannot know what the classes are."""
    if recipe.base != "embedded" or recipe.method == PLACEBO:
        return
    from booth.world.vocabulary import NOUNS

    strange = sorted({recipe.noun_of(label) for label in recipe.classes or found.labels} - NOUNS.keys())
    if strange:
        named = ", ".join(strange[:5]) + (" ..." if len(strange) > 5 else "")
        tell(
            f"warning: the embedded base knows nothing of {named}; its world is small. It learns what it is shown and "
            "no more: judge by `booth augment prove`, or name a larger `base`."
        )


def require_same_recipe(recipe: Recipe, out: Path) -> None:
    """UsageError where the folder holds what another recipe made; more pictures of the same may be asked for."""
    before = read_json(out / RECORD)
    if before is None:
        if out.exists() and (not out.is_dir() or any(p.name != WORK for p in out.iterdir())):
            raise UsageError(
                f"{out} holds other files.", "Name another folder with `out`.", code="out.taken", field="out"
            )
        return
    mine, theirs = recipe.model_dump(mode="json"), before["recipe"]
    differs = [
        key for key in mine if mine[key] != theirs.get(key) and key not in ("per_class", "device", "licence", "filter")
    ]
    if differs:
        key = differs[0]
        raise UsageError(
            f"{out} was made with {key} = {theirs.get(key)!r}, and this asks for {mine[key]!r}.",
            "Name another folder with `out`.",
            code="out.other_settings",
            field="out",
        )


def _judges(recipe: Recipe, training: LabelledSet, out: Path, tell: Tell) -> CrossFit | None:
    if recipe.classes and recipe.filter != "classifier":
        return None
    tell("Fitting a classifier to parts of the pictures, to see which classes are weak and to judge what is drawn.")
    return cross_fit(training, default_classifiers()[0], JUDGING, recipe.seed, out / WORK / "crossfit")


def _drawn(maker: Maker, label: str) -> int:
    """How many pictures of a class there are by now."""
    home = maker.home(label)
    return sum(1 for p in home.glob("*.png") if not p.name.startswith("."))


def _before(out: Path) -> float:
    """Seconds that a former, finished call has taken."""
    return float((read_json(out / RECORD) or {}).get("seconds", 0.0))


def _floors(maker: Maker, label: str) -> dict[str, float]:
    originals = maker.originals(label)
    return {
        "floor": round(originals.floor, 4),
        "least": round(originals.least, 4),
        "highest": round(originals.highest, 4),
    }


def shares(drawn: list[Made], filter_: str) -> dict[str, float]:
    """What share of the drawn pictures is what."""
    count = max(1, len(drawn))
    told = {
        "drawn": len(drawn),
        "copies": sum(m.is_copy for m in drawn) / count,
        "above_floor": sum(m.above_floor for m in drawn) / count,
        "outliers": sum(m.is_outlier for m in drawn) / count,
        "left_out": sum(not m.passes(filter_) for m in drawn) / count,
    }
    asked = [m for m in drawn if m.agreement is not None]
    if asked:
        told["disagreed"] = sum(not m.agreement for m in asked) / len(asked)
    return {key: round(value, 4) for key, value in told.items()}


def account(label: str, drawn: list[Made], kept: list[Made], recipe: Recipe) -> str:
    """What became of a class, in words."""
    share = shares(drawn, recipe.filter)
    text = (
        f"{label}: {len(kept)} of {recipe.per_class} kept of {len(drawn)} drawn; {share['copies']:.0%} copies, "
        f"{share['above_floor']:.0%} nearer to a photo than 95 % of held-out real ones are, "
        f"{share['outliers']:.0%} far "
        "from all"
    )
    if "disagreed" in share:
        text += f", {share['disagreed']:.0%} called another class"
    if len(kept) < recipe.per_class:
        text += f". The filter {recipe.filter} let no more through"
    return text + "."
