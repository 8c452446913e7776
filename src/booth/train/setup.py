"""What a run decides before its first step: device, precision, token, and what it must not differ in when resumed."""

from __future__ import annotations

import importlib.util
from collections import Counter
from collections.abc import Collection, Generator, Iterable, Mapping, Sequence
from contextlib import AbstractContextManager, contextmanager
from dataclasses import asdict, replace
from pathlib import Path
from typing import Any

import torch

from booth.choices import noising_of, optimizer_of
from booth.config import AUTO, RunConfig, method_config, missing
from booth.core.batch import BatchSource
from booth.core.concept import BaseRecord, SubjectRecord
from booth.core.errors import NotAvailableError, OutOfMemoryError, UsageError
from booth.core.family import Family
from booth.core.method import Method, MethodConfig, Stage, Subject
from booth.core.places import as_text, printable
from booth.core.precision import DTYPES, choose_precision
from booth.core.rng import derived_seed
from booth.core.tokens import RARE_TOKENS
from booth.data.batches import Preprocessing
from booth.data.buckets import bucket_of
from booth.data.captions import with_subject
from booth.data.framing import framed
from booth.data.given import BATCHES
from booth.data.own_batches import OwnBatches
from booth.data.photos import Photo, PhotoSet, load_photos
from booth.data.shards import ShardBatches, Shards
from booth.data.tokens import Length, advice_on_token, fitted, length_of
from booth.families.compiling import missing_compiler
from booth.families.memory import QUANTISED
from booth.families.quantised import require_gpu
from booth.families.recognition import advice_on_base
from booth.registry import METHODS
from booth.session import Session
from booth.train.ladder import is_out_of_memory
from booth.train.selection import CAP

# Fields of a run that say what is done with photos, or need some.
OF_PHOTOS = ("also", "crop", "flip", "shuffle_tags", "keep_tags", "unmasked_weight", "until")
LEAST_SHARE = 0.5  # of a photo: where less is used, that is told


def choose_device(name: str | None) -> str:
    """The device asked for or, if none is, cuda where there is one, else cpu; NotAvailableError if it is not here."""
    if name is None:
        return "cuda" if torch.cuda.is_available() else "cpu"
    try:
        torch.zeros(1, device=name)
    except (RuntimeError, AssertionError) as error:  # torch: an unknown name, a missing device
        raise NotAvailableError(
            f"The device {name!r} does not work here.",
            "Use `device=cpu`, or leave it out.",
            code="device.not_here",
            field="device",
        ) from error
    return name


def autocast_type(precision: str) -> torch.dtype | None:
    """What torch.autocast computes in; what is trained stays in float32."""
    return None if precision == "fp32" else DTYPES[precision]


def make_scaler(precision: str) -> torch.amp.GradScaler | None:
    """fp16 alone needs its gradients scaled, lest the small ones vanish."""
    return torch.amp.GradScaler("cuda") if precision == "fp16" else None


def compile_blocks(model: Family, device: str, steps: int) -> str:
    """Have the denoiser's repeated blocks compiled, where there is a compiler; what was decided and why."""
    missing_here = missing_compiler(device)
    if missing_here is not None:
        return f"Nothing is compiled: there is no compiler here. Install {missing_here}."
    blocks = model.compile_blocks(True)
    if not blocks:
        return f"Nothing is compiled: {model.title} repeats no blocks."
    return (
        f"The first step compiles {blocks} blocks, which may take minutes; {steps} steps have to win them back. "
        "What was compiled is kept for the next run."
    )


def load_subjects(config: RunConfig, given: Sequence[PhotoSet] | None = None) -> tuple[Subject, list[PhotoSet]]:
    """What is to be taught, with the photos of each of `subject.all`; UsageError if two share a token.

    Photos that are `given` take the place of those that the configuration names.
    """
    named_photos = (config.photos, *(a.photos for a in config.also))
    sets = [load_photos(photos) for photos in named_photos] if given is None else list(given)
    named = [_named(config, sets[0]), *((a.token, a.noun) for a in config.also)]
    subjects: list[Subject] = []
    for (token, noun), photos in zip(named, sets, strict=True):
        taken = {s.token for s in subjects}
        chosen = choose_token(token, photos, taken)
        if chosen in taken:
            raise UsageError(
                f"Two subjects have the token {chosen!r}, so no prompt could tell them apart.",
                "Change one.",
                code="token.twice",
                field="also",
            )
        subjects.append(Subject(chosen, noun, config.kind))
    return replace(subjects[0], others=tuple(subjects[1:])), sets


def require_rows(config: RunConfig, own: bool, shards: bool = False) -> None:
    """UsageError where a configuration of the caller's `own` batches comes without them, or with what photos need.

    `shards` are dealt as own batches are.
    """
    if config.photos == [BATCHES] and not own:
        raise UsageError(
            "This training learns from batches of the caller's own, which are in no file.",
            "Give them again: Trainer(config, batches=...).",
            code="batches.missing",
            field="photos",
        )
    fields = RunConfig.model_fields
    chosen = [n for n in OF_PHOTOS if getattr(config, n) != fields[n].get_default(call_default_factory=True)]
    if (own or shards) and chosen:
        source = "shards, as they are" if shards else "batches of the caller's own"
        raise UsageError(
            f"`{chosen[0]}` is about photos, and this training learns from {source}.",
            "Leave it out.",
            code="batches.of_photos",
            field=chosen[0],
        )


def shard_batches(shards: Shards, model: Family, method: Method) -> ShardBatches:
    """What deals the pictures of shards, by the method's settings."""
    config = method.config
    return ShardBatches(
        shards,
        model,
        method.subject,
        method.prompts(),
        batch_size=config.batch_size,
        accumulate=config.accumulate,
        caption_dropout=config.caption_dropout,
        control=method.control(),
    )


def own_batches(source: BatchSource, model: Family, plan: Sequence[Stage], seed: int) -> OwnBatches:
    """The caller's batches, which have to fit; UsageError for a plan that would add class rows to them."""
    for stage in plan:
        if stage.method.config.prior_weight > 0:
            raise UsageError(
                f"{stage.method.title} would keep the class by rows of its own, and the rows are dealt by the caller.",
                "Set prior_weight to 0, and deal class rows too.",
                code="batches.prior",
                field="settings.prior_weight",
            )
    return OwnBatches(source, model, seed, any(stage.method.follows_control for stage in plan))


def _named(config: RunConfig, photos: PhotoSet) -> tuple[str, str]:
    """Token and noun as given, or else as the folder of the photos is called; UsageError where no noun is found."""
    if not config.token:
        return "", ""  # a method that can do without a subject
    token = config.token if "token" in config.model_fields_set else photos.token or config.token
    noun = config.noun or photos.noun
    if not noun:
        raise missing("noun")
    return token, noun


def choose_token(token: str, photos: PhotoSet, taken: Collection[str] = ()) -> str:
    """The token given; for "auto" a rare one that depends on the photos, so that two subjects rarely share it."""
    if token != AUTO:
        return token
    free = [t for t in RARE_TOKENS if t not in taken]
    return free[derived_seed(*(p.sha256 for p in photos.photos)) % len(free)]


def held_base(config: RunConfig, session: Session) -> AbstractContextManager[Family]:
    """The session's base in the precision that the run asks for; UsageError for one that the device cannot take."""
    held = config.base_precision or "fp32"
    quantised = held if held in QUANTISED else None
    if quantised is not None:
        require_gpu(quantised, session.device)
        return session.model(torch.bfloat16, quantised)
    return session.model(DTYPES[choose_precision(held, session.device)])


def set_resolution(config: RunConfig, model: Family) -> None:
    """Have the base learn at the resolution that the run asks for; UsageError for one it cannot take."""
    side = config.resolution
    if side is not None:
        if side % model.multiple:
            raise UsageError(
                f"resolution={side} does not suit {model.title}.",
                f"Use a multiple of {model.multiple}.",
                code="resolution.unfit",
                field="resolution",
            )
        model.resolution = side
    if config.crop == "buckets" and model.resolution % model.bucket_step:
        raise UsageError(
            f"Buckets of {model.title} are multiples of {model.bucket_step}, which a resolution of {model.resolution} "
            "is not.",
            "Set another resolution, or another crop.",
            code="resolution.unfit",
            field="resolution",
        )


def in_buckets(photos: Sequence[Photo], model: Family) -> str:
    """How many photos go into each bucket, in words."""
    found = Counter(bucket_of(p.image.size, model.resolution, model.bucket_step) for p in photos)
    return f"Photos in buckets: {', '.join(f'{count} in {w}x{h}' for (w, h), count in sorted(found.items()))}."


def method_settings(config: RunConfig, scale: str) -> MethodConfig:
    """The method's settings on a base of this scale; until done, training may go on beyond its default steps."""
    own = method_config(config.method, scale, config.settings)
    if config.until == "done" and "steps" not in config.settings:
        return own.model_copy(update={"steps": CAP * own.steps})
    return own


def make_method(config: RunConfig, model: Family, subject: Subject) -> Method:
    """The method with its settings; UsageError or NotAvailableError for what would fail only after much work."""
    kind: type[Method] = METHODS[config.method]
    method = kind(method_settings(config, model.scale), subject)
    for stage in method.plan():
        model.sites.require(stage.method.title, model.title, stage.method.needs)
        noising_of(model, stage.method.config)
        optimizer_of(stage.method.config).require()
    if config.until == "done" and (method.control() or not subject.noun):
        raise UsageError(
            f"`until=done` scores how well a subject is drawn, and this run of {method.title} "
            f"{'follows hints' if method.control() else 'has none'}.",
            "Leave `until` out, and set steps.",
            code="until.unscored",
            field="until",
        )
    return method


def coverage_in_words(plan: Iterable[Stage], model: Family) -> list[str]:
    """Which kinds of layers each adapter of a plan adapts and leaves; UsageError for a named kind that is not there."""
    told: list[str] = []
    for stage in plan:
        adapted: list[str] = []
        left: list[str] = []
        for component, kinds in stage.method.coverage(model).items():
            some = [f"{kind} {n} of {count}" for kind, (n, count) in kinds.items() if n]
            none = [f"{kind} {count}" for kind, (n, count) in kinds.items() if not n]
            adapted += [f"in the {component} {', '.join(some)}"] if some else []
            left += [f"in the {component} {', '.join(none)}"] if none else []
        if adapted:
            rest = f"; it leaves {'; '.join(left)}" if left else ""
            told.append(f"{stage.method.title} adapts these layers: {'; '.join(adapted)}{rest}.")
    return told


def advice(config: RunConfig, model: Family, method: Method, taught: Iterable[tuple[Subject, PhotoSet]]) -> list[str]:
    """Warnings about the base, the token and the folders' names, before anything is trained."""
    distilled = advice_on_base(config.base, model.base)
    others = [
        f"The photos lie in a folder called for {photos.token} {photos.noun}, and are taught as {subject.name}."
        for subject, photos in taught
        if subject.name and photos.token and (photos.token, photos.noun) != (subject.token, subject.noun)
    ]
    told = [*([distilled] if distilled else []), *advice_on_token(model, method), *others]
    for subject, photos in taught:
        told += advice_on_photos(config, model, method, subject, photos)
    return told


def advice_on_photos(config: RunConfig, model: Family, method: Method, subject: Subject, photos: PhotoSet) -> list[str]:
    """Warnings about what of the photos and of what lies beside them is not learned from."""
    told: list[str] = []
    views = [(p, framed(p, config.crop, model.resolution, model.bucket_step)) for p in photos.photos]
    small = [(p, view.share) for p, view in views if view.share < LEAST_SHARE]
    if small:
        worst, share = min(small, key=lambda each: each[1])
        how = "Cut them" if config.crop == "buckets" else "Set crop=buckets, or cut them"
        told.append(
            f"Less than half of {len(small)} of {len(views)} photos is used, such as {share:.0%} of "
            f"{printable(worst.path.name)}. {how} to what matters."
        )
    if flat := [p for p, view in views if view.flat]:
        told.append(
            f"What is used of {len(flat)} of {len(views)} photos is one flat colour, such as of "
            f"{printable(flat[0].path.name)}. Cut them to the subject, or set another crop."
        )
    lengths = caption_lengths(config, model, method, subject, photos)
    if long := [(p, length) for p, length in zip(photos.photos, lengths, strict=True) if length and length.lost]:
        photo, length = max(long, key=lambda each: each[1].tokens)
        told.append(
            f"{len(long)} of {len(views)} captions are longer than the {length.limit} tokens that {model.title} reads, "
            f"such as that of {printable(photo.path.name)} with {length.tokens}, which loses {length.lost[:60]!r}. "
            "The subject is put in front where it would be cut."
        )
    hinted = sum(p.control_image is not None for p in photos.photos)
    masked = sum(p.mask is not None for p in photos.photos)
    if hinted and not method.control():
        told.append(f"{hinted} photos have hints, which {method.title} does not follow: they are not used.")
    if masked and config.unmasked_weight == 1:
        told.append(f"{masked} photos have masks, which are not used: unmasked_weight is 1.")
    return told


def caption_lengths(
    config: RunConfig, model: Family, method: Method, subject: Subject, photos: PhotoSet
) -> list[Length | None]:
    """How long each photo's caption is as it is learned with; None without one, and for a base without a limit."""
    return [
        length_of(model, fitted(model, with_subject(p.caption, subject), subject, front=config.shuffle_tags))
        if p.caption
        else None
        for p in photos.photos
    ]


def preprocessing(config: RunConfig) -> Preprocessing:
    """How photos and captions become rows."""
    return Preprocessing(config.crop, config.flip, config.shuffle_tags, config.keep_tags, config.unmasked_weight)


def data_settings(config: RunConfig, sets: list[PhotoSet]) -> dict[str, Any]:
    """Everything about the photos that decides the weights, but for their own hashes."""
    photos = [p for photos in sets for p in photos.photos]
    return {
        **asdict(preprocessing(config)),
        "resolution": config.resolution,
        **({"until": config.until} if config.until == "done" else {}),
        "captions": [p.caption for p in photos],
        "repeats": [p.repeats for p in photos],
        "masks": [p.mask_sha256 for p in photos],
        "hints": [p.control_image_sha256 for p in photos],
        "photos_each": [len(s.photos) for s in sets],
    }


def known(
    config: RunConfig,
    method: Method,
    base_hash: str,
    precision: str,
    sets: list[PhotoSet],
    start: Mapping[str, str] | None = None,
) -> dict[str, Any]:
    """The fields of a ConceptRecord that are decided before the first step; `start` is what weights it starts from."""
    photos, held = [p for each in sets for p in each.photos], config.base_precision or "fp32"
    return {
        "method": config.method,
        "settings": method.config.model_dump(mode="json"),
        "base": BaseRecord(name=lasting_name(config.base), hash=base_hash),
        "data": data_settings(config, sets) | ({"start_from": dict(start)} if start else {}),
        "subject": _record_of(method.subject),
        "seed": config.seed,
        "precision": precision + (f", base in {held}" if held != "fp32" else "") + ", compiled" * config.compile,
        "photos": [p.sha256 for p in photos],
        "photo_files": [as_text(p.path.absolute()) for p in photos],
    }


def _record_of(subject: Subject) -> SubjectRecord:
    others = [_record_of(other) for other in subject.others]
    return SubjectRecord(token=subject.token, noun=subject.noun, kind=subject.kind, others=others)


def lasting_name(base: str) -> str:
    """The name by which a base is found again from any folder."""
    return str(Path(base).expanduser().absolute()) if Path(base).expanduser().exists() else base


def identity(known: Mapping[str, Any]) -> dict[str, Any]:
    """All that decides the weights, from the fields of a ConceptRecord; a run goes on only where these are the same."""
    start = known["data"].get("start_from")
    return {
        "method": known["method"],
        "base": known["base"].hash,
        "token": known["subject"].token,
        "class": known["subject"].noun,
        "kind": known["subject"].kind,
        "also": [f"{other.token} {other.noun}" for other in known["subject"].others],
        "seed": known["seed"],
        "precision": known["precision"],
        "photos": known["photos"],
        **known["data"],
        **({"start_from": start["sha256"]} if start else {}),  # wherever it lies
        **known["settings"],
    }


def differing(former: dict[str, Any], now: dict[str, Any]) -> list[str]:
    """In what a run differs from a former one."""
    # A checkpoint from before there was a setting is of its default.
    defaults = {n: f.get_default(call_default_factory=True) for n, f in MethodConfig.model_fields.items() if n in now}
    former = defaults | former
    return sorted(n for n in former.keys() | now.keys() if former.get(n) != now.get(n))


def require_same(former: dict[str, Any], now: dict[str, Any], where: str) -> None:
    """Raise UsageError that names what differs from the run that is to be resumed."""
    names = differing(former, now)
    if not names:
        return
    told = [
        f"{n} is different" if n in {"photos", "base"} else f"{n} was {former.get(n)!r} and is now {now.get(n)!r}"
        for n in names
    ]
    raise UsageError(
        f"{where} belongs to another run: {'; '.join(told)}.",
        "Give the same photos and settings as then to go on, or another `out` to start a new run.",
        code="out.other_run",
        field="out",
    )


@contextmanager
def advice_on_memory(config: RunConfig, settings: dict[str, Any]) -> Generator[None]:
    """Turn running out of memory into an OutOfMemoryError that says what to try; `settings` is filled in meanwhile."""
    try:
        yield
    except Exception as error:
        if not is_out_of_memory(error):
            raise
        raise _out_of_memory(config, settings) from error


def _out_of_memory(config: RunConfig, settings: dict[str, Any]) -> OutOfMemoryError:
    """Advice in the order of what costs least, leaving out what is done already."""
    advice: list[str] = []
    batch, accumulate = settings.get("batch_size", 1), settings.get("accumulate", 1)
    if batch > 1:
        smaller = (batch + 1) // 2
        advice.append(f"`batch_size={smaller}` and `accumulate={accumulate * 2}`")
    if not settings.get("gradient_checkpointing"):
        advice.append("`gradient_checkpointing=true`")
    if settings.get("memory"):
        advice.append(f"`memory={settings['memory']}`")
    if settings.get("optimizer") == "adamw" and importlib.util.find_spec("bitsandbytes"):
        advice.append("`optimizer=adamw8bit`")
    if METHODS[config.method].trains_denoiser:
        advice.append("`method=lora`")
    advice.append("close what else uses the memory")
    return OutOfMemoryError(
        "Out of memory. The last checkpoint is kept.",
        f"In this order, try: {'; '.join(advice)}.",
        code="memory.out",
        field="settings.batch_size",
    )
