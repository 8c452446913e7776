"""What a training is, in plain values: for the dry run, and frozen in the run's folder."""

from __future__ import annotations

from datetime import UTC, datetime
from typing import TYPE_CHECKING

from booth import __version__
from booth.core.commit import package_versions
from booth.core.json_values import Json
from booth.core.method import Stage
from booth.core.places import as_text
from booth.train.identity import identity

if TYPE_CHECKING:
    from booth.train.preparation import Prepared


def configuration(trainer: Prepared) -> dict[str, Json]:
    """All that decides what is learned, with the hashes of the data, and how it is computed."""
    config, known = trainer.config, trainer.known
    shown = [(s, p) for s, each in zip(trainer.method.subject.all, trainer.photos, strict=True) for p in each.photos]
    return {
        "booth": __version__,
        "created": datetime.now(UTC).isoformat(timespec="milliseconds"),
        "versions": package_versions(),
        "out": str(trainer.out),
        "configuration": config.model_dump(mode="json"),
        "method": config.method,
        "settings": known["settings"],
        "stages": [stage_values(stage) for stage in trainer.plan],
        "subject": known["subject"].model_dump(mode="json"),
        "base": {**known["base"].model_dump(), "family": trainer.model.name, "folder": str(trainer.model.base)},
        "seed": config.seed,
        "device": trainer.device,
        "precision": known["precision"],
        "memory": trainer.memory.to_json(),
        "photos": [
            {
                "file": as_text(photo.path.absolute()),
                "sha256": photo.sha256,
                "subject": subject.name,
                "caption": photo.caption,
                "width": photo.size[0],
                "height": photo.size[1],
                "mask_sha256": photo.mask_sha256,
                "hint_sha256": photo.control_image_sha256,
            }
            for subject, photo in shown
        ],
        "identity": identity(known),
        "warnings": trainer.warnings,
    }


def stage_values(stage: Stage) -> dict[str, Json]:
    """A stage with its settings."""
    config = stage.method.config
    return {
        "name": stage.name,
        "method": stage.method.name,
        "steps": config.steps,
        "settings": config.model_dump(mode="json"),
        "prompts": stage.method.prompts(),
    }
