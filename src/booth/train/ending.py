"""How a training ends: told once, in the run's folder too, and then everything is put back."""

from __future__ import annotations

import json
import os
import shutil
from contextlib import ExitStack, suppress
from pathlib import Path

from booth.concept import Concept
from booth.core.concept import TOLD
from booth.core.errors import BadDataError, BoothError, Cancelled, NotAvailableError, UsageError
from booth.events import Event, Reporter, State
from booth.train.folders import CHECKPOINTS, EVENTS, RUN, RunFolder, has_checkpoints

REFUSED = (UsageError, BadDataError, NotAvailableError)  # told before the work: what is asked makes no sense here


class Ending:
    """Ends once: done, paused or failed, with the reason. `exits` is what is put back."""

    def __init__(self, reporter: Reporter, exits: ExitStack) -> None:
        self.folder: RunFolder | None = None
        self.over = False
        self.keeps_checkpoints = False  # whether the finished concept has those of the run
        self._reporter = reporter
        self._exits = exits
        self._done: Event | None = None  # as it stands in the finished concept

    def keep(self, concept: Path, out: Path) -> None:
        """Put what was told of the run, and that it is done, into the folder that is to become the concept at `out`."""
        if self.folder is None:
            return
        told = concept / TOLD
        told.mkdir()
        for name in (RUN, EVENTS):
            shutil.copyfile(self.folder.path / name, told / name)
        if self.keeps_checkpoints:  # linked, not copied: they never change, and lie on the same filesystem
            shutil.copytree(self.folder.path / CHECKPOINTS, told / CHECKPOINTS, copy_function=_linked)
        self._done = self._event("done", "The concept is written.", concept=str(out))
        with (told / EVENTS).open("a", encoding="utf-8", errors="backslashreplace") as log:
            log.write(json.dumps(self._done.to_json(), ensure_ascii=False) + "\n")

    def done(self, concept: Concept) -> None:
        """The concept is where it belongs; the work folder is not needed any more."""
        if self.over:
            return
        told = f"{concept.folder} was finished already."
        self._reporter.hand_on(self._done or self._event("done", told, concept=str(concept.folder)))
        self._leave(remove=True)

    def paused(self, reason: str) -> None:
        """It can go on from a checkpoint."""
        self._tell("paused", reason)
        self._leave(remove=not self._is_worth_keeping)

    def failed(self, error: BaseException, started: bool) -> None:
        """Told is the error; of a run that was refused before its first step nothing is left."""
        if self.over:
            return
        cancelled = isinstance(error, Cancelled | KeyboardInterrupt)
        reason = str(error) or type(error).__name__
        with suppress(Exception, Cancelled):  # a listener that fails must not hide why the run did
            code = getattr(error, "exit_code", 130 if cancelled else 1)
            value = error.to_json() if isinstance(error, BoothError) else {}
            self._tell("paused" if cancelled else "failed", reason, error=type(error).__name__, exit_code=code, **value)
        refused = isinstance(error, REFUSED) and not started
        self._leave(remove=refused and not self._is_worth_keeping)

    def close(self) -> None:
        """Of a run that took no step nothing is left."""
        if not self.over:
            self._leave(remove=not self._is_worth_keeping)

    @property
    def _is_worth_keeping(self) -> bool:
        return self.folder is not None and has_checkpoints(self.folder.path)

    def _tell(self, state: State, reason: str, **more: object) -> None:
        self._reporter.hand_on(self._event(state, reason, **more))

    def _event(self, state: State, reason: str, **more: object) -> Event:
        reporter, level = self._reporter, "error" if state == "failed" else "info"
        data = {"state": state, "reason": reason, "exit_code": 0, **more}
        return Event("end", level, reporter.phase, reporter.done, reporter.total, data)

    def _leave(self, remove: bool) -> None:
        self.over = True
        try:
            self._exits.close()
        finally:
            if self.folder is not None:
                if remove:
                    self.folder.remove()
                else:
                    self.folder.release()


def _linked(source: str, place: str) -> None:
    """A second name for a file or, where the filesystem has no such thing, a copy."""
    try:
        os.link(source, place)
    except OSError:
        shutil.copyfile(source, place)
