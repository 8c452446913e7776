"""What long work tells, and who hears it."""

from __future__ import annotations

import json
import os
import subprocess
import sys
from pathlib import Path

import pytest

from booth.core.cancel import CancelToken, cancellable, check_cancelled
from booth.core.errors import Cancelled
from booth.core.process import is_running, process_started, this_process
from booth.events import Event, EventLog, Reporter, read_events


def test_several_listeners_hear_the_same(tmp_path: Path) -> None:
    one: list[Event] = []
    two: list[Event] = []
    reporter = Reporter([one.append, two.append])
    reporter.begin("training", 3, 10)
    reporter.emit("step", "debug", loss=0.5)
    reporter.warn("Mind the gap.")
    assert one == two
    assert [(e.kind, e.level, e.phase, e.done, e.total) for e in one] == [
        ("phase", "info", "training", 3, 10),
        ("step", "debug", "training", 3, 10),
        ("message", "warning", "training", 3, 10),
    ]
    assert (one[1].data["loss"], one[2].text) == (0.5, "Mind the gap.")


def test_a_phase_within_another_gives_its_place_back() -> None:
    heard: list[Event] = []
    reporter = Reporter([heard.append])
    reporter.begin("training", 3, 10)
    with reporter.within("preview", 2):
        reporter.progress(1)
    assert [(e.phase, e.done, e.total) for e in heard] == [
        ("training", 3, 10),
        ("preview", 0, 2),
        ("preview", 1, 2),
        ("training", 3, 10),
    ]
    with pytest.raises(ZeroDivisionError), reporter.within("scoring"):
        _ = 1 / 0
    assert (reporter.phase, reporter.done, reporter.total) == ("training", 3, 10)


def test_the_log_reads_back_and_survives_a_torn_line(tmp_path: Path) -> None:
    file = tmp_path / "events.jsonl"
    log = EventLog(file)
    reporter = Reporter([log])
    reporter.emit("step", loss=float("nan"), where=tmp_path, nested={"norm": float("inf")})
    log.close()
    with file.open("a") as torn:
        torn.write('{"kind": "st')
    again = EventLog(file)
    again(Event("message", data={"text": "Ä"}))
    again.close()
    found = list(read_events(file))
    assert [e.kind for e in found] == ["step", "message"]
    assert found[0].data == {"loss": None, "where": str(tmp_path), "nested": {"norm": None}}
    assert found[1].text == "Ä"
    assert all(json.loads(line, parse_constant=pytest.fail) for line in file.read_text().splitlines()[:1])
    first = len(file.read_bytes().splitlines(keepends=True)[0])
    assert [e.kind for e in read_events(file, first)] == ["message"]


@pytest.mark.skipif(sys.platform == "win32", reason="no limit of a file's size there")
def test_a_line_of_which_a_full_disk_took_a_part_spoils_no_other(tmp_path: Path) -> None:
    import resource

    file = tmp_path / "events.jsonl"
    log = EventLog(file)
    log(Event("message", data={"text": "before"}))
    former = resource.getrlimit(resource.RLIMIT_FSIZE)
    resource.setrlimit(resource.RLIMIT_FSIZE, (file.stat().st_size + 10, former[1]))
    try:
        log(Event("message", data={"text": "torn"}))
    finally:
        resource.setrlimit(resource.RLIMIT_FSIZE, former)
    log(Event("message", data={"text": "after"}))
    log.close()
    assert [e.text for e in read_events(file)] == ["before", "after"]


def test_a_token_is_looked_at_wherever_something_is_drawn() -> None:
    token = CancelToken()
    check_cancelled()
    with cancellable(token):
        check_cancelled()
        token.cancel("Enough.")
        token.cancel("The first reason counts.")
        with pytest.raises(Cancelled, match=r"Enough\."):
            check_cancelled()
    check_cancelled()
    assert not isinstance(Cancelled("x"), Exception | KeyboardInterrupt)


def test_progress_is_a_place_to_be_cancelled_at() -> None:
    token = CancelToken()
    reporter = Reporter([], token)
    reporter.progress(1)
    token.cancel()
    with pytest.raises(Cancelled):
        reporter.progress(2)


def test_a_process_is_told_from_a_later_one_of_its_number() -> None:
    mine = this_process()
    assert is_running(mine)
    assert not is_running(mine | {"started": "another time"})
    assert is_running(mine | {"host": "elsewhere", "started": "another time"})  # nobody can tell from here
    with subprocess.Popen([sys.executable, "-c", "input()"], stdin=subprocess.PIPE) as other:
        started = process_started(other.pid)
        assert started is not None
        assert started != mine["started"]
        other.communicate(b"\n")
    assert process_started(other.pid) is None
    assert mine["pid"] == os.getpid()
