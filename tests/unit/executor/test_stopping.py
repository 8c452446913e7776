"""A fleet hears the same signals as a training does."""

from __future__ import annotations

import os
import signal
from collections.abc import Callable
from typing import Any

import pytest

from booth.core.cancel import CancelToken
from booth.core.errors import Interrupted
from booth.executor.here import ThisProcess
from booth.executor.stopping import Stopping
from booth.train.signals import Signals

CATCHING: list[Callable[[], Any]] = [lambda: Stopping(ThisProcess()), lambda: Signals(CancelToken())]


@pytest.mark.parametrize("catching", CATCHING, ids=["fleet", "training"])
@pytest.mark.parametrize(("name", "heard"), [("SIGINT", True), ("SIGTERM", True), ("SIGHUP", False)])
def test_what_a_shell_ignores_in_the_background_is_heard_and_what_nohup_ignores_is_not(
    catching: Callable[[], Any], name: str, heard: bool
) -> None:
    number = getattr(signal, name, None)
    if number is None:
        pytest.skip("this system has no such signal")
    former = signal.signal(number, signal.SIG_IGN)
    try:
        with catching():
            assert (signal.getsignal(number) != signal.SIG_IGN) == heard
        assert signal.getsignal(number) == signal.SIG_IGN
    finally:
        signal.signal(number, former)


def test_the_first_signal_has_workers_save_and_the_second_ends_it() -> None:
    with ThisProcess() as executor, Stopping(executor) as stopping:
        stopping.check()
        os.kill(os.getpid(), signal.SIGTERM)
        assert stopping.asked
        with pytest.raises(Interrupted, match="Every worker has saved"):
            stopping.check()
        with pytest.raises(Interrupted, match="while workers were saving"):
            os.kill(os.getpid(), signal.SIGINT)
