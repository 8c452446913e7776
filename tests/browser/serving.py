"""A studio that is really served, in a process of its own."""

from __future__ import annotations

import os
import shutil
import signal
import subprocess
import sys
import urllib.request
from pathlib import Path

import booth

CHROMIUM = shutil.which("chromium") or shutil.which("chromium-browser") or shutil.which("google-chrome")
QUIET = (
    "--no-sandbox",
    "--disable-gpu",
    "--disable-background-networking",
    "--disable-component-update",
    "--disable-sync",
)
WAIT = 240_000  # milliseconds that a page may take on a machine that does much else


class Served:
    """A server in a process of its own, that can be killed and started again."""

    def __init__(self, home: Path) -> None:
        self.home, self.port = home, 0
        self.start()

    def start(self) -> None:
        source = Path(booth.__file__).parent.parent
        environment = os.environ | {"PYTHONPATH": str(source), "OMP_NUM_THREADS": "1", "PYTHONUNBUFFERED": "1"}
        words = [sys.executable, "-m", "booth", "serve", str(self.home), "--port", str(self.port)]
        self.process = subprocess.Popen(
            words, stdout=subprocess.PIPE, stderr=subprocess.DEVNULL, text=True, env=environment
        )
        assert self.process.stdout is not None
        self.address = self.process.stdout.readline().strip()
        self.base, self.token = self.address.split("/login?token=")
        self.port = int(self.base.rsplit(":", 1)[1])
        urllib.request.urlopen(f"{self.base}/login", timeout=240).close()  # it waits, and is not refused

    def kill(self) -> None:
        """As the system does when memory runs out."""
        self.process.send_signal(signal.SIGKILL)
        self.process.wait()

    def stop(self) -> None:
        self.process.terminate()
        self.process.wait(timeout=30)
