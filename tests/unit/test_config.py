"""The schema of a run."""

from pathlib import Path
from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st

from booth.config import RunConfig
from booth.config.assignments import parse_assignment
from booth.config.loading import load_run_config
from booth.config.settings import method_config
from booth.core.errors import UsageError
from booth.registry import METHODS

RUN = {"photos": ["a"], "noun": "dog"}


@pytest.mark.parametrize(
    ("text", "value"),
    [
        ("rank=8", 8),
        ("learning_rate=1e-4", 1e-4),
        ("flip=true", True),
        ("flip=False", False),
        ("ema=none", None),
        ("optimizer=prodigy", "prodigy"),
        ("out=a b", "a b"),
        ('targets=["attention"]', ["attention"]),
        ("init_word = dog = cat", "dog = cat"),
    ],
)
def test_assignments_are_read_as_what_they_look_like(text: str, value: object) -> None:
    assert parse_assignment(text)[1] == value


@given(st.text())
def test_any_assignment_is_read_or_refused(text: str) -> None:
    try:
        key, _ = parse_assignment(text)
    except UsageError:
        return
    assert key


def test_a_style_needs_no_noun_and_a_subject_does() -> None:
    assert load_run_config(None, {"photos": ["a"], "kind": "style"}).noun == "style"
    assert load_run_config(None, {"photos": ["a"], "kind": "style", "noun": "watercolour"}).noun == "watercolour"
    with pytest.raises(UsageError, match="`noun` is missing"):
        load_run_config(None, {"photos": ["a"]})


def test_another_subject_is_a_folder_a_token_and_a_noun() -> None:
    config = load_run_config(
        None, RUN | {"also": ["my=cats = zwx stuffed cat", {"photos": ["b"], "token": "t", "noun": "n"}]}
    )
    first, second = config.also
    assert (first.photos, first.token, first.noun) == ([Path("my=cats")], "zwx", "stuffed cat")
    assert second.photos == [Path("b")]


@pytest.mark.parametrize("line", ["cats", "cats=zwx", "=zwx cat", "cats=cat cat"])
def test_a_line_that_names_no_other_subject_is_refused(line: str) -> None:
    with pytest.raises(UsageError, match=r"FOLDER=TOKEN NOUN|both 'cat'"):
        load_run_config(None, RUN | {"also": [line]})


def test_later_sources_win(tmp_path: Path) -> None:
    file = tmp_path / "run.toml"
    file.write_text('photos = "a"\nclass = "cat"\nseed = 1\ntoken = "zwx"\n[settings]\nrank = 2\nsteps = 2\n')
    config = load_run_config(
        file, {"seed": 3, "noun": None, "settings": {"steps": 4}}, ["seed=2", "rank=3", "token=pll"]
    )
    assert (config.photos, config.noun, config.seed, config.token) == ([Path("a")], "cat", 3, "pll")
    assert config.settings == {"rank": 3, "steps": 4}


def test_the_class_in_a_file_gives_way_to_assignments_and_options(tmp_path: Path) -> None:
    file = tmp_path / "run.toml"
    file.write_text('photos = "a"\nclass = "cat"\n')
    assert load_run_config(file, {}).noun == "cat"
    assert load_run_config(file, {}, ["noun=dog"]).noun == "dog"
    assert load_run_config(file, {}, ["class=dog"]).noun == "dog"
    assert load_run_config(file, {"noun": "fox"}, ["class=dog"]).noun == "fox"
    assert load_run_config(file, {"class": "fox"}).noun == "fox"


@pytest.mark.parametrize(
    ("assignment", "told"),
    [
        ("settings=3", "table.*`rank=8`"),
        (f"seed={2**63}", "less than"),
        ("seed=-1", "greater than or equal to 0"),
    ],
)
def test_a_wrong_assignment_is_a_usage_error_in_plain_words(assignment: str, told: str) -> None:
    with pytest.raises(UsageError, match=told):
        load_run_config(None, RUN, [assignment, "rank=8"])


@pytest.mark.parametrize("method", ["controlnet", "lora"])
def test_an_option_of_the_run_among_a_methods_settings_is_told_where_it_stands(method: str) -> None:
    near = [("start", "start_from")] if method == "controlnet" else []
    for key, place in (*near, ("start_from", "start_from"), ("resolution", "resolution")):
        with pytest.raises(UsageError, match=f"Did you mean `{place}`, which stands beside the method's settings"):
            load_run_config(None, RUN | {"method": method, "settings": {key: "x"}})
    with pytest.raises(UsageError, match="Did you mean 'start_from'"):
        load_run_config(None, RUN | {"method": method, "start": "x"})


def test_all_that_is_wrong_is_told_at_once_and_with_its_field() -> None:
    wrong = {"seed": -1, "resolution": 0, "colour": "red", "settings": {"rank": 0, "lerning_rate": 1, "steps": 2}}
    with pytest.raises(UsageError) as caught:
        load_run_config(None, RUN | wrong, ["=3"])
    told = {problem.field: (problem.code, problem.advice) for problem in caught.value.problems}
    assert told["settings"] == ("setting.unreadable", "Write key=value, such as `rank=8`.")
    assert told["colour"][0] == told["settings.lerning_rate"][0] == "setting.unknown"
    assert told["settings.lerning_rate"][1] == "Did you mean 'learning_rate'?"
    assert told["settings.rank"][0] == told["seed"][0] == told["resolution"][0] == "setting.invalid"
    assert told["seed"][1] == "seed is: decides all randomness of the run."
    assert len(told) == 6
    assert all(str(problem) in str(caught.value) for problem in caught.value.problems)


def test_an_unknown_method_is_told_beside_the_rest() -> None:
    with pytest.raises(UsageError) as caught:
        load_run_config(None, RUN | {"method": "lroa", "seed": -1})
    assert {problem.field for problem in caught.value.problems} == {"method", "seed"}


@pytest.mark.parametrize(
    ("content", "told"),
    [
        ('nuon = "dog"', "Did you mean 'noun'"),
        ("seed = -1", "greater than or equal to 0"),
        ("settings = 3", "must be a table"),
        ("seed = = 1", "not valid TOML"),
        ("[settings]\nstpes = 3", "Did you mean 'steps'"),
        ("[settings]\nlearning_rate = 'high'", "learning_rate is: peak learning rate"),
    ],
)
def test_a_wrong_file_is_a_usage_error_in_plain_words(tmp_path: Path, content: str, told: str) -> None:
    file = tmp_path / "run.toml"
    file.write_text(content)
    with pytest.raises(UsageError, match=told):
        load_run_config(file, RUN)


@pytest.mark.parametrize("method", METHODS)
@pytest.mark.parametrize("scale", ["tiny", "full"])
def test_settings_overlay_the_defaults_of_the_method(method: str, scale: str) -> None:
    defaults = METHODS[method].defaults(scale)
    config = method_config(method, scale, {"steps": 3})
    assert config.model_dump() == METHODS[method].Config(**(defaults | {"steps": 3})).model_dump()


def test_a_list_may_be_written_with_commas() -> None:
    config = method_config("lora", "tiny", dict([parse_assignment("targets=attention, feed_forward")]))
    assert config.model_dump()["targets"] == ("attention", "feed_forward")


def test_the_folder_names_subject_and_method() -> None:
    assert RunConfig(photos=[Path("a")], noun="stuffed animal").folder == Path("concepts/sks-stuffed-animal-lora")
    assert RunConfig(photos=[Path("a")], noun="dog", out=Path("x")).folder == Path("x")


def test_a_controlnet_can_do_without_a_subject() -> None:
    plain = load_run_config(None, {"photos": ["a"], "method": "controlnet"}, ["control=depth"])
    assert (plain.token, plain.noun, plain.folder) == ("", "", Path("concepts/depth-controlnet"))
    named = load_run_config(None, {**RUN, "method": "controlnet"})
    assert (named.token, named.noun, named.folder) == ("sks", "dog", Path("concepts/sks-dog-controlnet"))


@pytest.mark.parametrize("settings", [5, True, "rank=8", ["rank"], 0.5])
def test_settings_that_are_no_table_are_refused_from_python_too(settings: Any) -> None:
    with pytest.raises(UsageError, match="is no table"):
        load_run_config(None, {**RUN, "settings": settings})
    with pytest.raises(UsageError, match="no table of tables"):
        load_run_config(None, {**RUN}, [f"options={settings!r}", "optimizer.beta1=0.9"])


def test_settings_that_are_not_given_are_those_of_the_method() -> None:
    assert load_run_config(None, {**RUN, "settings": None}).settings == {}
