"""The locks cover pyproject.toml: every requirement has a version that it allows, with the hashes of its files."""

from __future__ import annotations

import re
import subprocess
import tomllib
from pathlib import Path

import pytest
from packaging.markers import Marker
from packaging.requirements import Requirement
from packaging.utils import canonicalize_name

ROOT = Path(__file__).parent.parent.parent
PROJECT = tomllib.loads((ROOT / "pyproject.toml").read_text(encoding="utf-8"))["project"]
LINUX = {"sys_platform": "linux", "platform_system": "Linux", "os_name": "posix", "platform_machine": "x86_64"}
PYTHONS = ["3.11", "3.12", "3.13"]


def pins(name: str) -> list[tuple[Requirement, list[str]]]:
    """Each pinned version of a lock, with its hashes."""
    text = re.sub(r"^#.*\n", "", (ROOT / name).read_text(encoding="utf-8"), flags=re.MULTILINE)
    lines = text.replace("\\\n", " ").splitlines()
    return [
        (Requirement(line.split(" --hash")[0]), re.findall(r"--hash=(\S+)", line)) for line in lines if line.strip()
    ]


def version_for(name: str, package: str, python: str) -> str | None:
    """The version that a lock gives to a package on Linux with a version of Python."""
    environment = LINUX | {"python_version": python, "python_full_version": f"{python}.5"}
    for pin, _ in pins(name):
        if canonicalize_name(pin.name) == canonicalize_name(package) and (
            pin.marker is None or pin.marker.evaluate(environment)
        ):
            (version,) = pin.specifier
            return version.version
    return None


EXTRAS = [line for lines in PROJECT["optional-dependencies"].values() for line in lines]
WANTED = [("requirements.lock", line) for line in PROJECT["dependencies"]]
WANTED += [("requirements-dev.lock", line) for line in [*PROJECT["dependencies"], *EXTRAS]]


@pytest.mark.parametrize("python", PYTHONS)
@pytest.mark.parametrize(("lock", "line"), WANTED)
def test_a_requirement_is_in_the_lock(lock: str, line: str, python: str) -> None:
    wanted = Requirement(line)
    if isinstance(wanted.marker, Marker) and not wanted.marker.evaluate(LINUX | {"python_version": python}):
        return
    locked = version_for(lock, wanted.name, python)
    assert locked is not None, f"{lock} lacks {line}: run `make lock`"
    assert wanted.specifier.contains(locked, prereleases=True), f"{lock} has {locked} for {line}: run `make lock`"


@pytest.mark.parametrize("lock", ["requirements.lock", "requirements-dev.lock"])
def test_a_lock_pins_by_hash_and_names_no_place(lock: str) -> None:
    found = pins(lock)
    assert len(found) > 20
    for pin, hashes in found:
        assert [s.operator for s in pin.specifier] == ["=="], pin
        assert pin.url is None
        assert hashes
        assert all(re.fullmatch(r"sha256:[0-9a-f]{64}", h) for h in hashes)
    assert "://" not in (ROOT / lock).read_text(encoding="utf-8")


def test_developers_have_the_versions_that_users_get() -> None:
    users, developers = ({str(pin) for pin, _ in pins(n)} for n in ("requirements.lock", "requirements-dev.lock"))
    assert {p.split(";")[0].strip() for p in users} <= {p.split(";")[0].strip() for p in developers}


def test_set_up_takes_every_version_of_the_lock(tmp_path: Path) -> None:
    """What the Makefile gives to pip, which is the lock without its hashes."""
    printed = subprocess.run(
        ["make", "-n", "-B", "setup", f"VENV={tmp_path}"], cwd=ROOT, capture_output=True, text=True
    )
    (line,) = [line for line in printed.stdout.splitlines() if line.startswith("sed ")]
    subprocess.run(["sh", "-c", line], cwd=ROOT, check=True)
    given = [Requirement(line) for line in (tmp_path / "versions.txt").read_text().splitlines()]
    assert [str(g) for g in given] == [str(pin) for pin, _ in pins("requirements-dev.lock")]
