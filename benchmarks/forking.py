"""Processes of booth that are forked from one in which the libraries are loaded, so that each begins at once.

A fork runs what `python -m MODULE WORDS...` runs, in a session of its own, with the folder, environment and output that
it was asked for; only the seconds in which libraries are loaded are saved. POSIX alone.
"""

from __future__ import annotations

import array
import contextlib
import importlib
import json
import os
import runpy
import select
import signal
import socket
import sys
import time
import traceback
from collections.abc import Callable
from pathlib import Path
from typing import Any, NoReturn

LOADED = ("booth.cli.app", "booth.web.serve", "booth.train.run", "booth.generate.run", "booth.testing.toy")
LINE = 1 << 20
PULSE = 0.02


class Fork:
    """A process as `subprocess.Popen` shows one, as far as the studio's keeper asks."""

    def __init__(self, place: Path, pid: int) -> None:
        self._place, self.pid = place, pid
        self.returncode: int | None = None

    def poll(self) -> int | None:
        """How it ended, or None."""
        if self.returncode is None:
            try:
                self.returncode = int((self._place.parent / f"{self.pid}.ended").read_text())
            except (OSError, ValueError):
                return None
        return self.returncode

    def wait(self, timeout: float = 60) -> int:
        """How it ended, once it did."""
        until = time.monotonic() + timeout
        while self.poll() is None:
            if time.monotonic() > until:
                raise TimeoutError(f"process {self.pid} did not end")
            time.sleep(PULSE)
        assert self.returncode is not None
        return self.returncode


class Forks:
    """Where to ask for one; `place` is the socket of the process that was loaded."""

    def __init__(self, place: Path) -> None:
        self.place = place

    def popen(self, words: list[str], *, stdout: Any, stderr: Any, cwd: Any = None, env: Any = None, **_: Any) -> Fork:
        """In the place of `subprocess.Popen([python, ..., "-m", MODULE, WORDS...])`."""
        told = {"words": words[words.index("-m") + 1 :], "cwd": str(cwd or Path.cwd()), "env": dict(env or os.environ)}
        with socket.socket(socket.AF_UNIX, socket.SOCK_STREAM) as asking:
            asking.connect(str(self.place))
            handles = array.array("i", [stdout.fileno(), stderr.fileno()])
            asking.sendmsg([json.dumps(told).encode() + b"\n"], [(socket.SOL_SOCKET, socket.SCM_RIGHTS, handles)])
            return Fork(self.place, int(asking.recv(64)))


def load(place: Path, prepare: Callable[[Forks], None]) -> int:
    """Fork the process that loads the libraries and then serves forks at `place`; its number, once it does."""
    pid = os.fork()
    if pid == 0:
        try:
            for name in LOADED:
                importlib.import_module(name)
            prepare(Forks(place))
            _serve(place)
        except BaseException:
            traceback.print_exc()
        finally:
            os._exit(1)
    while not place.exists():
        if os.waitpid(pid, os.WNOHANG)[0]:
            raise RuntimeError("the libraries could not be loaded")
        time.sleep(0.1)
    return pid


def _serve(place: Path) -> NoReturn:
    listening = socket.socket(socket.AF_UNIX, socket.SOCK_STREAM)
    work = place.with_name(place.name + ".new")
    listening.bind(str(work))
    listening.listen(64)
    os.replace(work, place)
    while True:
        _reap(place.parent)
        if not select.select([listening], [], [], PULSE)[0]:
            continue
        asking, _ = listening.accept()
        with asking:
            try:
                message, handles, *_ = socket.recv_fds(asking, LINE, 2)
            except OSError:
                continue
            while message and not message.endswith(b"\n"):
                message += asking.recv(LINE)
            if not message:
                continue
            pid = os.fork()
            if pid == 0:
                listening.close()
                _become(json.loads(message), handles)
            with contextlib.suppress(OSError):  # whoever asked was killed meanwhile: the fork runs all the same
                asking.send(str(pid).encode())
            for handle in handles:
                os.close(handle)


def _reap(folder: Path) -> None:
    """Note how each fork ended."""
    while True:
        try:
            pid, status = os.waitpid(-1, os.WNOHANG)
        except ChildProcessError:
            return
        if pid == 0:
            return
        work = folder / f"{pid}.tmp"
        work.write_text(str(os.waitstatus_to_exitcode(status)))
        os.replace(work, folder / f"{pid}.ended")


def _become(told: dict[str, Any], handles: list[int]) -> NoReturn:
    """Be the process that was asked for, to its end."""
    code = 1
    try:
        os.setsid()
        for number in (signal.SIGINT, signal.SIGTERM, signal.SIGHUP):
            signal.signal(number, signal.default_int_handler if number == signal.SIGINT else signal.SIG_DFL)
        os.dup2(os.open(os.devnull, os.O_RDONLY), 0)
        os.dup2(handles[0], 1)
        os.dup2(handles[1], 2)
        os.chdir(told["cwd"])
        os.environ.clear()
        os.environ.update(told["env"])
        module, *words = told["words"]
        sys.argv = [module, *words]
        runpy.run_module(module, run_name="__main__", alter_sys=True)
        code = 0
    except SystemExit as ended:
        code = ended.code if isinstance(ended.code, int) else 0 if ended.code is None else 1
        if isinstance(ended.code, str):
            print(ended.code, file=sys.stderr)
    except BaseException:
        traceback.print_exc()
    finally:
        for stream in (sys.stdout, sys.stderr):
            with contextlib.suppress(OSError):
                stream.flush()
        os._exit(code & 255)
