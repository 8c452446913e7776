"""What a run decides before its first step: device, precision, subjects, the base it holds and the method."""

from __future__ import annotations

from collections.abc import Collection, Sequence
from contextlib import AbstractContextManager
from dataclasses import replace

import torch

from booth.choices import noising_of, optimizer_of
from booth.config import AUTO, RunConfig, missing
from booth.config.settings import method_config
from booth.core.batch import BatchSource
from booth.core.errors import NotAvailableError, UsageError
from booth.core.family import Family
from booth.core.method import Method, MethodConfig, Stage, Subject
from booth.core.precision import DTYPES, choose_precision
from booth.core.rng import derived_seed
from booth.core.tokens import RARE_TOKENS
from booth.data.batches import Preprocessing
from booth.data.given import BATCHES
from booth.data.own_batches import OwnBatches
from booth.data.photos import PhotoSet, load_photos
from booth.data.shards import ShardBatches, Shards
from booth.families.compiling import missing_compiler
from booth.families.memory import QUANTISED
from booth.families.quantised import require_gpu
from booth.registry import METHODS
from booth.session import Session
from booth.train.selection import CAP

# Fields of a run that say what is done with photos, or need some.
OF_PHOTOS = ("also", "crop", "flip", "shuffle_tags", "keep_tags", "unmasked_weight", "until")


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


def method_settings(config: RunConfig, scale: str, *, class_rows: bool = True) -> MethodConfig:
    """The method's settings on a base of this scale; until done, training may go on beyond its default steps.

    Without `class_rows`, where there is no class, the rows are the caller's or the family has no twin to be asked, no
    default asks for any.
    """
    own = method_config(config.method, scale, config.settings)
    if not class_rows and own.prior == "prediction" and not {"prior", "prior_weight"} & config.settings.keys():
        own = own.model_copy(update={"prior_weight": 0.0})
    if config.until == "done" and "steps" not in config.settings:
        return own.model_copy(update={"steps": CAP * own.steps})
    return own


def make_method(config: RunConfig, model: Family, subject: Subject, *, own_rows: bool = False) -> Method:
    """The method with its settings; UsageError or NotAvailableError for what would fail only after much work."""
    kind: type[Method] = METHODS[config.method]
    class_rows = bool(subject.noun) and not own_rows and type(model).twin is not Family.twin
    method = kind(method_settings(config, model.scale, class_rows=class_rows), subject)
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


def preprocessing(config: RunConfig) -> Preprocessing:
    """How photos and captions become rows."""
    return Preprocessing(config.crop, config.flip, config.shuffle_tags, config.keep_tags, config.unmasked_weight)
