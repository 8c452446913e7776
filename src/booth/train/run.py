"""A whole training without anybody between its steps: the thin driver under the command line and `booth.train`."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

from booth.concept import Concept
from booth.config import RunConfig
from booth.core.batch import BatchSource
from booth.core.cancel import CancelToken
from booth.events import Listener
from booth.session import Session
from booth.train.distributed import processes, train_by_team
from booth.train.record import TrainResult
from booth.train.signals import Signals
from booth.train.trainer import Trainer

__all__ = ["TrainResult", "train"]


def train(
    config: RunConfig,
    *,
    listeners: Sequence[Listener] = (),
    samples: bool = True,
    session: Session | None = None,
    cancel: CancelToken | None = None,
    batches: BatchSource | None = None,
) -> Concept:
    """Teach the subject in the photos to a base; return the finished concept.

    `batches` take the place of photos. Without `samples` nothing is drawn at the end; for those who draw what they want
    to see themselves.

    SIGINT, SIGTERM and SIGHUP save a checkpoint and raise Interrupted, whose exit_code is 130, 143 or 129; setting
    `cancel` saves one and raises Cancelled; whatever else fails between two steps, such as a full disk under a preview,
    leaves one too. With `resume` the run goes on from its last checkpoint, or returns the concept if it was finished
    already. SIGUSR1 draws a preview after the present step, SIGUSR2 saves a checkpoint. Every BoothError may come.
    Started by `accelerate launch` or torchrun, and on no `session`, this process does its share of the run.
    """
    if processes() > 1 and session is None and cancel is None:
        return train_by_team(config, listeners=listeners, samples=samples)
    cancel = cancel or CancelToken()
    about: dict[str, Any] = {"listeners": listeners, "cancel": cancel, "session": session, "samples": samples}
    about["batches"] = batches
    with Signals(cancel) as signals, Trainer(config, **about) as trainer:
        trainer.start()
        signals.patient = True
        try:
            for _ in trainer:
                while signals.wishes:
                    getattr(trainer, signals.wishes.pop(0))()
        finally:
            signals.patient = False
        return trainer.finish()
