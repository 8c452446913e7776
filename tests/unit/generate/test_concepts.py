"""One or several concepts on a base, with strength."""

import json
from dataclasses import replace
from pathlib import Path

import numpy as np
import pytest
from diffusers import StableDiffusionPipeline, UNet2DConditionModel

from booth.concept import Concept
from booth.core.errors import BadDataError, UsageError
from booth.core.family import Family
from booth.generate.concepts import Applied, advice_on_chosen_base, attached, common_base, parse_applied, require_base
from booth.generate.draw import draw
from booth.generate.run import Request, generate
from listening import texts


def picture(model: Family, prompt: str) -> np.ndarray:
    return np.asarray(draw(model, [prompt], [0], steps=2)[0]).astype(int)


def test_strength_goes_from_the_base_to_the_concept(toy: Family, lora: Concept) -> None:
    prompt = "a photo of sks dog"
    base = picture(toy, prompt)
    drawn = {}
    for strength in (0.0, 0.5, 1.0, None):
        with attached(toy, [Applied(lora, strength)]):
            drawn[strength] = picture(toy, prompt)
    assert np.array_equal(drawn[0.0], base)
    assert np.array_equal(drawn[1.0], drawn[None])
    assert np.abs(drawn[1.0] - base).sum() > np.abs(drawn[0.5] - base).sum() > 0


def test_afterwards_the_base_is_bare_again_even_after_an_error(toy: Family, lora: Concept, word: Concept) -> None:
    before = picture(toy, "a photo of zwx dog")
    with pytest.raises(RuntimeError, match="stop"), attached(toy, [Applied(lora), Applied(word)]):
        raise RuntimeError("stop")
    assert np.array_equal(picture(toy, "a photo of zwx dog"), before)


def test_two_concepts_both_act(toy: Family, lora: Concept, word: Concept) -> None:
    prompt = "a photo of sks dog and zwx dog"
    with attached(toy, [Applied(lora)]):
        one = picture(toy, prompt)
    with attached(toy, [Applied(lora), Applied(word)]):
        both = picture(toy, prompt)
    with attached(toy, [Applied(word), Applied(lora)]):
        swapped = picture(toy, prompt)
    assert not np.array_equal(one, both)
    assert np.array_equal(both, swapped)


def test_a_fine_tuned_denoiser_may_be_named_last(toy: Family, lora: Concept, tuned: Concept) -> None:
    with attached(toy, [Applied(lora, 0.5), Applied(tuned)]):
        both = picture(toy, "a photo of sks dog and ohwx dog")
    with attached(toy, [Applied(tuned)]):
        alone = picture(toy, "a photo of sks dog and ohwx dog")
    assert not np.array_equal(both, alone)


def test_two_fine_tuned_denoisers_do_not_fit_into_one_base(toy: Family, tuned: Concept, teach) -> None:
    other = teach("dreambooth", token="pll", prior_weight=0.0)
    before = picture(toy, "a dog")
    with (
        pytest.raises(UsageError, match="one DreamBooth concept at a time"),
        attached(toy, [Applied(tuned), Applied(other)]),
    ):
        pass
    assert np.array_equal(picture(toy, "a dog"), before)


def test_concepts_of_one_token_are_refused(toy: Family, lora: Concept, teach) -> None:
    twin = teach("textual_inversion", seed=1)
    with pytest.raises(UsageError, match="share the token 'sks'"), attached(toy, [Applied(lora), Applied(twin)]):
        pass


def test_strength_is_refused_where_the_method_has_none(toy: Family, word: Concept) -> None:
    before = picture(toy, "a dog")
    with pytest.raises(UsageError, match="no strength"), attached(toy, [Applied(word, 0.5)]):
        pass
    assert np.array_equal(picture(toy, "a dog"), before)


def test_as_it_was_taught_is_no_strength_to_refuse(toy: Family, word: Concept) -> None:
    with attached(toy, [Applied(word)]):
        as_taught = picture(toy, "a sks dog")
    with attached(toy, [Applied(word, 1.0)]):  # as the studio asks, for every method
        assert np.array_equal(picture(toy, "a sks dog"), as_taught)


def test_a_concept_is_read_with_its_strength(lora: Concept) -> None:
    assert parse_applied(f"{lora.folder}:0.8") == Applied(lora, 0.8)
    assert parse_applied(str(lora.folder)) == Applied(lora, None)
    for strength in ("strong", "nan", "inf"):
        with pytest.raises(UsageError, match="no strength"):
            parse_applied(f"{lora.folder}:{strength}")


def test_concepts_of_different_bases_are_refused(lora: Concept, word: Concept) -> None:
    elsewhere = word.record.base.model_copy(update={"name": "other", "hash": "sha256:0"})
    moved = replace(word, record=word.record.model_copy(update={"base": elsewhere}))
    with pytest.raises(UsageError, match="different bases"):
        common_base([Applied(lora), Applied(moved)])
    assert common_base([Applied(lora), Applied(word)]) == lora.record.base.name


def test_a_base_with_another_content_is_refused(lora: Concept) -> None:
    require_base([Applied(lora)], "toy", lora.record.base.hash)
    with pytest.raises(UsageError, match="was taught to another base"):
        require_base([Applied(lora)], "other", "sha256:0")


def test_a_related_base_is_warned_of_where_the_user_names_it(
    lora: Concept, tuned: Concept, toy_base: Path, tmp_path: Path
) -> None:
    pipe = StableDiffusionPipeline.from_pretrained(toy_base, safety_checker=None)
    pipe.unet = UNet2DConditionModel.from_config({**pipe.unet.config, "in_channels": 9})
    pipe.save_pretrained(tmp_path / "base")
    index = tmp_path / "base" / "model_index.json"
    index.write_text(json.dumps(json.loads(index.read_text()) | {"_class_name": "StableDiffusionInpaintPipeline"}))
    heard: list[str] = []
    request = Request(["a sks dog"], [Applied(lora)], base=str(tmp_path / "base"), steps=2)
    assert generate(request, tmp_path / "out", listeners=[texts(heard)]).images[0].is_file()
    assert len(heard) == 1
    assert heard[0].startswith(f"{lora.folder} was taught to")
    with pytest.raises(BadDataError, match="does not fit the unet"):
        generate(replace(request, concepts=[Applied(tuned)]), tmp_path / "out")
    heard.clear()
    generate(
        replace(request, base=str(toy_base)),
        tmp_path / "out",
        listeners=[texts(heard)],
    )
    assert not heard


def test_a_named_base_of_another_family_is_refused(lora: Concept) -> None:
    with pytest.raises(UsageError, match=r"was taught to .* \(stable_diffusion\), and 'x' is flux"):
        advice_on_chosen_base([Applied(lora)], "x", "flux", "sha256:0")


def test_the_python_way_draws_the_same(lora: Concept, toy: Family, tmp_path: Path) -> None:
    with attached(toy, [Applied(lora)]):
        ours = picture(toy, lora.record.prompt)
    assert np.array_equal(np.asarray(lora.generate(lora.record.prompt, seed=0, steps=2)[0]), ours)


def test_a_concept_of_an_earlier_embedded_base_says_what_to_do(lora: Concept, tmp_path: Path) -> None:
    taught = lora.record.base.model_copy(update={"name": "embedded", "hash": "sha256:0123456789"})
    earlier = replace(lora, record=lora.record.model_copy(update={"base": taught}))
    with pytest.raises(UsageError, match=r"base \(01234567\)") as refused:
        require_base([Applied(earlier)], "embedded", "sha256:abc")
    assert refused.value.code == "base.earlier_embedded"
    assert "booth reteach" in str(refused.value.advice)
