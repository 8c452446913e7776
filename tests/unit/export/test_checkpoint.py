"""Whole checkpoints, against diffusers' own converters from the original layout, and its merge."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import pytest
import torch
from diffusers import StableDiffusionPipeline, UNet2DConditionModel
from diffusers.loaders.single_file_utils import (
    convert_ldm_clip_checkpoint,
    convert_ldm_unet_checkpoint,
    convert_ldm_vae_checkpoint,
    convert_open_clip_checkpoint,
)
from peft import PeftModel
from peft.tuners.boft import layer as peft_boft
from peft.tuners.tuners_utils import BaseTunerLayer
from safetensors.torch import load_file, save_file

from booth.concept import Concept
from booth.core.errors import BadDataError, NotAvailableError, UsageError
from booth.core.family import Family
from booth.export.base_files import BaseFiles
from booth.export.checkpoint import names as original_names
from booth.export.checkpoint import proof as original
from booth.export.checkpoint.write import LAYOUTS
from booth.export.component_files import component_tensors
from booth.export.lora.extracted import approximate
from booth.export.run import export
from booth.generate.concepts import Applied, attached
from booth.importing.run import import_file
from harness import BlockDiagonal, slow


def test_diffusers_converts_a_fine_tuned_model_back_to_what_was_trained(tuned: Concept, toy: Family, here: Path):
    done = export(tuned, "checkpoint")
    assert (done.check.passed, done.check.difference) == (True, 0.0)
    tensors = load_file(done.file)
    unet = convert_ldm_unet_checkpoint(tensors, toy.components()["unet"].config)
    trained = load_file(tuned.folder / "unet" / "diffusion_pytorch_model.safetensors")
    assert unet.keys() == trained.keys()
    assert all(torch.equal(unet[name], tensor) for name, tensor in trained.items())
    vae = convert_ldm_vae_checkpoint(tensors, toy.components()["vae"].config)
    before = toy.components()["vae"].state_dict()
    assert vae.keys() == before.keys()
    assert all(torch.equal(vae[name], tensor) for name, tensor in before.items())
    text = convert_ldm_clip_checkpoint(tensors)
    assert {name.removeprefix("text_model.") for name in text} == {
        name.removeprefix("text_model.") for name in toy.components()["text_encoder"].state_dict()
    }


@pytest.mark.essential
def test_an_adapter_is_merged_as_diffusers_merges_it(adapted: Concept, toy: Family, toy_base: Path, here: Path):
    tensors = load_file(export(adapted, "checkpoint").file)
    pipe = StableDiffusionPipeline.from_pretrained(toy_base)
    pipe.load_lora_weights(adapted.folder, weight_name="pytorch_lora_weights.safetensors")
    pipe.fuse_lora()
    pipe.unload_lora_weights()
    merged = convert_ldm_unet_checkpoint(tensors, pipe.unet.config)
    base = toy.components()["unet"].state_dict()
    for name, tensor in pipe.unet.state_dict().items():
        assert torch.allclose(merged[name], tensor, atol=1e-6), name
    assert any(not torch.allclose(merged[name], base[name], atol=1e-3) for name in base)


def test_a_base_that_has_changed_is_not_merged_into(tuned: Concept, here: Path):
    other = tuned.record.base.model_copy(update={"hash": "sha256:0"})
    with pytest.raises(UsageError, match="another content by now"):
        export(Concept(tuned.folder, tuned.record.model_copy(update={"base": other})), "checkpoint")
    gone = tuned.record.base.model_copy(update={"name": "no-such-folder"})
    with pytest.raises(NotAvailableError, match="needs the base 'no-such-folder'"):
        export(Concept(tuned.folder, tuned.record.model_copy(update={"base": gone})), "checkpoint")


def test_half_precision_is_written_and_measured(tuned: Concept, here: Path):
    done = export(tuned, "checkpoint", precision="fp16")
    assert 0 < done.check.difference < 2e-3
    assert {t.dtype for t in load_file(done.file).values()} == {torch.float16}


@pytest.mark.parametrize(
    ("layers", "blocks"),
    [(2, ("CrossAttnDownBlock2D",) * 3 + ("DownBlock2D",)), (1, ("DownBlock2D", "CrossAttnDownBlock2D"))],
)
def test_names_are_the_originals_for_other_depths_too(layers: int, blocks: tuple[str, ...]):
    """Stable Diffusion 1.5's own arrangement among them, on the meta device."""
    with torch.device("meta"):
        unet = UNet2DConditionModel(
            down_block_types=blocks,
            up_block_types=tuple(b.replace("Down", "Up") for b in reversed(blocks)),
            block_out_channels=(32, 32, 64, 64)[: len(blocks)],
            layers_per_block=layers,
            cross_attention_dim=32,
            attention_head_dim=2,
            norm_num_groups=8,
        )
    state = unet.state_dict()
    written = original_names.unet(state)
    back = convert_ldm_unet_checkpoint(written, unet.config)
    assert back.keys() == state.keys()
    assert all(back[name] is tensor for name, tensor in state.items())
    names = original.unet_names({name: tuple(t.shape) for name, t in state.items()})
    assert names["conv_out"] == "out.2"
    last = "up_blocks.0.upsamplers.0.conv"
    attends = blocks[-1].startswith("Cross")
    assert names[last] == f"output_blocks.{layers}.{2 if attends else 1}.conv"


def test_the_second_versions_text_encoder_is_open_clips():
    from transformers import CLIPTextConfig, CLIPTextModel

    model = CLIPTextModel(CLIPTextConfig(vocab_size=9, hidden_size=1024, intermediate_size=8, num_hidden_layers=1,
                                         num_attention_heads=2, max_position_embeddings=5))  # fmt: skip
    plain = {f"text_model.{n.removeprefix('text_model.')}": t for n, t in model.state_dict().items()}
    plain = {n: t for n, t in plain.items() if not n.endswith("position_ids")}
    written = original_names.text_encoder(plain)
    theirs = convert_open_clip_checkpoint(model, written)
    assert {n: t.shape for n, t in theirs.items()} == {n: t.shape for n, t in plain.items()}
    assert all(torch.equal(theirs[n], t) for n, t in plain.items())
    reading = original.read(written, {"text_encoder": {n: tuple(t.shape) for n, t in plain.items()}})
    assert (reading.missing, reading.unmatched) == ([], [])
    assert all(torch.equal(reading.states["text_encoder"][n], t) for n, t in plain.items())


def test_the_reading_misses_what_is_not_there(toy_base: Path):
    base = BaseFiles(toy_base)
    layout = LAYOUTS["stable_diffusion"]
    whole = {n: t for c, rename in layout.items() for n, t in rename(base.tensors(c)).items()}
    assert original.read(whole, base.shapes).missing == []
    first = "model.diffusion_model.input_blocks.1.1.proj_in.weight"
    reading = original.read({n: t for n, t in whole.items() if n != first} | {"x": torch.ones(1)}, base.shapes)
    assert (reading.missing, reading.unmatched) == ([first], ["x"])


def test_an_extraction_is_the_best_of_its_rank():
    generator = torch.Generator().manual_seed(0)
    change = torch.randn(8, 6, generator=generator, dtype=torch.float64)
    s = torch.linalg.svdvals(change)
    layer = approximate(change, 2)
    error = (change - layer.change(change)).norm()
    assert torch.allclose(error, s[2:].norm(), rtol=1e-5)  # Eckart and Young
    assert torch.allclose(approximate(change, 99).change(change), change, atol=1e-5)
    kernel = torch.randn(5, 4, 3, 3, generator=generator, dtype=torch.float64)
    layer = approximate(kernel, 5)
    assert layer.factors["down"].shape == (5, 4, 3, 3)
    assert torch.allclose(layer.change(kernel), kernel, atol=1e-5)


def test_an_extracted_lora_says_what_it_loses(tuned: Concept, toy: Family, toy_base: Path, here: Path):
    with pytest.raises(UsageError, match=r"lose \d+\.\d% of the squared change at rank 2, \d+ norms and biases"):
        export(tuned, "extracted", rank=2)
    done = export(tuned, "extracted", rank=64, lossy=True)  # at full rank only norms and biases are lost
    assert done.check.passed
    trained = component_tensors(tuned.folder / "unet")
    before = toy.components()["unet"].state_dict()
    name = "mid_block.attentions.0.transformer_blocks.0.attn2.to_v.weight"
    tensors = load_file(done.file)
    key = "lora_unet_" + name.removesuffix(".weight").replace(".", "_")
    change = tensors[f"{key}.lora_up.weight"] @ tensors[f"{key}.lora_down.weight"]
    assert torch.allclose(change, trained[name] - before[name], atol=1e-6)
    pipe = StableDiffusionPipeline.from_pretrained(toy_base)
    pipe.load_lora_weights(str(done.file.parent), weight_name=done.file.name)
    pipe.fuse_lora()
    pipe.unload_lora_weights()
    assert torch.allclose(pipe.unet.state_dict()[name], trained[name], atol=1e-6)


def test_clip_is_found_without_its_wrapper_and_every_tensor_is_accounted_for(
    tuned: Concept, toy_base: Path, here: Path
) -> None:
    tensors = load_file(export(tuned, "checkpoint").file)
    generator = torch.Generator().manual_seed(0)
    clip = {
        name: t + torch.randn(t.shape, generator=generator) for name, t in tensors.items() if ".text_model." in name
    }
    without = {name: t for name, t in tensors.items() if name not in clip}
    without |= {name.replace(".text_model.", "."): t for name, t in clip.items()}
    how = {"base": str(toy_base), "token": "ohwx", "noun": "dog"}
    idle = {"betas": torch.ones(4), "model_ema.decay": torch.ones(1), "alphas_cumprod_prev": torch.ones(4)}
    save_file(without | idle, here / "merge.safetensors")
    concept = import_file(here / "merge.safetensors", out=here / "a", **how)
    written = component_tensors(concept.folder / "text_encoder")
    for name, tensor in clip.items():
        assert torch.equal(written[name.removeprefix("cond_stage_model.transformer.")], tensor), name
    (note,) = concept.record.data["imported"]["notes"]
    assert "passed over 3 tensors" in note

    save_file(without | {"cond_stage_model.transformer.extra.weight": torch.ones(2)}, here / "more.safetensors")
    with pytest.raises(BadDataError, match=r"1 keys that find no layer .*transformer\.extra\.weight.*Add `lossy`"):
        import_file(here / "more.safetensors", **how)
    left = import_file(here / "more.safetensors", lossy=True, out=here / "b", **how).record.data["imported"]["left_out"]
    assert "1 tensors that find no place" in left[0]

    baked = {name: t * 1.5 if name.startswith("first_stage_model.decoder") else t for name, t in without.items()}
    save_file(baked, here / "baked.safetensors")
    with pytest.raises(BadDataError, match=r"brings a vae of its own.*Use the file itself as `base`"):
        import_file(here / "baked.safetensors", **how)
    assert (
        "own vae"
        in import_file(here / "baked.safetensors", lossy=True, out=here / "c", **how).record.data["imported"][
            "left_out"
        ][0]
    )
    save_file({n: t.half() for n, t in without.items()}, here / "half.safetensors")
    assert "left_out" not in import_file(here / "half.safetensors", out=here / "d", **how).record.data["imported"]


@pytest.mark.parametrize("method", [slow("loha"), slow("lokr"), "oft", slow("boft"), "ia3", slow("vera")])
def test_what_peft_keeps_is_merged_as_peft_merges_it(
    method: str, teach, toy_base: Path, here: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(peft_boft, "_FBD_CUDA", BlockDiagonal)  # peft's own extension needs a GPU's compiler
    concept = teach(method, learning_rate=1.0 if method == "vera" else 3e-2, token="pft")
    done = export(concept, "checkpoint", picture=True)
    assert done.check.passed
    assert done.check.picture is not None
    assert done.check.picture <= 1
    again = import_file(done.file, base=str(toy_base), token="pft", noun="dog")
    written = component_tensors(again.folder / "unet")
    bare: Any = UNet2DConditionModel.from_pretrained(toy_base, subfolder="unet")
    before = {name: t.clone() for name, t in bare.state_dict().items()}
    merged = PeftModel.from_pretrained(bare, str(concept.folder / "unet")).merge_and_unload().state_dict()
    moved = {name.rpartition(".")[2] for name, t in merged.items() if (t - before[name]).abs().max() > 1e-3}
    assert "weight" in moved
    assert ("bias" in moved) is (method == "ia3")  # which scales what a layer gives, its bias too
    for name, tensor in merged.items():
        torch.testing.assert_close(written[name], tensor, rtol=0, atol=1e-5, msg=name)


@pytest.mark.parametrize("method", ["oft", "custom_diffusion"])
def test_what_no_adapter_file_holds_goes_out_merged(
    method: str, teach, toy: Family, toy_base: Path, here: Path
) -> None:
    options = {"learning_rate": 3e-2, "token": "rlx"} | ({"block_size": 4} if method == "oft" else {})
    concept = teach(method, **options)
    lossy = method == "custom_diffusion"  # the token's rows go out with --to embedding
    with pytest.raises(UsageError, match="Use `to=checkpoint`, which holds the merged weights exactly"):
        export(concept, "kohya", lossy=lossy)
    done = export(concept, "checkpoint", lossy=lossy, picture=method == "oft")
    assert done.check.passed
    again = import_file(done.file, base=str(toy_base), token="rlx", noun="dog")
    merged = component_tensors(again.folder / "unet")
    with attached(toy, [Applied(concept)]):
        unet = toy.components()["unet"]
        moved = 0
        for name, layer in unet.named_modules():
            if method == "oft" and isinstance(layer, BaseTunerLayer):
                layer.merge()
                live = layer.get_base_layer().weight.detach().clone()
                layer.unmerge()
            elif method != "oft" and name.endswith(("attn2.to_k", "attn2.to_v")):
                live = layer.weight.detach()
            else:
                continue
            torch.testing.assert_close(merged[f"{name}.weight"], live, rtol=0, atol=1e-5)
            moved += 1
    assert moved > 3
    if method == "oft":
        assert done.check.picture is not None
        assert done.check.picture <= 1
