"""The Stable Diffusion family against straight-line diffusers code that shares none of ours."""

from __future__ import annotations

import json
from pathlib import Path

import pytest
import torch
from diffusers import DDPMScheduler, StableDiffusionPipeline
from diffusers.models.attention_processor import Attention
from safetensors.torch import load_file

from booth.core.errors import BadDataError, UsageError
from booth.core.family import Family
from booth.core.rng import Rng
from booth.families.loading import load_family
from booth.families.unet import SCHEDULERS
from booth.testing.toy import write_toy_base
from harness import draw

PROMPTS = ["a photo of sks dog", "a cat on the beach", ""]


@pytest.fixture
def plain(toy_base: Path) -> StableDiffusionPipeline:
    """The same base opened by diffusers alone."""
    return StableDiffusionPipeline.from_pretrained(toy_base)


def test_embedding_equals_the_pipelines(toy: Family, plain: StableDiffusionPipeline):
    tokens, _ = plain.encode_prompt(PROMPTS, "cpu", 1, False)
    assert torch.equal(toy.embed(PROMPTS).tokens, tokens)


def test_remembered_embeddings_equal_fresh_ones(toy: Family):
    fresh = toy.embed(PROMPTS).tokens
    toy.remember_embeddings(True)
    first, second = toy.embed(PROMPTS).tokens, toy.embed(PROMPTS[::-1]).tokens
    assert torch.allclose(first, fresh, atol=1e-6)  # one prompt at a time sums in another order
    assert torch.equal(second, first.flip(0))


def test_the_oldest_embeddings_are_forgotten_first(toy: Family, monkeypatch: pytest.MonkeyPatch):
    embedded: list[str] = []
    embed = toy.embed_prompts
    monkeypatch.setattr(toy, "embed_prompts", lambda prompts: embedded.extend(prompts) or embed(prompts))
    toy.remember_embeddings(True, most=2)
    for prompts in (["a", "b"], ["c"], ["b", "c"], ["a"]):
        toy.embed(prompts)
    assert embedded == ["a", "b", "c", "a"]
    toy.embed(["d", "e", "f", "d"])  # more than are kept
    assert embedded[4:] == ["d", "e", "f"]


@pytest.mark.parametrize(("factor", "shift"), [(1.0, None), (0.18215, None), (0.5, 0.25)])
def test_encoding_equals_the_autoencoders_and_scales(
    toy: Family, plain: StableDiffusionPipeline, factor: float, shift: float | None
):
    toy.components()["vae"].register_to_config(scaling_factor=factor, shift_factor=shift)
    pixels = torch.rand(2, 3, 32, 32, generator=torch.Generator().manual_seed(0)) * 2 - 1
    posterior = toy.encode(pixels)
    with torch.no_grad():
        dist = plain.vae.encode(pixels).latent_dist
    noise = torch.randn(2, 4, 8, 8, generator=torch.Generator().manual_seed(1))
    drawn = dist.sample(torch.Generator().manual_seed(1))
    assert torch.allclose(posterior.sample(noise), (drawn - (shift or 0)) * factor, atol=1e-6)
    assert torch.allclose(posterior.mean, (dist.mode() - (shift or 0)) * factor, atol=1e-6)


def test_prediction_equals_the_unets(toy: Family, plain: StableDiffusionPipeline):
    x, t = torch.randn(3, 4, 8, 8, generator=torch.Generator().manual_seed(0)), torch.tensor([0, 500, 999])
    with torch.no_grad():
        tokens = plain.encode_prompt(PROMPTS, "cpu", 1, False)[0]
        expected = plain.unet(x, t, encoder_hidden_states=tokens).sample
        assert torch.equal(toy.predict(x, t, toy.embed(PROMPTS)), expected)


@pytest.mark.parametrize("kind", ["epsilon", "v_prediction"])
def test_noising_equals_the_schedulers_at_every_timestep(tmp_path: Path, kind: str):
    model = load_family(str(write_toy_base(tmp_path / "base", kind)))
    scheduler = DDPMScheduler.from_pretrained(tmp_path / "base" / "scheduler")
    count = scheduler.config.num_train_timesteps
    noising = model.make_noising()
    noising.timesteps = lambda rng, size: (torch.arange(size) + 0.5) / size
    latents, rng = torch.randn(count, 1, 2, 2, generator=torch.Generator().manual_seed(0)), Rng(1)
    noised = noising.sample(latents, rng)
    noise = rng.normal("noise", latents)
    assert torch.equal(noised.t, torch.arange(count))
    assert torch.allclose(noised.x_t, scheduler.add_noise(latents, noise, noised.t), atol=1e-5)
    target = noise if kind == "epsilon" else scheduler.get_velocity(latents, noise, noised.t)
    assert torch.allclose(noised.target, target, atol=1e-5)


def test_another_kind_of_prediction_is_refused(tmp_path: Path):
    base = write_toy_base(tmp_path / "base")
    config = base / "scheduler" / "scheduler_config.json"
    config.write_text(json.dumps(json.loads(config.read_text()) | {"prediction_type": "sample"}))
    with pytest.raises(BadDataError, match="'sample'"):
        load_family(str(base))


@pytest.mark.parametrize("name", SCHEDULERS)
def test_the_pipeline_draws_with_every_scheduler_as_diffusers_does(
    toy: Family, plain: StableDiffusionPipeline, name: str
):
    options = {"pndm": {"skip_prk_steps": True}, "dpm++-sde": {"algorithm_type": "sde-dpmsolver++"}}.get(name, {})
    plain.scheduler = SCHEDULERS[name].from_config(plain.scheduler.config, **options)
    picture = draw(toy.pipeline(name))
    assert picture.shape == (1, 3, 32, 32)
    assert torch.equal(picture, draw(plain))


@pytest.mark.parametrize(
    ("entry", "how", "taken"),
    [
        (["diffusers", "EulerAncestralDiscreteScheduler"], {}, "euler-a"),
        (["diffusers", "DDIMScheduler"], {}, "ddim"),
        (["diffusers", "DPMSolverMultistepScheduler"], {}, "dpm++"),
        (["diffusers", "DPMSolverMultistepScheduler"], {"algorithm_type": "dpmsolver++"}, "dpm++"),
        (["diffusers", "DPMSolverMultistepScheduler"], {"algorithm_type": "sde-dpmsolver++"}, "dpm++-sde"),
        (["diffusers", "PNDMScheduler"], {"skip_prk_steps": True}, "ddim"),
        (["diffusers", "DDPMScheduler"], {}, "ddim"),
        (["diffusers", "EDMEulerScheduler"], {}, "ddim"),  # which is not offered
        ([None, None], {}, "ddim"),
        ([], {}, "ddim"),
        ("EulerDiscreteScheduler", {}, "ddim"),  # which is not how it is said
        (None, {}, "ddim"),
    ],
)
def test_a_base_is_drawn_by_its_own_scheduler_unless_that_is_superseded(
    tmp_path: Path, entry: object, how: dict[str, object], taken: str
):
    base = write_toy_base(tmp_path / "base")
    config = base / "scheduler" / "scheduler_config.json"
    config.write_text(json.dumps(json.loads(config.read_text()) | how))
    index = json.loads((base / "model_index.json").read_text())
    index["scheduler"] = entry
    (base / "model_index.json").write_text(json.dumps(index))
    model = load_family(str(base))
    assert model.sampler == taken
    assert isinstance(model.pipeline().scheduler, SCHEDULERS[taken])
    assert model.pipeline("dpm++").scheduler.config.algorithm_type == "dpmsolver++"


def test_an_unknown_scheduler_is_a_usage_error(toy: Family):
    with pytest.raises(UsageError, match=r"'magic'.*ddim"):
        toy.pipeline("magic")


def test_sites_are_where_the_modules_are(toy: Family):
    for name, site in toy.sites.linears.items():
        assert site.module is toy.components()[name]
        names = [n for n, m in site.module.named_modules() if isinstance(m, torch.nn.Linear | torch.nn.Conv2d)]
        for suffixes in site.groups.values():
            for suffix in suffixes:
                assert any(n == suffix or n.endswith("." + suffix) for n in names), suffix
    unet = toy.components()["unet"]
    assert toy.sites.denoiser is unet
    cross = {n for n, m in unet.named_modules() if isinstance(m, Attention) and m.is_cross_attention}
    assert set(toy.sites.cross_attention) == cross
    assert {a.name for a in toy.sites.attention} == {n for n, m in unet.named_modules() if isinstance(m, Attention)}
    for attention in toy.sites.attention:
        parts = unet.get_submodule(attention.name)
        assert unet.get_submodule(attention.key) is parts.to_k
        assert unet.get_submodule(attention.value) is parts.to_v
        assert attention.width == (32 if attention.name in cross else parts.to_q.in_features)
    (table,) = toy.sites.token_tables
    assert table.embedding() is toy.components()["text_encoder"].get_input_embeddings()
    assert table.embedding().weight.shape[1] == table.dim


def test_a_component_comes_back_in_float32_whatever_it_was_saved_as(toy: Family, tmp_path: Path):
    before = {n: t.clone() for n, t in toy.components()["unet"].state_dict().items()}
    toy.components()["unet"].half().save_pretrained(tmp_path / "unet")
    state = toy.read_component(tmp_path, "unet")
    assert state.keys() == before.keys()
    assert all(t.dtype == torch.float32 for t in state.values())
    assert all(torch.equal(t, before[n].half().float()) for n, t in state.items())


def test_a_missing_component_is_named(toy: Family, tmp_path: Path):
    with pytest.raises(BadDataError, match=r"text_encoder holds no \.safetensors"):
        toy.read_component(tmp_path, "text_encoder")


def test_text_encoder_lora_keys_carry_the_name_that_older_loaders_know(toy: Family, tmp_path: Path):
    factors = {"encoder.layers.0.self_attn.q_proj.lora_A.weight": torch.ones(2, 32)}
    toy.write_lora(tmp_path, {"unet": {}, "text_encoder": factors}, {"text_encoder": {"r": 2}})
    (key,) = load_file(tmp_path / "pytorch_lora_weights.safetensors")
    assert key == "text_encoder.text_model.encoder.layers.0.self_attn.q_proj.lora_A.weight"
    assert toy.read_lora(tmp_path)["text_encoder"].keys() == factors.keys()
