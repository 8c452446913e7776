"""Errors: one message, the right exit code, no traceback."""

import errno
import json
import os
import signal
from typing import Annotated

import pytest
import typer
from told import last_object
from typer.testing import CliRunner

from booth.cli.app import app
from booth.cli.guard import guarded
from booth.core import errors
from booth.core.errors import BoothError, Interrupted, UsageError, together


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
    code, out, err = leave(kind("It broke.", "Mend it.", code="it.broke"), capsys)
    assert code == kind.exit_code
    assert err == "booth: It broke. Mend it.\n"
    values = {"field": None, "code": "it.broke", "sentence": "It broke.", "advice": "Mend it.", "option": None}
    told = {"error": "It broke. Mend it.", "exit_code": code, **values, "problems": [values]}
    assert json.loads(out) == told


def test_fields_are_told_as_the_options_of_the_verb(capsys) -> None:
    def verb(
        noun: Annotated[str, typer.Option("--class")] = "",
        photos: Annotated[str, typer.Argument()] = "",
        preview_every: Annotated[int, typer.Option()] = 0,
        assignments: Annotated[str, typer.Option("--set")] = "",
        as_json: bool = True,
    ) -> None:
        told = (
            "Give `noun`, `photos`, `previews=3`, a lower `learning_rate` and `rank=4`; not `pose`, `ls` or `no thing`."
        )
        raise UsageError("It broke.", told, field="settings.rank")

    with pytest.raises(SystemExit):
        guarded(verb)(as_json=True)
    out, err = capsys.readouterr()
    assert err == (
        "booth: It broke. Give --class, PHOTOS, --preview-every 3, a lower --set learning_rate and --set rank=4; "
        "not `pose`, `ls` or `no thing`.\n"
    )
    assert json.loads(out)["option"] == "--set rank"


def test_the_option_at_fault_stands_behind_a_message_that_does_not_name_it(capsys) -> None:
    def verb(noun: Annotated[str, typer.Option("--class")] = "", as_json: bool = True) -> None:
        raise together([UsageError("It broke.", field="noun"), BoothError("That too.", field="out")])

    with pytest.raises(SystemExit) as leaving:
        guarded(verb)(as_json=True)
    out, err = capsys.readouterr()
    assert leaving.value.code == UsageError.exit_code
    assert err == "booth: It broke. (--class)\nbooth: That too.\n"
    assert [(p["field"], p["option"]) for p in json.loads(out)["problems"]] == [("noun", "--class"), ("out", None)]


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


@pytest.mark.parametrize("number", [errno.EIO, errno.EROFS])
def test_a_disk_that_fails_is_no_defect_of_ours(number: int, capsys) -> None:
    code, _, err = leave(OSError(number, os.strerror(number)), capsys)
    assert code == 1
    assert err.startswith(f"booth: The disk cannot be read or written: {os.strerror(number)}.")
    assert "defect" not in err
