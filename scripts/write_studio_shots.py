"""Make the pictures of docs/guides/studio.md: every page of the studio, at the width of a desk and of a phone.

    python scripts/write_studio_shots.py

A studio is served in a new folder and taught the demo's subject: photos, a run, its wall, a race, drawings, an export.
With --home the folder is kept, and what is in it already is not made again. --only wall,run makes those alone.
"""

from __future__ import annotations

import argparse
import io
import json
import os
import secrets
import shutil
import subprocess
import sys
import tempfile
import time
import urllib.request
from collections.abc import Callable
from pathlib import Path
from typing import Any

from PIL import Image
from playwright.sync_api import Page, sync_playwright

from booth.world import demo

PICTURES = Path(__file__).parent.parent / "docs" / "guides" / "studio"
CHROMIUM = shutil.which("chromium") or shutil.which("chromium-browser") or shutil.which("google-chrome")
DESK, PHONE = (1440, 900), (390, 844)
TALLEST = {DESK: 2100, PHONE: 1400}  # pixels of a page that are shown
SHOWN = 1000  # pixels of width at which a desk's page is kept
QUALITY = 82
PATIENCE = 3600  # seconds for a job
READY = {"plan": "#f-settings-steps", "concept": "#to", "settings": "#doctor-title ~ .sheet dl"}  # what comes late
METHODS = ["lora", "dreambooth", "textual_inversion", "pivotal_tuning"]  # that are measured for their cards


class Served:
    """A studio in a process of its own, and somebody who has its token."""

    def __init__(self, home: Path) -> None:
        token = secrets.token_urlsafe(24)
        words = [sys.executable, "-m", "booth", "serve", str(home), "--port=0", f"--token={token}"]
        around = os.environ | {"PYTHONUNBUFFERED": "1"}
        self.process = subprocess.Popen(words, stdout=subprocess.PIPE, text=True, env=around)
        assert self.process.stdout is not None
        self.address = self.process.stdout.readline().strip()
        self.base, self._token = self.address.split("/login")[0], token

    def ask(self, place: str, wish: Any = None, *, method: str | None = None) -> Any:
        """An answer: as JSON, or as bytes where it is a picture. A wish of bytes is sent as a file."""
        raw = isinstance(wish, bytes)
        data = wish if raw else None if wish is None else json.dumps(wish).encode()
        request = urllib.request.Request(self.base + place, data, method=method)
        request.add_header("authorization", f"Bearer {self._token}")
        if data is not None:
            request.add_header("content-type", "application/octet-stream" if raw else "application/json")
        with urllib.request.urlopen(request, timeout=PATIENCE) as answer:
            told = answer.read()
            return json.loads(told) if answer.headers["content-type"] == "application/json" else told

    def finish(self, key: str) -> dict[str, Any]:
        """Wait for a job; one that fails is an error with its reason."""
        until = time.monotonic() + PATIENCE
        while time.monotonic() < until:
            job = self.ask(f"/api/jobs/{key}")
            if job["state"] == "done":
                return job
            if job["state"] in ("failed", "stopped", "paused"):
                raise SystemExit(f"{job['command']}: {job['state']}. {job['reason']}")
            time.sleep(1)
        raise SystemExit(f"The job {key} took more than {PATIENCE} s.")

    def done(self, kind: str, ask: Callable[[], str]) -> dict[str, Any]:
        """The job of a kind that was done before or else, once it is done, the one that is asked for now."""
        jobs = self.ask("/api/jobs")["jobs"]
        there = next(
            (job["id"] for job in jobs if job["kind"] == kind and job["state"] not in ("failed", "stopped")), None
        )
        print(f"{kind} ...", flush=True)
        return self.finish(there or ask())


def photos(studio: Served) -> str:
    """The id of the set, with a mask on its first photo."""
    sets = studio.ask("/api/photos")["sets"]
    if sets:
        return sets[0]["id"]
    key = studio.ask("/api/photos", {"name": "rex"})["id"]
    for file in sorted(demo.photos().glob("*.png")):
        studio.ask(f"/api/photos/{key}/upload?name={file.name}", file.read_bytes(), method="PUT")
    first = studio.ask(f"/api/photos/{key}")["photos"][0]["id"]
    mask = studio.ask(f"/media/photos/{key}/{first}?size=outline")
    studio.ask(f"/api/photos/{key}/{first}/mask", mask, method="PUT")
    return key


def taught(studio: Served, steps: int) -> dict[str, str]:
    """The address of every page, each with something on it."""
    key = photos(studio)
    every = max(1, steps // 4)
    plan = {
        "noun": "dog",
        "name": "rex",
        "methods": ["dreambooth"],
        "settings": {"steps": steps},
        "run": {"previews": every, "checkpoint_every": every},
    }
    question = {"noun": "dog", "methods": METHODS}
    studio.done("forecast", lambda: studio.ask(f"/api/plan/{key}/advice", question)["job"])
    run = studio.done("train", lambda: studio.ask(f"/api/plan/{key}", plan)["id"])["run"]
    studio.done("wall", lambda: studio.ask(f"/api/wall/{run}", {})["id"])
    studio.done("export", lambda: studio.ask(f"/api/concepts/{run}/export", {"to": "checkpoint"})["id"])
    studio.done("evaluate", lambda: studio.ask(f"/api/concepts/{run}/evaluate", {})["id"])
    wish = {"prompt": "a photo of sks dog on the beach", "concepts": [{"id": run}], "count": 4, "seed": 7}
    drawing = studio.done("generate", lambda: studio.ask("/api/draw", wish)["id"])["id"]
    race = {"noun": "dog", "methods": ["dreambooth", "lora"], "race": True, "settings": {"steps": steps}}
    studio.done("compare", lambda: studio.ask(f"/api/plan/{key}", race)["id"])
    held = studio.ask("/api/races")["races"][0]["id"]
    return {
        "photos": f"/photos/{key}", "plan": f"/plan/{key}", "run": f"/runs/{run}", "wall": f"/wall/{run}",
        "compare": f"/compare/{held}", "draw": f"/draw?like={drawing}", "concepts": "/concepts",
        "concept": f"/concepts/{run}", "settings": "/settings",
    }  # fmt: skip


def shoot(page: Page, name: str, address: str, size: tuple[int, int]) -> Image.Image:
    """A page once all of it is there, from its head as far as is shown."""
    width, height = size
    page.set_viewport_size({"width": width, "height": height})
    page.goto(address, wait_until="load")
    if name in READY:
        page.wait_for_selector(READY[name])
    page.evaluate("document.querySelectorAll('img[loading=lazy]').forEach((image) => { image.loading = 'eager'; })")
    tall = page.evaluate("document.querySelector('main').scrollHeight") + 40
    page.set_viewport_size({"width": width, "height": min(max(int(tall), height), TALLEST[size])})
    while not page.evaluate("[...document.images].every((image) => image.complete)"):
        page.wait_for_timeout(200)
    page.wait_for_timeout(1200)  # for what is drawn anew in another size
    image = Image.open(io.BytesIO(page.screenshot())).convert("RGB")
    if size == DESK:
        image = image.resize((SHOWN, round(image.height * SHOWN / image.width)), Image.Resampling.LANCZOS)
    return image


def main() -> None:
    """Teach, look, write."""
    parser = argparse.ArgumentParser(description="Make the pictures of the studio's guide.")
    parser.add_argument("--home", type=Path, help="folder of the studio, which is kept")
    parser.add_argument("--only", default="", help="names of pages, with commas")
    parser.add_argument("--steps", type=int, default=160, help="of the training")
    asked = parser.parse_args()
    work = asked.home or Path(tempfile.mkdtemp(prefix="booth-shots-"))
    work.mkdir(parents=True, exist_ok=True)
    studio = Served(work)
    try:
        places = taught(studio, asked.steps)
        wanted = [name for name in places if not asked.only or name in asked.only.split(",")]
        with sync_playwright() as driver:
            browser = driver.chromium.launch(executable_path=CHROMIUM, args=["--no-sandbox", "--disable-gpu"])
            page = browser.new_context(color_scheme="light", locale="en-GB").new_page()
            page.set_default_timeout(1000 * PATIENCE)
            page.goto(studio.address)
            for size in (DESK, PHONE):
                for name in wanted:
                    file = PICTURES / f"{name}-{size[0]}.jpg"
                    shoot(page, name, studio.base + places[name], size).save(file, quality=QUALITY, optimize=True)
                    print(file.name, file.stat().st_size, flush=True)
            browser.close()
    finally:
        studio.process.terminate()
        studio.process.wait()
        if asked.home is None:
            shutil.rmtree(work, ignore_errors=True)


if __name__ == "__main__":
    main()
