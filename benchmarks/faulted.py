"""A studio under faults: it is kept at work, faults are injected, and what is left is compared with what was there."""

from __future__ import annotations

import contextlib
import errno
import hashlib
import io
import json
import os
import random
import resource
import signal
import time
import urllib.error
import urllib.request
from collections.abc import Callable
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

import numpy as np
from PIL import Image

from booth.core.commit import verify
from booth.core.errors import BoothError
from booth.core.process import is_running
from forking import Fork, Forks

KINDS = {"server": 60, "worker": 56, "disk": 28, "vanished": 34, "second": 22}  # of 200
PHOTOS = 4
STEPS, EVERY = 24, 4  # of a training, and between its checkpoints and previews
TOKEN = "a-token-for-a-studio-that-is-being-tried"
PATIENCE = 180.0  # seconds within which a state has to become true on a machine that does much else
ACTIVE = ("starting", "running", "saving")


@dataclass
class Found:
    """One fault and what it left."""

    kind: str
    what: str = ""
    seconds: float = 0.0  # until the studio answered and every state was true
    false_states: int = 0
    pictures_lost: int = 0
    checkpoints_lost: int = 0
    problems: list[str] = field(default_factory=list[str])


def digest(file: Path) -> str:
    """SHA-256."""
    return hashlib.sha256(file.read_bytes()).hexdigest()


class Campaign:
    """One studio, kept busy, and everything it must not lose."""

    def __init__(self, home: Path, folder: Path, forks: Forks, loaded: int, lot: random.Random, on_tmpfs: bool) -> None:
        self.home, self.folder, self.forks, self.loaded, self.lot, self.on_tmpfs = (
            home,
            folder,
            forks,
            loaded,
            lot,
            on_tmpfs,
        )
        self.found: list[Found] = []
        self.kept: dict[str, str] = {}  # what must not be lost: digest to kind
        self.port, self.set, self.concept, self.reference = 0, "", "", ""
        self.undisturbed: dict[int, tuple[float, float]] = {}  # of the undisturbed training: loss and norm of each step
        self.server: Fork | None = None
        self.jobs: dict[str, str] = {}  # what was asked for, by id: its kind
        self.over: dict[str, str] = {}  # and became of it
        self.base = folder / "base"

    # The server and what one asks it.

    def start(self) -> None:
        """Start the server and wait until it answers."""
        out = self.folder / "server.out"
        with out.open("wb") as stdout, (self.folder / "server.err").open("ab") as stderr:
            self.server = self.forks.popen(self._words(), stdout=stdout, stderr=stderr, cwd=self.home)
        until = time.monotonic() + PATIENCE
        while time.monotonic() < until:
            if self.server.poll() is not None:
                raise RuntimeError((self.folder / "server.err").read_text()[-800:])
            if not self.port and "/login" in out.read_text():
                self.port = int(out.read_text().split("/login")[0].rsplit(":", 1)[1])
            try:
                if self.port:
                    self.ask("GET", "/api/jobs")
                    return
            except OSError:
                pass
            time.sleep(0.05)
        raise RuntimeError("the server does not answer")

    def _words(self) -> list[str]:
        return ["python", "-m", "booth", "serve", str(self.home), f"--port={self.port}", f"--token={TOKEN}"]

    def ask(self, method: str, place: str, body: Any = None, raw: bytes | None = None) -> Any:
        """An answer of the studio; an OSError where it has none (HTTPError is one)."""
        data = raw if raw is not None else None if body is None else json.dumps(body).encode()
        kind = "application/octet-stream" if raw is not None else "application/json"
        request = urllib.request.Request(f"http://127.0.0.1:{self.port}{place}", data, method=method)
        request.add_header("authorization", f"Bearer {TOKEN}")
        if data is not None:
            request.add_header("content-type", kind)
        with urllib.request.urlopen(request, timeout=PATIENCE) as answer:
            return json.load(answer)

    # Work.

    def open(self) -> None:
        """A studio with photos, one training that nothing disturbs, and its concept to compare with."""
        self.start()
        self.set = self.ask("POST", "/api/photos", {"name": "thing"})["id"]
        for seed in range(PHOTOS):
            self.ask("PUT", f"/api/photos/{self.set}/upload?name=photo-{seed}", raw=_picture(seed))
        self.ask("GET", f"/api/photos/{self.set}")  # has them looked at
        first = self.train()
        self.until(lambda: self.state(first) in ("done", "failed"), "the undisturbed training does not end")
        job = self.ask("GET", f"/api/jobs/{first}")
        if job["state"] != "done":
            raise RuntimeError(f"the undisturbed training: {job['reason']} {job['said']}")
        self.concept = job["concept"]
        self.reference = self.weights(job)
        self.undisturbed = {e["data"]["step"]: _found(e) for e in self._events(job) if e["kind"] == "step"}
        self.over[first] = "done"
        self.keep()

    def train(self) -> str:
        """Queue a training; its id."""
        run = {"previews": EVERY, "checkpoint_every": EVERY, "keep_checkpoints": 50}
        plan = {"noun": "dog", "base": str(self.base), "methods": ["lora"], "run": run, "settings": {"steps": STEPS}}
        return self._asked("train", self.ask("POST", f"/api/plan/{self.set}", plan))

    def draw(self) -> str:
        """Queue a drawing of a picture that nobody had before; its id."""
        wish = {"prompt": "a photo of sks dog", "concepts": [{"id": self.concept}], "count": 2, "steps": 4}
        return self._asked("generate", self.ask("POST", "/api/draw", wish | {"seed": self.lot.randrange(10**6)}))

    def _asked(self, kind: str, job: dict[str, Any]) -> str:
        self.jobs[job["id"]] = kind
        return job["id"]

    def busy(self) -> None:
        """See to it that something runs, and that whatever was ended by a fault goes on."""
        told = {j["id"]: j for j in self.ask("GET", "/api/jobs")["jobs"]}
        for key in self.jobs:
            state = told.get(key, {"state": "gone"})["state"]
            if state in ("failed", "paused", "stopped"):
                self.ask("POST", f"/api/jobs/{key}", {"action": "resume"})
            if state in ("done", "gone"):
                self.over.setdefault(key, state)
        if not any(j["state"] in (*ACTIVE, "queued") for j in told.values()):
            self.train()
            self.draw()

    def state(self, key: str) -> str:
        """What the studio says of a job."""
        return self.ask("GET", f"/api/jobs/{key}")["state"]

    def until(self, is_so: Callable[[], bool], otherwise: str) -> None:
        """Wait for it, with patience."""
        ends = time.monotonic() + PATIENCE
        while time.monotonic() < ends:
            if is_so():
                return
            time.sleep(0.1)
        raise RuntimeError(otherwise)

    def weights(self, job: dict[str, Any]) -> str:
        """The digest of what a training wrote."""
        return digest(next((self.home / job["about"]["out"]).glob("*.safetensors")))

    # Faults.

    def fault(self, kind: str) -> Found:
        """Inject one at a random moment, and look at what is left."""
        self.busy()
        time.sleep(self.lot.uniform(0, 1.2))
        self.keep()
        found = Found(kind)
        gone: set[str] = set()  # digests of what the fault itself took
        began = time.monotonic()
        found.what = getattr(self, f"_{kind}")(found, gone)
        self._look(found)
        found.seconds = round(time.monotonic() - began, 2)
        for key in gone:
            self.kept.pop(key, None)
        self._compare(found)
        self.found.append(found)
        return found

    def _server(self, found: Found, gone: set[str]) -> str:
        assert self.server is not None
        os.kill(self.server.pid, signal.SIGKILL)
        self.server.wait(PATIENCE)
        pause = self.lot.choice((0.0, 0.0, self.lot.uniform(0, 2)))
        time.sleep(pause)
        self.start()
        return f"killed, started after {pause:.1f} s"

    def _worker(self, found: Found, gone: set[str]) -> str:
        for _ in range(300):
            running = [j for j in self._active() if j.get("process")]
            if running:
                job = self.lot.choice(running)
                try:
                    os.kill(job["process"]["pid"], signal.SIGKILL)
                except ProcessLookupError:  # it has just ended by itself
                    continue
                return f"{job['kind']} killed while {job['state']}"
            self.busy()
            time.sleep(0.1)
        raise RuntimeError("nothing runs")

    def _disk(self, found: Found, gone: set[str]) -> str:
        seconds = self.lot.uniform(0.3, 2.5)
        before = sorted(p.name for p in (self.home / "photos" / "thing").iterdir())
        with self._full():
            ends = time.monotonic() + seconds
            while time.monotonic() < ends:
                self._still_answers(found)
                time.sleep(0.2)
            try:
                self.ask("PUT", f"/api/photos/{self.set}/upload?name=one-more", raw=_picture(99, noise=True))
                found.problems.append("a photo was taken on a full disk")
            except urllib.error.HTTPError as error:
                if "error" not in json.loads(error.read() or b"{}"):
                    found.problems.append(f"no sentence for a photo on a full disk ({error.code})")
        after = sorted(p.name for p in (self.home / "photos" / "thing").iterdir())
        if after != before:
            found.problems.append(f"half a photo was left: {set(after) - set(before)}")
        return f"full for {seconds:.1f} s"

    def _full(self) -> Any:
        return _Filled(self.home) if self.on_tmpfs else _Limited([self.server.pid, *self._workers()])  # type: ignore[union-attr]

    def _vanished(self, found: Found, gone: set[str]) -> str:
        while True:
            try:
                file = self.lot.choice(self._files())
                gone.add(digest(file))
                break
            except FileNotFoundError:  # a run was finished and moved meanwhile
                continue
        for one in (file, file.with_name(f"{file.name}-wal"), file.with_name(f"{file.name}-shm")):
            one.unlink(missing_ok=True)
        self._still_answers(found)
        return str(file.relative_to(self.home))[-44:]

    def _files(self) -> list[Path]:
        """What may vanish: some of everything that matters."""
        active = {Path(j["folder"]) for j in self._active()}
        runs = [p for p in (self.home / "concepts").glob("*.run") if p.is_dir()]
        choices: list[Path] = [
            *(self.home / "studio").glob("library.sqlite"),
            *(self.home / "studio" / "surveys").glob("*"),
        ]
        choices += [f / name for f in active for name in ("state.json", "job.json", "stdout", "process.json")]
        choices += [r / name for r in runs for name in ("events.jsonl", "lock", "run.json")]
        choices += [p for r in runs for p in r.glob("previews/*/*.png")][:3]
        choices += list((self.home / "pictures").glob("*/*.png"))[:2]
        choices += [c / "state.safetensors" for r in runs for c in sorted(r.glob("checkpoints/ckpt-??????"))[-1:]]
        choices += list((self.home / "studio" / "thumbs").glob("*/*.webp"))[:2]
        return [c for c in choices if c.is_file()]

    def _second(self, found: Found, gone: set[str]) -> str:
        with (self.folder / "second").open("wb") as said:
            other = self.forks.popen([*self._words()[:-2], "--port=0", f"--token={TOKEN}"], stdout=said, stderr=said)
            code = other.wait(PATIENCE)
        if code != 2:
            found.problems.append(f"a second server ended with {code}")
        self._still_answers(found)
        return "refused"

    def _still_answers(self, found: Found) -> None:
        try:
            self.ask("GET", "/api/jobs")
            self.ask("GET", f"/api/photos/{self.set}")
        except OSError as error:
            found.problems.append(f"the studio does not answer: {error}")

    # What is left.

    def _active(self) -> list[dict[str, Any]]:
        """Jobs that the studio calls active, with their processes as their folders tell."""
        jobs = [j for j in self.ask("GET", "/api/jobs")["jobs"] if j["state"] in ACTIVE]
        for job in jobs:
            folder = self.home / "studio" / "jobs" / job["id"]
            job["folder"] = str(folder)
            job["process"] = _read(folder / "process.json") or _read(folder / "state.json").get("process")
        return jobs

    def _workers(self) -> list[int]:
        """Every process that was forked and lives, but for the server."""
        found: list[int] = []
        for entry in Path("/proc").iterdir():
            if entry.name.isdecimal():
                try:
                    state, parent, *_ = (entry / "stat").read_text().rpartition(")")[2].split()
                except OSError:
                    continue
                if int(parent) == self.loaded and state not in "ZX" and int(entry.name) != self.server.pid:  # type: ignore[union-attr]
                    found.append(int(entry.name))
        return found

    def _look(self, found: Found) -> None:
        """Wait until every state is true; what does not become so is a false state."""
        ends = time.monotonic() + PATIENCE
        wrong: list[str] = ["not looked at"]
        while wrong and time.monotonic() < ends:
            try:
                wrong = self._untrue()
            except OSError as error:
                wrong = [f"no answer: {error}"]
            if wrong:
                time.sleep(0.1)
        found.false_states += len(wrong)
        found.problems += wrong

    def _untrue(self) -> list[str]:
        active = self._active()
        alive = [j for j in active if j["process"] and is_running(j["process"])]
        wrong = [f"{j['kind']} is called {j['state']} and has no process" for j in active if j not in alive]
        known = {j["process"]["pid"] for j in alive}
        known |= {told["pid"] for lock in self.home.glob("concepts/*.run/lock") if "pid" in (told := _read(lock))}
        return wrong + [f"process {pid} works for nobody" for pid in self._workers() if pid not in known]

    def keep(self) -> None:
        """Note every picture, photo and checkpoint that is there now: none of them may be lost from now on."""
        self.kept |= self._there()

    def _there(self) -> dict[str, str]:
        there: dict[str, str] = {}
        for file in (Path(folder) / name for folder, _, names in os.walk(self.home) for name in names):
            told = file.relative_to(self.home).parts
            if any(".tmp-" in part for part in told) or (told[:1] == ("studio",) and "snapshots" not in told):
                continue
            try:
                if file.suffix == ".png":
                    there[digest(file)] = "picture"
                elif file.name == "state.safetensors":
                    verify(file.parent)
                    there[digest(file)] = "checkpoint"
            except (OSError, BoothError):
                continue
        return there

    def _compare(self, found: Found) -> None:
        lost = set(self.kept)
        for _ in range(20):  # a concept that is being put in place is at neither end for a moment
            lost -= set(self._there())
            if not lost:
                return
            time.sleep(0.2)
        for key in lost:
            kind = self.kept.pop(key)
            found.pictures_lost += kind == "picture"
            found.checkpoints_lost += kind == "checkpoint"
            found.problems.append(f"a {kind} is lost")

    def close(self) -> dict[str, Any]:
        """Let everything come to its end, and say what the trainings that were disturbed came to."""
        ends = time.monotonic() + 3 * PATIENCE
        while time.monotonic() < ends and self._unfinished():
            time.sleep(0.3)
        problems = [f"{kind} {key} never ended" for key, kind in self._unfinished().items()]
        same = different = 0
        done = [j for j in self.ask("GET", "/api/jobs")["jobs"] if j["state"] == "done"]
        for job in done:
            if job["kind"] == "train":
                verify(self.home / job["about"]["out"])
                differs = self.weights(job) != self.reference
                same, different = same + (not differs), different + differs
                if differs:
                    problems.append(
                        f"{job['about']['out']} came to other weights than the undisturbed training: {self._story(job)}"
                    )
        problems += self._untrue()
        os.kill(self.server.pid, signal.SIGTERM)  # type: ignore[union-attr]
        self.server.wait(PATIENCE)  # type: ignore[union-attr]
        return {
            "trainings_done": same + different, "with_the_weights_of_the_undisturbed": same,
            "drawings_done": sum(j["kind"] == "generate" for j in done),
            "jobs_whose_record_vanished": sum(s == "gone" for s in self.over.values()), "problems": problems,
        }  # fmt: skip

    def _story(self, job: dict[str, Any]) -> str:
        """From where it was taken up, and at which step it first found something else, by its own events."""
        starts: list[int] = []
        for event in self._events(job):
            if event["kind"] == "plan":
                starts.append(event["done"])
            elif event["kind"] == "step" and self.undisturbed.get(event["data"]["step"]) != _found(event):
                where = f"step {event['data']['step']} was the first to find something else"
                return f"taken up at {_in_words(starts)}; {where}"
        return f"taken up at {_in_words(starts)}; every step that is told found the same"

    def _events(self, job: dict[str, Any]) -> list[dict[str, Any]]:
        lines = (self.home / job["about"]["out"] / "run" / "events.jsonl").read_text().splitlines()
        return [json.loads(line) for line in lines if line.endswith("}")]

    def _unfinished(self) -> dict[str, str]:
        told = {j["id"]: j for j in self.ask("GET", "/api/jobs")["jobs"]}
        for key in self.jobs:
            if told.get(key, {"state": "gone"})["state"] in ("failed", "paused", "stopped"):
                self.ask("POST", f"/api/jobs/{key}", {"action": "resume"})
        return {
            k: kind for k, kind in self.jobs.items() if told.get(k, {"state": "gone"})["state"] not in ("done", "gone")
        }

    def end_all(self) -> None:
        """Leave no process behind."""
        if self.server is not None:
            for pid in (self.server.pid, *self._workers()):
                with contextlib.suppress(ProcessLookupError):
                    os.kill(pid, signal.SIGKILL)


class _Filled:
    """The disk is full to the last byte as long as this lasts."""

    def __init__(self, home: Path) -> None:
        self._file = home / "filler"

    def __enter__(self) -> None:
        handle = os.open(self._file, os.O_WRONLY | os.O_CREAT)
        size = 1 << 20
        while size:
            try:
                os.write(handle, bytes(size))
            except OSError as error:
                if error.errno != errno.ENOSPC:
                    raise
                size //= 2
        os.close(handle)

    def __exit__(self, *_: object) -> None:
        self._file.unlink()


class _Limited:
    """These processes may write no byte more as long as this lasts."""

    def __init__(self, pids: list[int]) -> None:
        self._pids = pids

    def __enter__(self) -> None:
        self._set(0)

    def __exit__(self, *_: object) -> None:
        self._set(resource.RLIM_INFINITY)

    def _set(self, soft: int) -> None:
        for pid in self._pids:
            try:
                resource.prlimit(pid, resource.RLIMIT_FSIZE, (soft, resource.RLIM_INFINITY))
            except ProcessLookupError:
                continue


def _found(step: dict[str, Any]) -> tuple[float, float]:
    """The loss and the gradient's norm that an event tells of a step."""
    return step["data"]["loss"], step["data"]["gradient_norm"]


def _in_words(starts: list[int]) -> str:
    return ", ".join(map(str, starts)) or "no step that is told"


def _read(file: Path) -> dict[str, Any]:
    try:
        return json.loads(file.read_text())
    except (OSError, ValueError):
        return {}


def _picture(seed: int, noise: bool = False) -> bytes:
    pixels = np.random.default_rng(seed).integers(0, 255, (512, 512, 3) if noise else (32, 32, 3), dtype=np.uint8)
    data = io.BytesIO()
    Image.fromarray(pixels).resize((512, 512) if noise else (128, 128), Image.Resampling.NEAREST).save(data, "PNG")
    return data.getvalue()
