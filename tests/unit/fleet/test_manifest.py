"""Manifests: what a line and a column mean, and what is told of those that make no sense."""

from __future__ import annotations

from pathlib import Path

import pytest

from booth.core.errors import BadDataError, UsageError
from booth.fleet.manifest import read_manifest


def manifest(folder: Path, text: str) -> Path:
    file = folder / "manifest.csv"
    file.write_text(text)
    return file


def test_columns_are_fields_of_a_run_or_settings_of_its_method(tmp_path: Path) -> None:
    file = manifest(
        tmp_path,
        "photos,class,token,method,seed,steps,rank,optimizer.beta1,flip\n"
        "rex,dog,007,lora,3,40,8,0.95,true\n"
        "photos/tom;more/tom,cat,,textual_inversion,,,,,\n",
    )
    first, second = read_manifest(file)
    assert (first.subject, first.config.token, first.config.seed, first.config.flip) == ("rex", "007", 3, True)
    assert first.config.photos == [tmp_path / "rex"]
    assert first.config.settings == {"steps": 40, "rank": 8, "options": {"optimizer": {"beta1": 0.95}}}
    assert second.config.photos == [tmp_path / "photos/tom", tmp_path / "more/tom"]
    assert (second.config.method, second.config.token) == ("textual_inversion", "sks")


def test_a_line_wins_over_assignments_and_those_over_the_file(tmp_path: Path) -> None:
    defaults = tmp_path / "defaults.toml"
    defaults.write_text('class = "dog"\nseed = 1\n[settings]\nsteps = 10\nrank = 2\n')
    file = manifest(tmp_path, "photos,steps\na,\nb,30\n")
    a, b = read_manifest(file, defaults, {}, ["steps=20"])
    assert [e.config.settings for e in (a, b)] == [{"steps": 20, "rank": 2}, {"steps": 30, "rank": 2}]
    assert {(e.config.noun, e.config.seed) for e in (a, b)} == {("dog", 1)}


def test_a_folder_of_folders_is_a_manifest(tmp_path: Path) -> None:
    for name in ("tom", "rex", ".hidden"):
        (tmp_path / "all" / name).mkdir(parents=True)
    entries = read_manifest(tmp_path / "all", None, {"noun": "pet"})
    assert [(e.subject, e.config.photos) for e in entries] == [
        ("rex", [tmp_path / "all/rex"]),
        ("tom", [tmp_path / "all/tom"]),
    ]


def test_another_subject_of_a_run_is_found_from_the_manifest(tmp_path: Path) -> None:
    file = manifest(tmp_path, "photos,class,also\nrex,dog,toms=zwx cat\n")
    (entry,) = read_manifest(file)
    assert entry.sources == [[tmp_path / "rex"], [tmp_path / "toms"]]


def test_every_line_that_makes_no_sense_is_told_at_once(tmp_path: Path) -> None:
    file = manifest(
        tmp_path,
        "photos,class,name,rank,out\n"
        "rex,dog,,-3,\n"
        ",dog,,,\n"
        "tom,cat,../tom,,\n"
        "ann,cat,,,there\n"
        "bob,dog,,4,\n"
        "bob,dog,,4,\n"
        "eve,dog,,4,,,,\n",
    )
    with pytest.raises(BadDataError) as error:
        read_manifest(file)
    told = str(error.value)
    assert "nothing was begun" in told
    for line, why in ((2, "rank=-3"), (3, "names no photos"), (4, "'../tom'"), (5, "out has no place")):
        assert f"line {line}: " in told
        assert why in told
    assert "line 7: asks for the very run of line 6" in told
    assert "line 8: has more cells than there are columns" in told
    assert "line 6:" not in told


def test_a_home_of_nobody_is_a_name_like_any_other(tmp_path: Path) -> None:
    (entry,) = read_manifest(manifest(tmp_path, "photos,class\n~nobody-here/rex,dog\n"))
    assert entry.config.photos == [tmp_path / "~nobody-here" / "rex"]


@pytest.mark.parametrize(
    ("text", "why"),
    [("", "asks for nothing"), ("photos,class\n", "asks for nothing"), ("a,b\n1,2\n", "no column `photos`")],
)
def test_a_table_without_runs_is_refused(tmp_path: Path, text: str, why: str) -> None:
    with pytest.raises(BadDataError, match=why):
        read_manifest(manifest(tmp_path, text))


def test_an_unknown_column_names_the_nearest(tmp_path: Path) -> None:
    with pytest.raises(BadDataError, match=r"'stepz'.*[Dd]id you mean 'steps'"):
        read_manifest(manifest(tmp_path, "photos,class,stepz\na,dog,3\n"))


def test_a_fleet_decides_where_concepts_go(tmp_path: Path) -> None:
    defaults = tmp_path / "defaults.toml"
    defaults.write_text('class = "dog"\nout = "here"\n')
    with pytest.raises((BadDataError, UsageError), match="out and resume have no place"):
        read_manifest(manifest(tmp_path, "photos\na\n"), defaults)
