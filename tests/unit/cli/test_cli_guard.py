"""Errors: one message, the right exit code, no traceback."""

import errno
import json
import signal

import pytest
from told import last_object
from typer.testing import CliRunner

from booth.cli.app import app
from booth.cli.guard import guarded
from booth.core import errors
from booth.core.errors import BoothError, Interrupted


def leave(error: BaseException, capsys: pytest.CaptureFixture[str], as_json: bool = True) -> tuple[int, str, str]:
    def verb(as_json: bool) -> None:
        raise error

    with pytest.raises(SystemExit) as leaving:
        guarded(verb)(as_json=as_json)
    out, err = capsys.readouterr()
    assert isinstance(leaving.value.code, int)
    return leaving.value.code, out, err


@pytest.mark.parametrize("kind", [BoothError, *BoothError.__subclasses__()])
def test_every_error_of_ours_leaves_with_its_own_code(kind: type[BoothError], capsys) -> None:
    code, out, err = leave(kind("It broke. Mend it."), capsys)
    assert code == kind.exit_code
    assert err == "booth: It broke. Mend it.\n"
    assert json.loads(out) == {"error": "It broke. Mend it.", "exit_code": code}


def test_exit_codes_are_all_different() -> None:
    codes = [code for code, _ in errors.exit_codes()]
    assert len(set(codes)) == len(codes)


@pytest.mark.parametrize(
    ("error", "code"),
    [
        (Interrupted("Stopped.", signal.SIGINT), 130),
        (Interrupted("Stopped.", signal.SIGTERM), 143),
        (KeyboardInterrupt(), 130),
        (MemoryError(), 71),
        (type("OutOfMemoryError", (RuntimeError,), {})("CUDA"), 71),
        (OSError(errno.ENOSPC, "No space left on device"), 74),
        (PermissionError(errno.EACCES, "Permission denied", "/x"), 1),
        (ValueError("what?"), 1),
    ],
)
def test_other_errors_have_a_code_too(error: BaseException, code: int, capsys) -> None:
    found, _, err = leave(error, capsys)
    assert found == code
    assert err.startswith("booth: ")
    assert "Traceback" not in err


def test_stdout_stays_empty_without_json(capsys) -> None:
    assert leave(BoothError("no"), capsys, as_json=False)[1] == ""


def test_a_defect_shows_its_traceback_when_asked(capsys, monkeypatch: pytest.MonkeyPatch) -> None:
    assert "BOOTH_DEBUG" in leave(ValueError("what?"), capsys)[2]
    monkeypatch.setenv("BOOTH_DEBUG", "1")
    assert "Traceback" in leave(ValueError("what?"), capsys)[2]


@pytest.mark.parametrize(
    ("words", "told"),
    [
        (["generate", "--json", "-n", "0", "x"], "Invalid value for '-n'"),
        (["world", "render", "-n", "0", "--json"], "Invalid value for '-n'"),
        (["generat", "--json"], "No such command 'generat'"),
        (["--none", "--json"], "No such option"),
    ],
)
def test_options_that_make_no_sense_are_told_as_json_too(words: list[str], told: str) -> None:
    result = CliRunner().invoke(app, words)
    error = last_object(result)
    assert (result.exit_code, error["exit_code"]) == (2, 2)
    assert told in error["error"]
    assert result.stderr.startswith("Usage: ")
    assert CliRunner().invoke(app, [word for word in words if word != "--json"]).stdout == ""
