"""Files of other trainers as concepts, drawn against diffusers' own loading of the same files."""

from __future__ import annotations

from pathlib import Path

import pytest
import torch
from diffusers import StableDiffusionPipeline
from safetensors.torch import load_file, save_file

from booth.concept import Concept
from booth.core.errors import BadDataError, UsageError
from booth.core.family import Family
from booth.export.parts import parts_of
from booth.export.run import export
from booth.generate.concepts import Applied, attached
from booth.importing.run import _steps, import_file
from harness import draw

PROMPT = "a photo of ukj dog"


def ours(model: Family, concept: Concept, prompt: str) -> torch.Tensor:
    with attached(model, [Applied(concept)]):
        return draw(model.pipeline(), prompt)


def foreign_lora(model: Family, file: Path) -> Path:
    """As kohya's scripts write it: attention, feed-forward and projections, ranks and alphas of every kind."""
    generator = torch.Generator().manual_seed(0)
    tensors: dict[str, torch.Tensor] = {}
    for name, module in model.components()["unet"].named_modules():
        if name.endswith(("attn2.to_k", "attn2.to_out.0", "ff.net.0.proj", "proj_in")) and "up_blocks" in name:
            rank = 2 if name.endswith("proj_in") else 4
            out, *inside = module.weight.shape
            key = "lora_unet_" + name.replace(".", "_")
            tensors[f"{key}.lora_down.weight"] = 0.3 * torch.randn(rank, *inside, generator=generator)
            tensors[f"{key}.lora_up.weight"] = 0.3 * torch.randn(out, rank, *[1] * len(inside[1:]), generator=generator)
            tensors[f"{key}.alpha"] = torch.tensor(float(rank) / 2)
    save_file(tensors, file, metadata={"modelspec.trigger_phrase": "ukj dog", "ss_steps": "77"})
    return file


@pytest.mark.essential
def test_a_foreign_lora_draws_what_diffusers_draws(toy: Family, toy_base: Path, here: Path):
    file = foreign_lora(toy, here / "rex.safetensors")
    bare = draw(toy.pipeline(), PROMPT)
    concept = import_file(file, base=str(toy_base))
    assert concept.folder == Path("concepts/ukj-dog-rex")
    assert (concept.record.method, concept.record.steps) == ("lora", 77)
    assert (concept.record.settings["rank"], concept.record.settings["alpha"]) == (4, 2.0)
    assert set(concept.record.settings["targets"]) == {"attention", "feed_forward", "projection"}
    pipe = StableDiffusionPipeline.from_pretrained(toy_base)
    pipe.load_lora_weights(str(here), weight_name=file.name)
    theirs = draw(pipe, PROMPT)
    assert torch.allclose(ours(toy, Concept.load(concept.folder), PROMPT), theirs, atol=1e-4)
    assert not torch.allclose(theirs, bare, atol=1e-2)
    assert torch.equal(draw(toy.pipeline(), PROMPT), bare)


def test_layers_of_other_kinds_are_merged_or_left_out_on_request(toy: Family, toy_base: Path, here: Path):
    tensors = load_file(foreign_lora(toy, here / "rex.safetensors"))
    tensors |= {"lora_unet_conv_norm_out.lora_down.weight": torch.ones(1, 1),
                "lora_unet_conv_norm_out.lora_up.weight": torch.ones(16, 1)}  # fmt: skip
    save_file(tensors, here / "more.safetensors")
    how = {"base": str(toy_base), "noun": "dog", "token": "ukj"}
    whole = import_file(here / "more.safetensors", out=here / "whole", **how)
    assert whole.record.method == "dreambooth"
    (note,) = whole.record.data["imported"]["notes"]
    assert "1 layers are of a kind that booth's adapters do not take, such as unet.conv_norm_out" in note
    norm = load_file(whole.folder / "unet" / "diffusion_pytorch_model.safetensors")["conv_norm_out.weight"]
    assert torch.allclose(norm, toy.components()["unet"].conv_norm_out.weight + 1)
    part = import_file(here / "more.safetensors", out=here / "part", lossy=True, **how)
    assert part.record.method == "lora"
    assert "1 layers of kinds" in part.record.data["imported"]["left_out"][0]


@pytest.mark.essential
@pytest.mark.parametrize("to", ["kohya", "diffusers"])
def test_a_lora_goes_out_and_comes_back(to: str, adapted: Concept, toy: Family, toy_base: Path, here: Path):
    before = ours(toy, adapted, PROMPT)
    again = import_file(export(adapted, to).file, base=str(toy_base))
    assert again.record.subject == adapted.record.subject
    assert torch.allclose(ours(toy, again, PROMPT), before, atol=1e-5)


def test_a_word_goes_out_and_comes_back(word: Concept, toy: Family, toy_base: Path, here: Path):
    before = ours(toy, word, "a photo of zwx dog")
    again = import_file(export(word, "embedding").file, base=str(toy_base))
    assert torch.equal(ours(toy, again, "a photo of zwx dog"), before)
    file = export(word, "embedding-pt").file
    read = import_file(file, base=str(toy_base), noun="dog", out=here / "c", pickles=True)
    assert torch.equal(ours(toy, read, "a photo of zwx dog"), before)


def test_a_checkpoint_goes_out_and_comes_back(tuned: Concept, toy: Family, toy_base: Path, here: Path):
    before = ours(toy, tuned, "a photo of ohwx dog")
    again = import_file(export(tuned, "checkpoint").file, base=str(toy_base))
    assert again.record.method == "dreambooth"
    assert torch.equal(ours(toy, again, "a photo of ohwx dog"), before)


def test_the_subject_is_asked_for_where_the_file_does_not_say(toy: Family, toy_base: Path, here: Path):
    save_file({"emb_params": torch.ones(1, 32)}, here / "rex.safetensors")
    with pytest.raises(UsageError, match=r"does not say what it was taught\. Add `noun`"):
        import_file(here / "rex.safetensors", base=str(toy_base))
    concept = import_file(here / "rex.safetensors", base=str(toy_base), noun="dog")
    assert concept.record.prompt == "a photo of rex dog"
    with pytest.raises(UsageError, match="is there already"):
        import_file(here / "rex.safetensors", base=str(toy_base), noun="dog")


@pytest.mark.parametrize("phrase", ["sks dog/../../../escaped/x", "sks dog\\..\\x", "sks/.. dog", "sks do\x1b[2Jg"])
def test_words_of_a_header_that_could_lead_elsewhere_are_refused(phrase: str, toy_base: Path, here: Path):
    file = here / "rex.safetensors"
    save_file({"emb_params": torch.ones(1, 32)}, file, metadata={"modelspec.trigger_phrase": phrase})
    with pytest.raises(UsageError, match=r"cannot be a (token|class noun)\. Give another with `(token|noun)`"):
        import_file(file, base=str(toy_base))
    assert [p.name for p in here.iterdir()] == ["rex.safetensors"]


def test_a_folder_is_called_by_plain_characters_alone(toy: Family, toy_base: Path, here: Path):
    file = here / "rex.safetensors"
    save_file({"emb_params": torch.ones(1, 32)}, file, metadata={"modelspec.trigger_phrase": "<rex> ..big dog:2"})
    concept = import_file(file, base=str(toy_base))
    assert concept.folder == Path("concepts/rex-big-dog-2-rex")
    assert concept.record.subject.token == "<rex>"


def bundle(toy: Family, file: Path, kinds: str = "lora", metadata: dict[str, str] | None = None) -> Path:
    """A token's rows beside layers of the denoiser and, as OneTrainer trains them, of the text encoder."""
    generator = torch.Generator().manual_seed(2)
    tensors = {"bundle_emb.ukj.string_to_param.*": torch.randn(2, 32, generator=generator)}
    for component, prefix in (("unet", "lora_unet"), ("text_encoder", "lora_te")):
        for name, module in toy.components()[component].named_modules():
            if name.endswith(("attn2.to_k", "self_attn.q_proj")):
                path = f"text_model.{name.removeprefix('text_model.')}" if component == "text_encoder" else name
                key, (out, inside) = f"{prefix}_{path.replace('.', '_')}", module.weight.shape
                tensors[f"{key}.lora_down.weight"] = 0.3 * torch.randn(2, inside, generator=generator)
                tensors[f"{key}.lora_up.weight"] = 0.3 * torch.randn(out, 2, generator=generator)
                if kinds == "dora by columns":
                    tensors[f"{key}.dora_scale"] = module.weight.detach().norm(dim=0, keepdim=True) * 1.3
    save_file(tensors, file, metadata={"modelspec.trigger_phrase": "ukj dog", **(metadata or {})})
    return file


def test_a_bundle_with_layers_of_the_text_encoder_is_held_whole(toy: Family, toy_base: Path, here: Path):
    concept = import_file(bundle(toy, here / "b.safetensors", metadata={"ss_steps": "²"}), base=str(toy_base))
    assert (concept.record.method, concept.record.steps) == ("ti_lora", 0)
    held = load_file(here / "b.safetensors")
    layers, rows = parts_of(concept.folder, concept.record).layers, parts_of(concept.folder, concept.record).rows
    assert torch.equal(rows["text_encoder"], held["bundle_emb.ukj.string_to_param.*"])
    assert set(layers) == {"unet", "text_encoder"}
    for component, prefix in (("unet", "lora_unet"), ("text_encoder", "lora_te")):
        for module, layer in layers[component].items():
            key = f"{prefix}_{module.replace('.', '_')}"
            if f"{key}.lora_up.weight" in held:
                change = held[f"{key}.lora_up.weight"] @ held[f"{key}.lora_down.weight"]
                assert torch.allclose(layer.change(torch.zeros(change.shape)).float(), change, atol=1e-6)
            else:
                assert not layer.product().any()
    assert ours(toy, concept, PROMPT).isfinite().all()


def test_a_bundle_that_has_to_be_merged_tells_what_it_cannot_hold(toy: Family, toy_base: Path, here: Path):
    file = bundle(toy, here / "b.safetensors", "dora by columns")
    with pytest.raises(BadDataError, match=r"this one changes the text_encoder too\. Add `lossy`"):
        import_file(file, base=str(toy_base))
    concept = import_file(file, base=str(toy_base), lossy=True)
    assert (concept.record.method, concept.record.settings["second"]) == ("two_stage", "full")
    assert concept.record.data["imported"]["left_out"] == ["the layers of text_encoder"]


def test_numbers_of_a_header_are_numbers_or_told(toy: Family, toy_base: Path, here: Path):
    for text, steps in {"²": 0, "12": 12, " 7 ": 7, "1e3": 0, "-1": 0, "٣": 0, "9" * 40: 0}.items():
        file = foreign_lora(toy, here / "x.safetensors")
        save_file(load_file(file), file, metadata={"modelspec.trigger_phrase": "ukj dog", "ss_steps": text})
        assert _steps({"ss_steps": text}) == steps, text
    for told in ('{"unet.r": 1e999}', '{"unet.r": 1' + "0" * 400 + "}", '{"unet.lora_alpha": NaN}'):
        named = {"unet.conv_in.lora_A.weight": torch.ones(2, 4, 3, 3), "unet.conv_in.lora_B.weight": torch.ones(16, 2)}
        save_file(named, here / "y.safetensors", metadata={"lora_adapter_metadata": told})
        with pytest.raises(BadDataError, match="no table of ranks and alphas"):
            import_file(here / "y.safetensors", base=str(toy_base), token="ukj", noun="dog")


def test_a_small_file_asks_for_no_more_than_the_base_can_hold(toy: Family, toy_base: Path, here: Path):
    """Factors whose product would fill any memory are refused by their sides; a wide rank stays in its own layer."""
    how = {"base": str(toy_base), "token": "ukj", "noun": "dog"}
    key = "lora_unet_down_blocks_0_resnets_0_conv1"
    core = {f"{key}.lora_mid.weight": torch.zeros(300_000, 1, 3, 3), f"{key}.lora_down.weight": torch.zeros(1, 16),
            f"{key}.lora_up.weight": torch.zeros(16, 300_000, 1, 1)}  # fmt: skip
    save_file(core, here / "core.safetensors")
    with pytest.raises(BadDataError, match="have a core of rank 300000, which no layer of this size has"):
        import_file(here / "core.safetensors", **how)
    tensors = {f"{key}.lora_mid.weight": torch.zeros(40_000, 0, 3, 3), f"{key}.lora_down.weight": torch.zeros(0, 16),
               f"{key}.lora_up.weight": torch.zeros(16, 40_000)}  # fmt: skip
    save_file(tensors, here / "none.safetensors")
    with pytest.raises(BadDataError, match="have rank 0"):
        import_file(here / "none.safetensors", **how)

    wide = load_file(foreign_lora(toy, here / "rex.safetensors"))
    first = next(name.partition(".")[0] for name in wide if "attn2_to_k" in name)
    out, inside = len(wide[f"{first}.lora_up.weight"]), wide[f"{first}.lora_down.weight"].shape[1]
    generator = torch.Generator().manual_seed(0)
    wide |= {f"{first}.lora_down.weight": torch.randn(2000, inside, generator=generator) / 50,
             f"{first}.lora_up.weight": torch.randn(out, 2000, generator=generator) / 50}  # fmt: skip
    save_file(wide, here / "wide.safetensors")
    concept = import_file(here / "wide.safetensors", **how)
    assert concept.record.settings["rank"] == 2
    assert max(concept.record.settings["ranks"].values()) == 2000
    held = sum(t.numel() for t in wide.values())
    assert sum(t.numel() for t in load_file(concept.folder / "pytorch_lora_weights.safetensors").values()) < 2 * held
    layers = parts_of(concept.folder, concept.record).layers["unet"]
    module = next(name for name in layers if f"lora_unet_{name.replace('.', '_')}" == first)
    change = float(wide[f"{first}.alpha"]) / 2000 * wide[f"{first}.lora_up.weight"] @ wide[f"{first}.lora_down.weight"]
    assert torch.allclose(layers[module].change(torch.zeros(out, inside)).float(), change, atol=1e-6)
