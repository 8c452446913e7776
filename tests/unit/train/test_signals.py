"""SIGINT and SIGTERM wait for the end of a step, but only once and only while training."""

from __future__ import annotations

import os
import signal
import threading
from pathlib import Path

import pytest

from booth.config import RunConfig
from booth.core.cancel import CancelToken
from booth.core.errors import Interrupted
from booth.events import Event
from booth.train.run import train
from booth.train.signals import Signals


def send(number: int) -> None:
    os.kill(os.getpid(), number)


@pytest.mark.parametrize(("number", "code"), [(signal.SIGINT, 130), (signal.SIGTERM, 143)])
def test_a_patient_run_hears_of_it_at_the_check(number: int, code: int) -> None:
    token = CancelToken()
    with Signals(token) as signals:
        signals.patient = True
        token.check()
        send(number)
        with pytest.raises(Interrupted, match=signal.Signals(number).name) as caught:
            token.check()
    assert caught.value.exit_code == code


def test_before_and_after_training_it_acts_at_once() -> None:
    with Signals(CancelToken()), pytest.raises(Interrupted):
        send(signal.SIGTERM)


def test_a_second_signal_is_not_made_to_wait() -> None:
    token = CancelToken()
    with Signals(token) as signals:
        signals.patient = True
        send(signal.SIGTERM)
        with pytest.raises(Interrupted) as caught:
            send(signal.SIGINT)
        assert caught.value.abrupt
    with pytest.raises(Interrupted) as first:
        token.check()
    assert not first.value.abrupt


def test_the_former_handlers_come_back() -> None:
    before = signal.getsignal(signal.SIGINT), signal.getsignal(signal.SIGTERM)
    with Signals(CancelToken()):
        assert signal.getsignal(signal.SIGINT) is not before[0]
    assert (signal.getsignal(signal.SIGINT), signal.getsignal(signal.SIGTERM)) == before


def test_outside_the_main_thread_signals_are_left_alone() -> None:
    seen: list[object] = []

    def work() -> None:
        with Signals(CancelToken()):
            seen.append(signal.getsignal(signal.SIGTERM))

    thread = threading.Thread(target=work)
    thread.start()
    thread.join()
    assert seen == [signal.getsignal(signal.SIGTERM)]


@pytest.mark.skipif(not hasattr(signal, "SIGUSR1"), reason="Windows has no such signals")
def test_a_run_draws_and_saves_when_it_is_asked_to(toy_base: Path, photos_folder: Path, tmp_path: Path) -> None:
    told: list[Event] = []

    def ask(event: Event) -> None:
        told.append(event)
        if event.kind == "step" and event.data["step"] == 2:
            os.kill(os.getpid(), signal.SIGUSR1)
            os.kill(os.getpid(), signal.SIGUSR2)

    asked = {"photos": [photos_folder], "noun": "dog", "base": str(toy_base), "out": tmp_path / "rex"}
    train(RunConfig.model_validate(asked | {"settings": {"steps": 4}, "checkpoint_every": 0}), listeners=[ask])
    assert [e.data["step"] for e in told if e.kind == "preview"] == [2]
    assert [e.data["step"] for e in told if e.kind == "checkpoint"] == [2]
