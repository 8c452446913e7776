"""What a run has told so far, folded into what a page shows; follows the file as it grows."""

from __future__ import annotations

import json
import math
import os
import threading
from collections import OrderedDict
from pathlib import Path
from typing import Any

EVENTS = "events.jsonl"
POINTS = 600  # of a loss curve that is sent; more cannot be told apart on a screen
LINES = 200  # of the log
RECENT = 40  # steps from which the time that is left is told
HELD = 32  # followed runs that are kept in memory
LEVELS = ("info", "warning", "error")


class Digest:
    """Everything a page shows of a run, from its events in order."""

    def __init__(self) -> None:
        self.start: dict[str, Any] = {}
        self.began: float | None = None  # of the first process
        self.phase, self.done, self.total = "preparing", 0, None
        self.time: float | None = None
        self.stages: list[dict[str, Any]] = []
        self.losses: list[tuple[int, float | None]] = []
        self.seconds: list[float] = []
        self.previews: dict[int, dict[str, Any]] = {}
        self.checkpoints: list[int] = []
        self.scores: dict[int, dict[str, Any]] = {}
        self.choice: dict[str, Any] | None = None
        self.estimate: dict[str, Any] | None = None
        self.log: list[dict[str, Any]] = []
        self.end: dict[str, Any] | None = None
        self.steps = 0  # of the whole plan that were taken
        self.device_bytes: int | None = None  # of a GPU's memory that the last step left in use

    def feed(self, event: dict[str, Any]) -> None:
        """Take in one event; what a later version may say that is not known here is passed over."""
        kind, data = event.get("kind"), event.get("data") or {}
        if not isinstance(data, dict):
            return
        self.phase, self.done = str(event.get("phase", self.phase)), int(event.get("done") or 0)
        self.total, self.time = event.get("total"), event.get("time", self.time)
        if text := data.get("text") or (data.get("reason") if kind == "end" else None):
            level = event.get("level") if event.get("level") in LEVELS else "info"
            self.log.append({"time": self.time, "level": level, "text": str(text)})
            del self.log[:-LINES]
        take = getattr(self, f"_{kind}", None)
        if take is not None:
            take(data)

    def _start(self, data: dict[str, Any]) -> None:
        self.start, self.end = data, None
        self.began = self.began or self.time
        self.seconds.clear()

    def _plan(self, data: dict[str, Any]) -> None:
        self.stages = list(data.get("stages") or [])
        self._back_to(self.done)

    def _recovery(self, data: dict[str, Any]) -> None:
        self._back_to(int(data.get("returned_to") or 0))

    def _back_to(self, done: int) -> None:
        self.losses = [p for p in self.losses if p[0] <= done]
        self.checkpoints = [c for c in self.checkpoints if c <= done]
        self.previews = {s: p for s, p in self.previews.items() if s <= done}
        self.steps = done

    def _step(self, data: dict[str, Any]) -> None:
        loss = data.get("loss")
        if self.losses and self.losses[-1][0] >= self.done:
            self.losses = [p for p in self.losses if p[0] < self.done]
        self.losses.append((self.done, loss if isinstance(loss, int | float) and math.isfinite(loss) else None))
        self.steps = self.done
        held = data.get("device_bytes")
        self.device_bytes = held if isinstance(held, int) else None
        if isinstance(data.get("seconds"), int | float):
            self.seconds.append(float(data["seconds"]))
            del self.seconds[:-RECENT]

    def _checkpoint(self, data: dict[str, Any]) -> None:
        self.checkpoints.append(int(data.get("step") or 0))

    def _preview(self, data: dict[str, Any]) -> None:
        step = int(data.get("step") or 0)
        self.previews[step] = {
            "step": step,
            "files": list(data.get("files") or []),
            "prompts": data.get("prompts") or [],
        }

    def _score(self, data: dict[str, Any]) -> None:
        self.scores[int(data.get("step") or 0)] = data

    def _choice(self, data: dict[str, Any]) -> None:
        self.choice = data

    def _estimate(self, data: dict[str, Any]) -> None:
        self.estimate = data

    def _end(self, data: dict[str, Any]) -> None:
        self.end = data

    @property
    def all_steps(self) -> int:
        """Steps of the whole plan."""
        return sum(int(s.get("steps") or 0) for s in self.stages)

    @property
    def seconds_left(self) -> float | None:
        """Of training, from the last steps; None before there were any."""
        if self.end is not None or not self.seconds or not self.all_steps:
            return None
        return (self.all_steps - self.steps) * sum(self.seconds) / len(self.seconds)

    def curve(self) -> list[tuple[int, float | None]]:
        """The losses, thinned to what a screen shows."""
        stride = max(1, math.ceil(len(self.losses) / POINTS))
        if stride == 1:
            return self.losses
        thinned: list[tuple[int, float | None]] = []
        for at in range(0, len(self.losses), stride):
            part = [loss for _, loss in self.losses[at : at + stride] if loss is not None]
            thinned.append(
                (self.losses[min(at + stride, len(self.losses)) - 1][0], sum(part) / len(part) if part else None)
            )
        return thinned


class Follower:
    """Reads what was appended since it last looked. Of a finished run the file lies elsewhere, with the same lines."""

    def __init__(self) -> None:
        self.digest = Digest()
        self.offset = 0
        self._lock = threading.Lock()
        self._first = b""

    def look(self, file: Path) -> Digest:
        """The digest of the file as it is now; read anew if the file began anew."""
        with self._lock:
            try:
                with file.open("rb") as lines:
                    first = lines.readline(4096)
                    if first != self._first or os.fstat(lines.fileno()).st_size < self.offset:
                        self.digest, self.offset, self._first = Digest(), 0, first if first.endswith(b"\n") else b""
                    lines.seek(self.offset)
                    for line in lines:
                        if not line.endswith(b"\n"):
                            break
                        self.offset += len(line)
                        self._take(line)
            except OSError:
                pass  # it is being moved: the next look finds it
            return self.digest

    def _take(self, line: bytes) -> None:
        try:
            event = json.loads(line)
            if isinstance(event, dict):
                self.digest.feed(event)
        except (ValueError, TypeError, AttributeError):
            return  # torn by a process that was killed, or of another version


class Followers:
    """The runs that somebody looked at lately."""

    def __init__(self) -> None:
        self._held: OrderedDict[str, Follower] = OrderedDict()
        self._lock = threading.Lock()

    def of(self, key: str) -> Follower:
        """The follower of a run, by its id."""
        with self._lock:
            follower = self._held.pop(key, None) or Follower()
            self._held[key] = follower
            while len(self._held) > HELD:
                self._held.popitem(last=False)
            return follower
