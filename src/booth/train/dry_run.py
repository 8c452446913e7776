"""What a run would do, found out without writing anything."""

from __future__ import annotations

from typing import Any

from booth.config import RunConfig
from booth.core.family import Family
from booth.core.method import Subject
from booth.data.buckets import bucket_of
from booth.data.framing import framed
from booth.data.photos import PhotoSet
from booth.registry import METHODS
from booth.train import setup
from booth.train.estimate import Estimate, estimate
from booth.train.folders import refuse_to_overwrite
from booth.train.listener import Silent
from booth.train.run import Run
from booth.train.signals import Signals
from booth.train.timing import Clock


def describe(config: RunConfig) -> dict[str, Any]:
    """The plan, the settings and the report on the photos; raises what the run itself would raise at its start."""
    subject, photos = setup.load_subjects(config)
    config = config.model_copy(update={"token": subject.token, "noun": subject.noun})
    refuse_to_overwrite(config.folder.absolute(), config.resume)
    run = Run(config, subject, photos, Clock(), Silent(), Signals())
    return {
        "dry_run": True,
        "concept": str(config.folder.absolute()),
        "method": config.method,
        "base": {"name": config.base, "folder": str(run.model.base), "hash": run.base_hash, "scale": run.model.scale},
        "subject": {"token": subject.token, "noun": subject.noun, "kind": subject.kind},
        "device": run.device,
        "precision": run.precision,
        "seed": config.seed,
        "stages": _stages(run),
        "photos": _photos(subject, photos[0], run),
        "also": [
            {"subject": {"token": other.token, "noun": other.noun}, "photos": _photos(other, own, run)}
            for other, own in zip(subject.others, photos[1:], strict=True)
        ],
        "memory": run.memory.to_json(),
        "quote": rehearsed(run.config, run.model).to_json(),
        "warnings": run.advice(),
    }


def rehearsed(config: RunConfig, model: Family) -> Estimate:
    """What the run would cost, from a few real steps of a plan that is used for nothing else."""
    settings = setup.method_settings(config, model.scale)
    plan = METHODS[config.method](settings, Subject(config.token, config.noun, config.kind)).plan()
    return estimate(config, model, plan, setup.choose_device(config.device))


def _stages(run: Run) -> list[dict[str, Any]]:
    """Each stage with its settings, and how many values it trains, counted by attaching it."""
    told: list[dict[str, Any]] = []
    try:
        for stage in run.plan:
            groups = stage.method.attach(run.model, run.config.seed)
            told.append(
                {
                    "name": stage.name,
                    "method": stage.method.name,
                    "values": sum(p.numel() for group in groups for p in group.parameters.values()),
                    "settings": stage.method.config.model_dump(mode="json"),
                    "prompts": stage.method.prompts(),
                }
            )
    finally:
        for stage in reversed(run.plan):
            stage.method.detach(run.model)
    return told


def _photos(subject: Subject, photos: PhotoSet, run: Run) -> dict[str, Any]:
    """The account of a subject's photos: what of them is used, and what is left out."""
    side, step = run.model.resolution, run.model.bucket_step
    shapes = [bucket_of(p.image.size, side, step) if run.config.crop == "buckets" else None for p in photos.photos]
    views = [framed(p, run.config.crop, side, step) for p in photos.photos]
    lengths = setup.caption_lengths(run.config, run.model, run.method, subject, photos)
    return {
        "layout": photos.layout,
        "used": [
            {
                "file": str(p.path),
                "width": p.image.width,
                "height": p.image.height,
                "caption": p.caption,
                "masked": p.mask is not None,
                "hinted": p.hint is not None,
                "bucket": shape,
                "share": round(view.share, 3),
                "flat": view.flat,
                "caption_file": str(p.caption_file) if p.caption_file else None,
                "tokens": length.tokens if length else None,
                "tokens_read": length.limit if length else None,
                "cut": length.lost if length else "",
                "repeats": p.repeats,
            }
            for p, shape, view, length in zip(photos.photos, shapes, views, lengths, strict=True)
        ],
        "left_out": [
            {
                "file": str(left.path),
                "why": left.why,
                "photos": left.photos,
                "caption": left.looks_like_caption,
            }
            for left in photos.left_out
        ],
        "masks": list(photos.masks),
        "resized": list(photos.resized),
        "skipped": list(photos.skipped),
        "duplicates": list(photos.duplicates),
    }
