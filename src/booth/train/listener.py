"""Who wants to hear how a run goes: the command line's progress bar, later the web page."""

from __future__ import annotations

from pathlib import Path
from typing import Protocol

from booth.core.method import Stage
from booth.train.loop import Step


class Listener(Protocol):
    """Told what happens between steps. Subclass and override what matters; a run itself prints nothing.

    A listener that raises `booth.core.errors.Interrupted` from `on_step` stops the run, which saves a checkpoint.
    """

    def on_start(self, plan: list[Stage], done: int) -> None:
        """Training begins, or goes on after `done` steps of the whole plan."""

    def on_step(self, stage: str, step: Step, total: int) -> None:
        """One step of a stage that has `total` steps."""

    def on_checkpoint(self, folder: Path, done: int) -> None:
        """A checkpoint is safe on the disk."""

    def on_preview(self, files: list[Path], done: int) -> None:
        """Preview pictures were drawn after `done` steps."""

    def on_message(self, text: str) -> None:
        """A sentence for the user: what is being done, a warning, a recovery."""


class Silent(Listener):
    """Listens to nothing."""
