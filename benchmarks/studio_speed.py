"""What the studio costs: its share of a run's wall time, each page's first paint, and what a page weighs.

nice python benchmarks/studio_speed.py --out results/studio_speed.json

The run is watched in turns: a server that follows it, with a browser's stream open, is stopped (SIGSTOP) and let go on
(SIGCONT) every few seconds, and the seconds of the steps in both are compared. Pages are those of that run's folder in
chromium, each opened anew with an empty cache.
"""

from __future__ import annotations

import argparse
import json
import os
import re
import secrets
import shutil
import signal
import statistics
import subprocess
import sys
import tempfile
import threading
import time
import urllib.request
from pathlib import Path
from typing import Any

import numpy as np

from booth.core.commit import package_versions
from booth.world import demo

CHROMIUM = shutil.which("chromium") or shutil.which("chromium-browser") or shutil.which("google-chrome")
TOKEN = secrets.token_urlsafe(24)
OPENED = 5  # times that each page is opened
WAIT = 240_000  # milliseconds that a page may take on a machine that does much else
PAINT = "performance.getEntriesByName('first-contentful-paint')[0]?.startTime"
WEIGHT = """() => performance.getEntries().filter((e) => e.transferSize !== undefined
  && e.initiatorType !== "img" && !e.name.includes("/media/")).reduce((sum, e) => sum + e.transferSize, 0)"""


class Server:
    """A studio in a process of its own."""

    def __init__(self, home: Path) -> None:
        words = [sys.executable, "-m", "booth", "serve", str(home), "--port=0", f"--token={TOKEN}"]
        self.process = subprocess.Popen(words, stdout=subprocess.PIPE, stderr=subprocess.DEVNULL, text=True)
        assert self.process.stdout is not None
        self.address = self.process.stdout.readline().strip()
        self.base = self.address.split("/login")[0]

    def ask(self, place: str) -> Any:
        """An answer as JSON."""
        return json.load(self._open(place))

    def _open(self, place: str) -> Any:
        request = urllib.request.Request(self.base + place, headers={"authorization": f"Bearer {TOKEN}"})
        return urllib.request.urlopen(request, timeout=600)

    def follow(self, run: str) -> None:
        """What an open page does: read the stream until the run is over."""
        with self._open(f"/api/runs/{run}/stream") as stream:
            for _ in stream:
                pass

    def cpu(self) -> float:
        """Seconds of the processor that it took so far."""
        fields = Path(f"/proc/{self.process.pid}/stat").read_text().rpartition(")")[2].split()
        return (int(fields[11]) + int(fields[12])) / os.sysconf("SC_CLK_TCK")


def overhead(server: Server, home: Path, steps: int, turn: float) -> dict[str, Any]:
    """The seconds of a run's steps with and without a server that follows it, in turns."""
    words = [sys.executable, "-m", "booth", "train", "--class=dog", f"--steps={steps}", "--no-samples", "--json"]
    words += ["--set=checkpoint_every=0", "--set=keep_checkpoints=2", "--out=concepts/rex", "--", str(demo.photos())]
    training = subprocess.Popen(words, cwd=home, stdout=subprocess.DEVNULL, stderr=subprocess.DEVNULL)
    events = home / "concepts" / "rex.run" / "events.jsonl"
    while not (events.is_file() and '"step"' in events.read_text()):
        if training.poll() is not None:
            raise RuntimeError("the run failed")
        time.sleep(0.2)
    (run,) = [r["id"] for r in server.ask("/api/runs")["runs"]]
    threading.Thread(target=server.follow, args=(run,), daemon=True).start()
    turns: list[tuple[float, float, bool]] = []
    on, used, watched = True, server.cpu(), 0.0
    while training.poll() is None:
        began = time.time()
        server.process.send_signal(signal.SIGCONT if on else signal.SIGSTOP)
        time.sleep(turn)
        turns.append((began, time.time(), on))
        watched += on * turn
        on = not on
    server.process.send_signal(signal.SIGCONT)
    used = server.cpu() - used
    lines = (home / "concepts" / "rex" / "run" / "events.jsonl").read_text().splitlines()
    taken = [(e["time"], e["data"]["seconds"]) for e in map(json.loads, filter(None, lines)) if e["kind"] == "step"]
    return _compared(taken, turns) | {"processor_share": round(used / max(watched, 1e-9), 4), "seconds": round(watched)}


def _compared(taken: list[tuple[float, float]], turns: list[tuple[float, float, bool]]) -> dict[str, Any]:
    """The ratio of the median seconds of a step, with a bootstrap interval over turns but the first of each kind."""
    groups: dict[bool, list[list[float]]] = {True: [], False: []}
    for began, ended, on in turns[2:]:
        inside = [seconds for when, seconds in taken if began <= when - seconds and when <= ended]
        if inside:
            groups[on].append(inside)
    lot = np.random.default_rng(0)

    def median(kind: bool, again: bool) -> float:
        of = groups[kind]
        chosen = lot.integers(len(of), size=len(of)) if again else range(len(of))
        return statistics.median([s for i in chosen for s in of[int(i)]])

    drawn = sorted(median(True, True) / median(False, True) - 1 for _ in range(2000))
    return {
        "steps": {"watched": sum(map(len, groups[True])), "alone": sum(map(len, groups[False]))},
        "seconds_a_step": {"watched": round(median(True, False), 4), "alone": round(median(False, False), 4)},
        "slower": round(median(True, False) / median(False, False) - 1, 4),
        "interval": [round(drawn[50], 4), round(drawn[1949], 4)],
    }


def pages(server: Server, home: Path) -> list[dict[str, Any]]:
    """First contentful paint and transferred bytes without pictures, of every page."""
    from playwright.sync_api import sync_playwright

    shutil.copytree(demo.photos(), home / "photos" / "rex", ignore=shutil.ignore_patterns("*.toml"))
    (run,) = [r["id"] for r in server.ask("/api/runs")["runs"]]
    (photos,) = [s["id"] for s in server.ask("/api/photos")["sets"]]
    server.ask(f"/api/photos/{photos}")
    places = ["/photos", f"/photos/{photos}", f"/plan/{photos}", "/runs", f"/runs/{run}", f"/wall/{run}", "/compare"]
    places += ["/draw", "/concepts", f"/concepts/{run}", "/settings", "/login"]
    found: list[dict[str, Any]] = []
    with sync_playwright() as driver:
        browser = driver.chromium.launch(executable_path=CHROMIUM, args=["--no-sandbox", "--disable-gpu"])
        for place in places:
            paints: list[float] = []
            weights: list[int] = []
            for _ in range(OPENED):
                context = browser.new_context(viewport={"width": 1440, "height": 900})
                context.set_default_timeout(WAIT)
                page = context.new_page()
                page.goto(server.address)
                page.close()
                page = context.new_page()
                session = context.new_cdp_session(page)
                session.send("Network.enable")
                session.send("Network.setCacheDisabled", {"cacheDisabled": True})
                page.goto(server.base + place, wait_until="load")
                page.wait_for_timeout(1500)
                paints.append(page.evaluate(PAINT) or 0)
                weights.append(page.evaluate(WEIGHT))
                context.close()
            name = re.sub(r"/[0-9a-f]{12}", "/ID", place)
            found.append({"page": name, "first_paint_ms": round(statistics.median(paints)), "bytes": max(weights)})
        browser.close()
    return found


def main() -> None:
    """Measure and write down."""
    parser = argparse.ArgumentParser(description="Measure what the studio costs a run, and how light its pages are.")
    parser.add_argument("--steps", type=int, default=300)
    parser.add_argument("--turn", type=float, default=6.0, help="seconds of a turn")
    parser.add_argument("--out", type=Path)
    asked = parser.parse_args()
    os.environ |= {"OMP_NUM_THREADS": "1", "PYTHONUNBUFFERED": "1"}
    home = Path(tempfile.mkdtemp(prefix="booth-speed-")) / "home"
    home.mkdir()
    server = Server(home)
    try:
        cost = overhead(server, home, asked.steps, asked.turn)
        print(json.dumps(cost), flush=True)
        told = {
            "schema": 1, "overhead": cost, "pages": pages(server, home),
            "load": [round(x, 2) for x in os.getloadavg()], "cores": os.cpu_count(), "opened": OPENED,
            "versions": package_versions(), "python": sys.version.split()[0],
        }  # fmt: skip
    finally:
        server.process.terminate()
        server.process.wait()
        shutil.rmtree(home.parent, ignore_errors=True)
    text = json.dumps(told, indent=1) + "\n"
    print(text)
    if asked.out is not None:
        asked.out.write_text(text, encoding="utf-8")


if __name__ == "__main__":
    main()
