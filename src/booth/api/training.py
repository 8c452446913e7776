"""Open a base, teach a subject to it, and read what was taught."""

from __future__ import annotations

from collections.abc import Sequence
from pathlib import Path
from typing import TYPE_CHECKING, Any, Unpack

from booth.events import Listener

if TYPE_CHECKING:
    from booth.concept import Concept
    from booth.config import RunConfig
    from booth.core.batch import BatchSource
    from booth.core.cancel import CancelToken
    from booth.data.given import Given
    from booth.options import TrainOptions
    from booth.session import Session


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
