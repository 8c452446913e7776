"""What a run would do, found out without writing anything."""

from __future__ import annotations

from typing import Any

from booth.config import RunConfig
from booth.core.json_values import Json
from booth.core.method import Subject
from booth.data.buckets import bucket_of
from booth.data.framing import framed
from booth.data.photos import PhotoSet
from booth.train.advice import caption_lengths, coverage_in_words
from booth.train.description import stage_values
from booth.train.folders import refuse_to_overwrite
from booth.train.trainer import Trainer


def describe(config: RunConfig) -> dict[str, Json]:
    """The plan, the settings and the report on the photos; raises what the run itself would raise at its start."""
    with Trainer(config, keep=False) as trainer:
        refuse_to_overwrite(trainer.out, config.resume)
        subject, model, photos = trainer.method.subject, trainer.model, trainer.photos
        return {
            "dry_run": True,
            "concept": str(trainer.out),
            "method": config.method,
            "base": {
                "name": trainer.config.base,
                "folder": str(model.base),
                "hash": trainer.base_hash,
                "scale": model.scale,
            },
            "subject": {"token": subject.token, "noun": subject.noun, "kind": subject.kind},
            "device": trainer.device,
            "precision": trainer.precision,
            "seed": config.seed,
            "stages": _stages(trainer),
            "layers": coverage_in_words(trainer.plan, model),
            "photos": _photos(subject, photos[0], trainer),
            "also": [
                {"subject": {"token": other.token, "noun": other.noun}, "photos": _photos(other, own, trainer)}
                for other, own in zip(subject.others, photos[1:], strict=True)
            ],
            "memory": trainer.memory.to_json(),
            "estimate": trainer.estimate().to_json(),
            "warnings": trainer.warnings,
        }


def _stages(trainer: Trainer) -> list[dict[str, Any]]:
    """Each stage with its settings, the layers it adapts and how many values it trains, counted by attaching it."""
    sizes = trainer.plan_state.sizes()
    return [
        stage_values(stage) | {"values": count, "coverage": stage.method.coverage(trainer.model)}
        for stage, (count, _) in zip(trainer.plan, sizes, strict=True)
    ]


def _photos(subject: Subject, photos: PhotoSet, trainer: Trainer) -> dict[str, Any]:
    """The account of a subject's photos: what of them is used, and what is left out."""
    side, step = trainer.model.resolution, trainer.model.bucket_step
    shapes = [bucket_of(p.image.size, side, step) if trainer.config.crop == "buckets" else None for p in photos.photos]
    views = [framed(p, trainer.config.crop, side, step) for p in photos.photos]
    lengths = caption_lengths(trainer.config, trainer.model, trainer.method, subject, photos)
    return {
        "layout": photos.layout,
        "used": [
            {
                "file": str(p.path),
                "width": p.image.width,
                "height": p.image.height,
                "caption": p.caption,
                "masked": p.mask is not None,
                "hinted": p.control_image is not None,
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
