"""The command line run within the test's process."""

from __future__ import annotations

from collections.abc import Callable

import pytest
from typer.testing import CliRunner, Result

from booth.cli.app import app

Booth = Callable[..., Result]


@pytest.fixture
def booth_cli(monkeypatch: pytest.MonkeyPatch, tmp_path) -> Booth:
    """`booth WORDS...`, in an empty folder with a cache of its own."""
    monkeypatch.setenv("BOOTH_CACHE", str(tmp_path / "cache"))
    monkeypatch.setenv("COLUMNS", "200")
    (tmp_path / "here").mkdir()
    monkeypatch.chdir(tmp_path / "here")

    def run(*words: object) -> Result:
        return CliRunner().invoke(app, [str(word) for word in words])

    return run
