"""Results on stdout, everything else on stderr."""

from __future__ import annotations

import json
import sys
import time
from collections.abc import Mapping, Sequence

from booth.cli.wording import wording
from booth.events import Event

SECONDS = 10  # between progress lines where stderr is no terminal


def say(text: str) -> None:
    """A sentence beside the result."""
    print(wording().put(text), file=sys.stderr, flush=True)


def finish(result: Mapping[str, object], lines: Sequence[str], as_json: bool) -> None:
    """The result: for people, or as one JSON object on the last line of stdout."""
    print(json.dumps(result) if as_json else wording().put("\n".join(lines)), flush=True)


def table(rows: Sequence[Sequence[str]]) -> list[str]:
    """Rows of cells as lines with aligned columns; the last column may be of any length."""
    widths = [max(len(cell) for cell in column) for column in zip(*rows, strict=True)]
    return ["  ".join(f"{cell:<{width}}" for cell, width in zip(row, widths, strict=True)).rstrip() for row in rows]


class Bar:
    """How far something is, on stderr: a bar on a terminal, now and then a line elsewhere."""

    def __init__(self, total: int, unit: str, done: int = 0) -> None:
        from tqdm import tqdm

        self._bar = tqdm(
            total=total,
            initial=done,
            unit=unit,
            file=sys.stderr,
            dynamic_ncols=True,
            leave=False,
            disable=not sys.stderr.isatty(),
            bar_format="{desc}{percentage:3.0f} %|{bar}| {n_fmt}/{total_fmt}, {rate_fmt}{postfix}, {remaining} left",
        )
        self._total, self._unit, self._first, self._done = total, unit, done, done
        self._began = self._told = time.monotonic()

    def to(self, done: int, about: str = "", note: str = "") -> None:
        """Move to `done`; `about` stands before the bar and `note`, such as the loss, behind the rate."""
        if not self._bar.disable:
            self._bar.set_description_str(f"{about} " if about else "", refresh=False)
            self._bar.set_postfix_str(note, refresh=False)
            self._bar.update(done - self._done)
        elif time.monotonic() - self._told >= SECONDS or done == self._total:
            self._told = time.monotonic()
            say(self._line(done, about, note))
        self._done = done

    def _line(self, done: int, about: str, note: str) -> str:
        rate = (done - self._first) / max(1e-9, time.monotonic() - self._began)
        left = (self._total - done) / max(1e-9, rate)
        parts = [f"{done}/{self._total} {self._unit}s", f"{rate:.2f} {self._unit}s/s", note, f"{left:.0f} s left"]
        return f"{about} {', '.join(p for p in parts if p)}".strip()

    def note(self, text: str) -> None:
        """Print a sentence without breaking the bar."""
        self._bar.write(wording().put(text), file=sys.stderr) if not self._bar.disable else say(text)

    def close(self) -> None:
        """Take the bar away."""
        self._bar.close()


UNITS = {"drawing": "picture", "measuring": "scoring"}  # of the phases that have a bar of their own


class Progress:
    """A listener that shows how far the work is, of a training with its rate and loss, and says what is for people."""

    def __init__(self) -> None:
        self._bar: Bar | None = None
        self._loss: float | None = None

    def __call__(self, event: Event) -> None:
        """Hear of one thing."""
        if event.kind == "plan":
            self.close()
            self._loss = None
            self._bar = Bar(event.total or 0, "step", event.done)
        elif event.kind == "phase" and event.phase in UNITS:
            self.close()
            self._bar = Bar(event.total, UNITS[event.phase], event.done) if event.total else None
        elif event.kind == "progress" and event.phase in UNITS and self._bar is not None:
            self._bar.to(event.done)
        elif event.kind == "step" and self._bar is not None:
            self._step(event)
        elif event.text:
            warning = "warning: " if event.level == "warning" else ""
            self.say(f"{warning}{event.text}")

    def say(self, text: str) -> None:
        """A sentence, above the bar if there is one."""
        self._bar.note(text) if self._bar else say(text)

    def close(self) -> None:
        """Take the bar away."""
        if self._bar is not None:
            self._bar.close()
        self._bar = None

    def _step(self, event: Event) -> None:
        """Show a step, and the loss as a moving average because single ones say little."""
        assert self._bar is not None
        if event.data["updated"]:
            loss = event.data["loss"]
            self._loss = loss if self._loss is None else 0.95 * self._loss + 0.05 * loss
        note = "" if self._loss is None else f"loss {self._loss:.4f}"
        self._bar.to(event.done, event.data["stage"], note)
