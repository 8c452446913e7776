"""A base that is held through many uses."""

from __future__ import annotations

from pathlib import Path

import pytest
import torch

from booth import session as sessions
from booth.choices import noising_of
from booth.core.errors import UsageError
from booth.core.method import MethodConfig
from booth.families.loading import load_family
from booth.session import Session
from harness import tensors


def test_it_is_loaded_once_when_it_is_asked_for(toy_base: Path) -> None:
    with Session(str(toy_base)) as session:
        assert session.loads == 0
        with session.model() as first, session.model() as inner:
            assert inner is first
        with session.model() as second:
            assert second is first
        assert session.loads == 1
        assert session.hash.startswith("sha256:")
    with session.model() as third:
        assert third is not first
    assert session.loads == 2


def test_what_a_borrower_set_is_as_before(toy_base: Path) -> None:
    with Session(str(toy_base)) as session:
        with session.model() as model:
            model.resolution = 16
            model.noising = noising_of(model, MethodConfig(min_snr_gamma=5.0))
            model.remember_embeddings(True)
            model.free(["vae"])
        with session.model() as model:
            assert model.resolution == 32
            assert type(model.noising) is type(model.make_noising())
            assert vars(model.noising).get("weighting") == vars(model.make_noising()).get("weighting")
            assert not model.embed_ahead(["a dog"])
            assert model.freed == set()


def test_in_another_precision_it_is_read_again_but_not_under_a_borrower(toy_base: Path) -> None:
    with Session(str(toy_base)) as session:
        with session.model(torch.bfloat16) as half:
            assert next(half.components()["unet"].parameters()).dtype == torch.bfloat16
            with pytest.raises(UsageError, match="in use in another precision"), session.model():
                pytest.fail("both cannot be held")
        with session.model() as full:
            assert next(full.components()["unet"].parameters()).dtype == torch.float32
        assert session.loads == 2


def test_another_base_device_or_family_is_refused(toy_base: Path, tmp_path: Path) -> None:
    session = Session(str(toy_base))
    session.require(str(toy_base), "cpu", "stable_diffusion")
    with pytest.raises(UsageError, match="not 'embedded'"):
        session.require("embedded", "cpu")
    with pytest.raises(UsageError, match="is on cpu, not on cuda"):
        session.require(str(toy_base), "cuda")
    with pytest.raises(UsageError, match="Leave `family` out"):
        session.require(str(toy_base), "cpu", "flux")


@pytest.mark.parametrize("method", ["lora", "word", "tuned"])
def test_a_concept_draws_again_without_loading_and_leaves_the_base_as_it_was(
    toy_base: Path, request: pytest.FixtureRequest, method: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    concept = request.getfixturevalue(method)
    monkeypatch.setattr(sessions, "_latest", [])
    how = {"seed": 3, "steps": 1}
    first = concept.generate("a dog", **how)[0].tobytes()
    assert concept.generate("a dog", **how)[0].tobytes() == first
    held = sessions.latest(str(toy_base))
    assert held.loads == 1
    fresh = tensors(load_family(str(toy_base)))
    with held.model() as model:
        now = tensors(model)
        assert now.keys() == fresh.keys()
        assert all(torch.equal(now[name], fresh[name]) for name in fresh)
    with Session(str(toy_base)) as own:
        assert concept.generate("a dog", **how, session=own)[0].tobytes() == first
        assert (own.loads, held.loads) == (1, 1)
