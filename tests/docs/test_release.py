"""What a release asks: the changelog, the workflows, the checks of what is built, and the history of ratios."""

from __future__ import annotations

import json
import re
import zipfile
from pathlib import Path
from types import ModuleType
from typing import Any

import pytest
import yaml
from script_files import load

import booth

ROOT = Path(__file__).parent.parent.parent
CHANGELOG = (ROOT / "CHANGELOG.md").read_text(encoding="utf-8")
WORKFLOWS = sorted((ROOT / ".github" / "workflows").glob("*.yml"))
NOTES = (
    "# Changelog\n\n## [Unreleased]\n\n## [1.2.0] - 2026-01-31\n\n### Added\n\n- A thing.\n\n## [1.1.0] - 2026-01-01\n"
)


@pytest.fixture(scope="module")
def release() -> ModuleType:
    return load("check_release")


def test_the_changelog_tells_what_is_not_released_yet(release: ModuleType) -> None:
    kinds = re.findall(r"^### (.+)$", CHANGELOG, re.MULTILINE)
    assert set(kinds) <= {"Added", "Changed", "Deprecated", "Removed", "Fixed", "Security"}
    assert next(iter(release.sections(CHANGELOG))) == "Unreleased"


def test_the_version_is_semantic(release: ModuleType) -> None:
    assert release.SEMANTIC.fullmatch(booth.__version__)
    assert release.version_of((ROOT / "src" / "booth" / "__init__.py").read_text()) == booth.__version__


def test_a_release_is_its_tag_its_version_and_its_notes(release: ModuleType) -> None:
    assert release.problems("v1.2.0", "1.2.0", NOTES) == []
    assert release.sections(NOTES)["1.2.0"] == ("2026-01-31", "### Added\n\n- A thing.")


@pytest.mark.parametrize(
    ("tag", "version", "told"),
    [
        ("v1.2.1", "1.2.0", "tag v1.2.0"),
        ("v1.1.0", "1.1.0", "says nothing of 1.1.0"),
        ("v1.3.0", "1.3.0", "says nothing of 1.3.0"),
        ("v1.2", "1.2", "no semantic version"),
    ],
)
def test_what_keeps_a_release_is_told(release: ModuleType, tag: str, version: str, told: str) -> None:
    assert any(told in problem for problem in release.problems(tag, version, NOTES))


def test_a_wheel_that_cannot_be_published_is_told(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    check = load("check_dist")
    wheel = tmp_path / "booth-1.whl"
    with zipfile.ZipFile(wheel, "w") as archive:
        archive.writestr("booth/a.py", b"x" * 3000)
        archive.writestr("booth/w.safetensors", b"x" * 5000)
        archive.writestr("booth/b.pyc", b"x")
    whole = {"booth/a.py", "booth/w.safetensors", "booth/b.pyc"}
    assert check.problems_of_wheel(wheel, whole)[0] == []
    told, _ = check.problems_of_wheel(wheel, {"booth/a.py", "booth/w.safetensors", "booth/missing.json"})
    assert [t.split(" ", 1)[1] for t in told] == [
        "lacks booth/missing.json",
        "holds booth/b.pyc, which is not under version control",
    ]
    monkeypatch.setattr(check, "CODE_LIMIT", 3000)
    monkeypatch.setattr(check, "LIMIT", 8000)
    told, _ = check.problems_of_wheel(wheel, whole)
    assert len(told) == 2
    assert "the index takes" in told[0]
    assert "without its weights" in told[1]


def steps(workflow: Path) -> list[dict[str, Any]]:
    jobs = yaml.safe_load(workflow.read_text(encoding="utf-8"))["jobs"]
    return [step for job in jobs.values() for step in job["steps"]]


@pytest.mark.parametrize("workflow", WORKFLOWS, ids=lambda path: path.stem)
def test_workflows_name_actions_by_commit_and_commands_that_are_there(workflow: Path) -> None:
    makefile = (ROOT / "Makefile").read_text(encoding="utf-8")
    found = steps(workflow)
    for step in found:
        if used := step.get("uses"):
            assert re.fullmatch(r"[\w/-]+@[0-9a-f]{40}", used)
        for target in re.findall(r"\bmake ([\w-]+)", step.get("run", "")):
            assert re.search(rf"^{target}:", makefile, re.MULTILINE), target
        for script in re.findall(r"scripts/\w+\.py", step.get("run", "")):
            assert (ROOT / script).is_file()
    assert any(step.get("run") == ".ci/run" for step in found), "what the project is tested by"


def test_nothing_is_published_by_a_password() -> None:
    text = (ROOT / ".github" / "workflows" / "release.yml").read_text(encoding="utf-8")
    jobs = yaml.safe_load(text)["jobs"]
    assert jobs["publish"]["permissions"] == {"id-token": "write"}
    assert jobs["publish"]["needs"] == "build"
    assert "secrets." not in text


@pytest.mark.parametrize("form", sorted((ROOT / ".github" / "ISSUE_TEMPLATE").glob("*.yml")), ids=lambda p: p.stem)
def test_forms_are_forms(form: Path) -> None:
    content = yaml.safe_load(form.read_text(encoding="utf-8"))
    if form.stem != "config":
        assert content["name"]
        assert any(field.get("validations", {}).get("required") for field in content["body"])


def test_hooks_before_a_commit_run_what_is_installed() -> None:
    hooks = [
        h for repo in yaml.safe_load((ROOT / ".pre-commit-config.yaml").read_text())["repos"] for h in repo["hooks"]
    ]
    assert {hook["language"] for hook in hooks} == {"system"}
    assert {"ruff", "ruff-format"} <= {hook["id"] for hook in hooks}


@pytest.fixture(scope="module")
def history() -> ModuleType:
    return load("history", "benchmarks")


def test_a_ratio_that_got_worse_is_told(history: ModuleType) -> None:
    before = {"step beside LoRA's": {"dora": 1.0, "oft": 1.0}, "share of a step in the model": {"lora": 0.95}}
    told = list(history.regressions(before, {"step beside LoRA's": {"dora": 1.3, "oft": 1.1, "new": 9.0}}))
    assert len(told) == 1
    assert "dora: 1.3 where 1 was recorded, worse by 30%" in told[0]
    assert len(list(history.regressions(before, {"share of a step in the model": {"lora": 0.5}}))) == 1
    assert not list(history.regressions(before, {"share of a step in the model": {"lora": 1.0}}))


def test_what_is_recorded_is_what_is_compared_with(history: ModuleType, tmp_path: Path) -> None:
    history.record(tmp_path, {"step beside LoRA's": {"dora": 1.5, "oft": 1.25}})
    history.record(tmp_path, {"step beside LoRA's": {"dora": 2.0}})
    assert history.read_history(tmp_path) == {"step beside LoRA's": {"dora": 2.0, "oft": 1.25}}
    assert len(json.loads((tmp_path / "history.jsonl").read_text().splitlines()[0])["commit"]) == 40


def test_the_results_that_are_kept_are_no_worse_than_their_history(history: ModuleType) -> None:
    now = history.read_ratios(ROOT / "results")
    assert sum(map(len, now.values())) > 50
    assert set(now) == set(history.read_history(ROOT / "results")), "record with benchmarks/history.py --record"
    assert not list(history.regressions(history.read_history(ROOT / "results"), now))
