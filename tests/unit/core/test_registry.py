"""Names to classes: booth's own, those of plug-ins, those that are registered, and "module:Class"."""

from __future__ import annotations

import sys
from collections.abc import Iterator
from pathlib import Path

import pytest

import booth.core.registry as registries
from booth.core.errors import NotAvailableError, UsageError
from booth.core.objective import Weighting
from booth.core.registry import Plugin, Registry
from booth.registry import LOSSES, METHODS, WEIGHTINGS, family_of_pipeline, register
from booth.train.weightings.constant import Constant

GROUP = "booth.weightings"
MODULE = """
from booth.train.weightings.constant import Constant

class Twice(Constant):
    name = "twice"

class Misnamed(Constant):
    name = "another"

class Nothing:
    name = "nothing"
"""


@pytest.fixture
def brought(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Iterator[Registry[Weighting]]:
    """A registry of two own weightings, and packages that bring more; their module lies in a folder of the path."""
    folder = tmp_path / "site"
    folder.mkdir()
    (folder / "brought_weightings.py").write_text(MODULE)
    monkeypatch.syspath_prepend(str(folder))
    plugins = (
        Plugin("twice", "brought_weightings:Twice", "good"),
        Plugin("misnamed", "brought_weightings:Misnamed", "careless"),
        Plugin("broken", "brought_nowhere:Class", "broken"),
        Plugin("nothing", "brought_weightings:Nothing", "wrong"),
        Plugin("constant", "brought_weightings:Twice", "greedy"),
        Plugin("both", "brought_weightings:Twice", "one"),
        Plugin("both", "brought_weightings:Misnamed", "two"),
    )
    monkeypatch.setattr(registries, "installed", lambda: {GROUP: plugins})
    own = {n: f"booth.train.weightings.{n}:{c}" for n, c in {"constant": "Constant", "p2": "P2"}.items()}
    yield Registry("loss weighting", "booth.core.objective:Weighting", own, GROUP)
    sys.modules.pop("brought_weightings", None)


def test_plugins_follow_what_is_booths_own(brought: Registry[Weighting]) -> None:
    assert list(brought) == ["constant", "p2", "broken", "misnamed", "nothing", "twice"]
    assert len(brought) == 6
    assert "twice" in brought
    assert brought["twice"].name == "twice"
    assert brought["constant"] is Constant  # a package cannot take a name that booth has


def test_a_plugin_that_does_not_work_is_told_and_takes_nothing_with_it(brought: Registry[Weighting]) -> None:
    with pytest.raises(NotAvailableError, match=r"'broken' of the package broken.*brought_nowhere:Class.*constant, p2"):
        brought["broken"]
    with pytest.raises(UsageError, match=r"careless calls brought_weightings:Misnamed 'misnamed'.*itself 'another'"):
        brought["misnamed"]
    with pytest.raises(
        UsageError, match=r"of the package wrong is no loss weighting.*booth\.core\.objective\.Weighting"
    ):
        brought["nothing"]
    assert list(brought.usable()) == ["constant", "p2", "twice"]


def test_names_that_are_taken_are_conflicts(brought: Registry[Weighting]) -> None:
    assert {(p.name, p.package) for p in brought.conflicts} == {
        ("constant", "greedy"),
        ("both", "one"),
        ("both", "two"),
    }
    with pytest.raises(
        UsageError, match=r"one and two both bring a loss weighting called 'both'.*package\.module:Class"
    ):
        brought["both"]


def test_a_class_may_stand_for_a_name(brought: Registry[Weighting]) -> None:
    assert brought["brought_weightings:Twice"].name == "twice"
    with pytest.raises(UsageError, match="is no loss weighting"):
        brought["brought_weightings:Nothing"]
    for wrong in ("brought_weightings:None", "no_such_module:Twice", "pathlib:"):
        with pytest.raises((NotAvailableError, UsageError), match=wrong.partition(":")[0]):
            brought[wrong]


def test_an_unknown_name_names_the_nearest(brought: Registry[Weighting]) -> None:
    with pytest.raises(
        UsageError, match=r"no loss weighting called 'twic'\. Did you mean 'twice'\? There are: constant"
    ):
        brought["twic"]


def test_a_class_is_registered_under_its_name_and_again_when_a_cell_is_run_again(brought: Registry[Weighting]) -> None:
    def cell() -> type[Weighting]:
        class Half(Constant):
            name = "half"

        return Half

    first, second = cell(), cell()
    brought.register(first)
    assert brought["half"] is first
    brought.register(second)
    assert brought["half"] is second
    brought.register("brought_weightings:Twice", "by_path")
    assert brought["by_path"].name == "twice"
    for taken in ("constant", "twice"):
        with pytest.raises(UsageError, match=f"has the name '{taken}' already"):
            brought.register(second, taken)
    with pytest.raises(UsageError, match="give the class a `name`"):
        brought.register(type("Nameless", (), {}))  # type: ignore[arg-type]


def test_a_class_that_a_user_names_by_its_module_goes_by_its_own_name(brought: Registry[Weighting]) -> None:
    assert "another" not in brought
    kind = brought.named("brought_weightings:Misnamed")
    assert brought["another"] is kind is brought.named("brought_weightings:Misnamed")
    assert brought.named("brought_weightings:Twice").name == "twice"  # which a package brings under that name
    assert "another" not in brought.own


def test_register_finds_the_registry_by_what_a_class_derives_from(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(WEIGHTINGS, "_entries", dict(WEIGHTINGS._entries))

    @register
    class Third(Constant):
        name = "third"

    assert WEIGHTINGS["third"] is Third
    assert "third" not in LOSSES
    assert "third" not in WEIGHTINGS.own
    with pytest.raises(UsageError, match=r"int is nothing that can be registered.*booth\.core\.method\.Method"):
        register(int)


def test_a_record_imports_nothing_from_the_folder_one_stands_in(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """A concept that came with a module of the same name must not run it; what is installed or asked for may be."""
    here = tmp_path / "here"
    here.mkdir()
    (here / "came_along.py").write_text("raise SystemExit('code of a stranger ran')")
    monkeypatch.chdir(here)
    for entry in ("", str(here)):  # as a notebook and `python -m` have it
        with monkeypatch.context() as context:
            context.setattr(sys, "path", [entry, *sys.path])
            with pytest.raises(
                NotAvailableError, match=r"'came_along:Method' is not installed here.*import came_along"
            ):
                METHODS.recorded("came_along:Method")
    with pytest.raises(NotAvailableError, match="not installed"):
        METHODS.recorded("antigravity:Method")  # nor anything of Python's own
    (here / "asked_for.py").write_text("from booth.methods.lora import LoRA\nclass Mine(LoRA):\n    name = 'mine'\n")
    monkeypatch.syspath_prepend(str(here))
    monkeypatch.setenv("PYTHONPATH", str(here))
    assert METHODS.recorded("asked_for:Mine").name == "mine"
    assert METHODS.recorded("lora") is METHODS["lora"]


def test_the_family_of_a_plugin_is_known_by_its_pipelines(monkeypatch: pytest.MonkeyPatch) -> None:
    from booth.families.stable_diffusion import StableDiffusion
    from booth.registry import FAMILIES

    monkeypatch.setattr(FAMILIES, "_entries", dict(FAMILIES._entries))
    assert family_of_pipeline("NewPipeline") is None
    FAMILIES.register(type("New", (StableDiffusion,), {"name": "new", "pipelines": ("NewPipeline",)}))
    assert family_of_pipeline("NewPipeline") == "new"
    assert family_of_pipeline("StableDiffusionPipeline") == "stable_diffusion"
