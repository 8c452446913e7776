"""A concept's training for another base: the same photos, with the settings translated."""

from __future__ import annotations

import hashlib
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any, cast

from booth.config import Companion, RunConfig
from booth.config.settings import method_config
from booth.core.concept import ConceptRecord
from booth.core.errors import BadDataError, NotAvailableError, UsageError
from booth.families.layout import TINY_PARAMETERS
from booth.families.loading import EMBEDDED, resolve_base
from booth.families.memory import values_of_parts
from booth.families.recognition import recognise
from booth.registry import FAMILIES, METHODS

KEPT_DATA = ("crop", "flip", "shuffle_tags", "keep_tags", "unmasked_weight")  # of how photos became rows
OF_LAYERS = ("blocks", "ranks")  # settings that name layers as one family calls them


@dataclass(frozen=True)
class Translation:
    """The run that teaches a concept's subject to another base, and what was changed for it, in sentences."""

    run: RunConfig
    told: list[str]


def translate(record: ConceptRecord, base: str, photos: Sequence[Path] = (), out: Path | None = None) -> Translation:
    """The run for `base` that a concept's record stands for; `photos` are taken instead of those that it names.

    A setting that was its base's default becomes the other's; one that was chosen stays, where the other base has what
    it is about. Raises UsageError where the method does not work on the base, BadDataError where photos are gone or
    are no longer those that were learned from.
    """
    folder = resolve_base(base)
    name = recognise(folder)
    family: Any = FAMILIES[name]
    _require_sites(record, family)
    if photos and record.subject.others:
        raise UsageError(
            "`photos` stands for one subject, and this concept holds several.",
            "Put its photos back instead.",
            code="photos.several_subjects",
            field="photos",
        )
    told = [f"The base is {base} ({family.title}), where it was {record.base.name}."]
    settings, more = _settings(record, family, _scale_of(folder, family))
    told += more
    if record.data.get("resolution") is not None:
        told.append(f"resolution was {record.data['resolution']}; now it is the base's own.")
    groups = [[*photos]] if photos else _photos(record)
    subject, others = record.subject, record.subject.others
    run = RunConfig(
        photos=groups[0],
        noun=subject.noun,
        kind=subject.kind,
        token=subject.token or "sks",
        method=record.method,
        also=[Companion(photos=g, token=o.token, noun=o.noun) for g, o in zip(groups[1:], others, strict=True)],
        base=base,
        out=out or Path("concepts") / f"{record.name}-{name}",
        seed=record.seed,
        settings=settings,
        **{key: record.data[key] for key in KEPT_DATA if key in record.data},
    )
    if not subject.token:
        run = run.model_copy(update={"token": ""})
    return Translation(run, told)


def _require_sites(record: ConceptRecord, family: Any) -> None:
    missing = [site for site in METHODS[record.method].needs if site not in family.offers]
    if missing:
        able = [n for n in METHODS if set(METHODS[n].needs) <= set(family.offers)]
        raise UsageError(
            f"{METHODS[record.method].title} needs the site {missing[0]!r}, which {family.title} does not have.",
            f"Teach it anew with another `method`, one of {', '.join(able)}.",
            code="method.site_missing",
            field="base",
        )


def _settings(record: ConceptRecord, family: Any, scale: str) -> tuple[dict[str, Any], list[str]]:
    """The chosen settings that stay, and what became of all that do not stay as they were."""
    former = method_config(record.method, _former_scale(record), {}).model_dump(mode="json")
    default = method_config(record.method, scale, {}).model_dump(mode="json")
    kept: dict[str, Any] = {}
    told: list[str] = []
    for key, value in record.settings.items():
        if key not in default:
            told.append(f"{key} is no setting of {record.method} any more; it was {_shown(value)}.")
        elif value == former[key]:
            if default[key] != value:
                told.append(
                    f"{key} was {_shown(value)}, the default there; now it is {_shown(default[key])}, the default here."
                )
        elif reason := _unfit(key, value, family):
            told.append(f"{key}={_shown(value)} is left out: {reason}.")
        else:
            kept[key] = value
            told.append(f"{key}={_shown(value)} was chosen and stays.")
    return kept, told


def _unfit(key: str, value: Any, family: Any) -> str | None:
    """Why a chosen setting says nothing to this family; None if it does."""
    if key == "train_text_encoder" and value and not any(e.linears for e in family.encoders.values()):
        return f"no text encoder of {family.title} carries adapters"
    if key == "targets" and (lacking := [g for g in value if g not in family.linears]):
        return f"{family.title} has no layers called {lacking[0]}"
    if key in OF_LAYERS and value:
        return "it names layers of the other base"
    if key == "min_snr_gamma" and value is not None and hasattr(family, "shift"):
        return f"min-SNR does not weigh flow matching, which {family.title} uses"
    return None


def _photos(record: ConceptRecord) -> list[list[Path]]:
    """The files that were learned from, of each subject, as they were; BadDataError for the first that is not."""
    files = [Path(file) for file in record.photo_files]
    if not files:
        raise BadDataError(
            "This concept does not say where its photos were.",
            "Name them with `photos`.",
            code="photos.unknown",
            field="photos",
        )
    for file, sha256 in zip(files, record.photos, strict=True):
        if not file.is_file():
            raise BadDataError(
                f"{file}, which was learned from, is gone.",
                "Put it back, or name photos with `photos`.",
                code="photos.gone",
                field="photos",
            )
        if hashlib.sha256(file.read_bytes()).hexdigest() != sha256:
            raise BadDataError(
                f"{file} is not the photo any more that was learned from.",
                "Put that back, or name photos with `photos`.",
                code="photos.changed",
                field="photos",
            )
    groups: list[list[Path]] = []
    for count in record.data.get("photos_each", [len(files)]):
        groups.append(files[:count])
        files = files[count:]
    return groups


def _former_scale(record: ConceptRecord) -> str:
    """The scale of the base that was taught, by its files where they are still here."""
    try:
        folder = resolve_base(record.base.name, download=False)
        return _scale_of(folder, FAMILIES[recognise(folder)])
    except (NotAvailableError, BadDataError):
        return "tiny" if record.base.name == EMBEDDED else "full"


def _scale_of(folder: Path, family: Any) -> str:
    return "tiny" if values_of_parts(folder)[family.denoiser[0]] < TINY_PARAMETERS else "full"


def _shown(value: Any) -> str:
    return ",".join(map(str, cast("list[Any]", value))) if isinstance(value, list) else str(value)
