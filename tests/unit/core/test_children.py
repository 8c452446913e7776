"""A Python process of our own runs nothing that lies in the folder it is started in."""

from __future__ import annotations

import ast
import os
import subprocess
from pathlib import Path

import pytest

from booth.core.children import environment, python

SOURCES = Path(__file__).parents[3] / "src" / "booth"


@pytest.mark.parametrize("path", [None, "", os.pathsep, ".", f"{{known}}{os.pathsep}", f"{os.pathsep}{{known}}"])
def test_a_file_in_the_folder_of_work_is_not_imported(
    path: str | None, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    known, here = tmp_path / "known", tmp_path / "here"
    for folder in (known, here):
        folder.mkdir()
    (here / "json.py").write_text("raise SystemExit(5)")
    (known / "found.py").write_text("import json; print(json.dumps(['found']))")
    monkeypatch.chdir(known)  # where this process is, which a "." is meant from
    monkeypatch.delenv("PYTHONPATH", raising=False)
    if path is not None:
        monkeypatch.setenv("PYTHONPATH", path.format(known=known))
    done = subprocess.run(
        python("found" if path and ("known" in path or path == ".") else "json.tool", "--help"),
        cwd=here, env=environment(), capture_output=True, text=True, check=False,
    )  # fmt: skip
    assert done.returncode == 0, done.stderr
    assert "found" in done.stdout or "json" in done.stdout


def test_what_is_kept_and_hidden(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("A_SECRET", "1")
    monkeypatch.setenv("A_WORD", "2")
    assert environment(["A_WORD"], MORE="3") == {"A_WORD": "2", "MORE": "3"}
    found = environment(hidden=["A_SECRET"])
    assert "A_SECRET" not in found
    assert found["A_WORD"] == "2"


@pytest.mark.essential
def test_nobody_else_starts_a_python() -> None:
    """Every command with this Python's name comes from the one place that knows what to leave out."""
    others = [
        str(file.relative_to(SOURCES))
        for file in SOURCES.rglob("*.py")
        for node in ast.walk(ast.parse(file.read_text(encoding="utf-8")))
        if isinstance(node, ast.Attribute) and node.attr == "executable"
    ]
    assert others == ["core/children.py"]
