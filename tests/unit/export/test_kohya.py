"""kohya's keys, against diffusers' own loader and the formula."""

from __future__ import annotations

import json
from pathlib import Path

import pytest
import torch
from diffusers import StableDiffusionPipeline
from safetensors import safe_open
from safetensors.torch import load_file, save_file

from booth.concept import Concept
from booth.core.errors import BadDataError, BoothError, UsageError
from booth.core.family import Family
from booth.export.base_files import BaseFiles
from booth.export.check import Check
from booth.export.exporter import Job
from booth.export.layer import Layer
from booth.export.lora import proof as adapter
from booth.export.lora.read import named_layers, read_layers
from booth.export.lora.tucker import without_core
from booth.export.lora.write import Kohya, layer_tensors
from booth.export.parts import Parts, parts_of
from booth.export.run import export
from booth.generate.concepts import Applied, attached
from harness import draw

PROMPT = "a photo of ukj dog"


@pytest.mark.essential
def test_diffusers_loads_the_file_and_draws_the_same_picture(adapted: Concept, toy: Family, toy_base: Path, here: Path):
    done = export(adapted, "kohya")
    assert done.file == Path("exports/lora-ukj-kohya.safetensors")
    assert done.check.passed
    assert done.check.difference < 1e-6
    pipe = StableDiffusionPipeline.from_pretrained(toy_base)
    bare = draw(pipe, PROMPT)
    pipe.load_lora_weights(str(done.file.parent), weight_name=done.file.name)
    with attached(toy, [Applied(adapted)]):
        ours = draw(toy.pipeline(), PROMPT)
    theirs = draw(pipe, PROMPT)
    assert torch.allclose(ours, theirs, atol=1e-4)
    assert not torch.allclose(ours, bare, atol=1e-2)


def test_keys_are_those_that_the_programs_know(adapted: Concept, here: Path):
    tensors = load_file(export(adapted, "kohya").file)
    query = "lora_unet_down_blocks_0_attentions_0_transformer_blocks_0_attn1_to_q"
    assert tensors[f"{query}.lora_down.weight"].shape == (4, 16)
    assert tensors[f"{query}.lora_up.weight"].shape == (16, 4)
    assert (tensors[f"{query}.alpha"].item(), tensors[f"{query}.alpha"].ndim) == (6.0, 0)
    assert "lora_te_text_model_encoder_layers_0_self_attn_q_proj.lora_down.weight" in tensors
    assert "lora_unet_down_blocks_0_attentions_0_transformer_blocks_0_attn1_to_out_0.alpha" in tensors
    assert len(tensors) == 3 * len({name.partition(".")[0] for name in tensors})


def test_the_header_tells_trigger_rank_and_proof_but_no_path_or_caption(adapted: Concept, here: Path):
    with safe_open(export(adapted, "kohya").file, "pt") as file:
        header = file.metadata()
    assert header["modelspec.sai_model_spec"] == "1.0.1"
    assert header["modelspec.architecture"] == "stable-diffusion-v1/lora"
    assert header["modelspec.trigger_phrase"] == "ukj dog"
    assert (header["ss_network_dim"], header["ss_network_alpha"]) == ("4", "6.0")
    assert json.loads(header["ss_tag_frequency"]) == {"photos": {"ukj dog": 5}}
    assert header["sshs_model_hash"] == header["modelspec.hash_sha256"].removeprefix("0x")
    assert json.loads(header["booth.verified"])["passed"] is True
    assert adapted.record.base.name not in str(header)
    with safe_open(export(adapted, "kohya", Path("full.safetensors"), metadata="full").file, "pt") as file:
        assert adapted.record.base.name in file.metadata()["ss_sd_model_name"]
        assert adapted.record.photo_files[0] not in str(file.metadata())


def test_the_reading_finds_wrong_scales_lost_and_foreign_keys(adapted: Concept, toy_base: Path, here: Path):
    """The check is worth its name only if it fails for each way in which exports go wrong."""
    good = load_file(export(adapted, "kohya").file)
    some = "lora_unet_mid_block_attentions_0_transformer_blocks_0_attn2_to_k"

    def found(tensors: dict) -> Check:
        save_file(tensors, here / "x.safetensors")
        job = Job(adapted.folder, adapted.record, parts_of(adapted.folder, adapted.record), BaseFiles(toy_base))
        return Kohya().check(job, here / "x.safetensors")

    assert found(good).passed
    assert found({n: t for n, t in good.items() if not n.endswith(".alpha")}).difference > 0.3
    assert found({n: t for n, t in good.items() if not n.startswith(some)}).missing == [
        "unet.mid_block.attentions.0.transformer_blocks.0.attn2.to_k"
    ]
    renamed = {n.replace("_to_k.", "_key."): t for n, t in good.items()}
    assert f"{some.replace('_to_k', '_key')}.alpha" in found(renamed).unmatched
    assert not found(good | {f"{some}.lora_up.weight": -good[f"{some}.lora_up.weight"]}).passed


def test_it_comes_back_as_it_went(adapted: Concept, toy_base: Path, here: Path):
    tensors = load_file(export(adapted, "kohya").file)
    tensors |= {"lora_unet_nowhere.alpha": torch.tensor(1.0)}
    parts = read_layers(tensors, {}, BaseFiles(toy_base).shapes)
    assert parts.unknown == ["lora_unet_nowhere.alpha"]
    before = parts_of(adapted.folder, adapted.record).layers
    assert {c: set(m) for c, m in parts.layers.items()} == {c: set(m) for c, m in before.items()}
    for component, modules in before.items():
        for module, layer in modules.items():
            again = parts.layers[component][module]
            assert again.scale == layer.scale == 1.5
            assert all(torch.equal(again.factors[n], t) for n, t in layer.factors.items())


def random_layer(*names_and_shapes: tuple[str, tuple[int, ...]], scale: float) -> Layer:
    generator = torch.Generator().manual_seed(0)
    return Layer({n: torch.randn(s, generator=generator) for n, s in names_and_shapes}, scale)


VARIANTS = {
    "lora": (random_layer(("down", (2, 6)), ("up", (8, 2)), scale=0.5), (8, 6)),
    "convolution": (random_layer(("down", (2, 6, 3, 3)), ("up", (8, 2, 1, 1)), scale=3.0), (8, 6, 3, 3)),
    "loha": (random_layer(*((f"hada_w{i}_{s}", (8, 2) if s == "a" else (2, 6)) for i in (1, 2) for s in "ab"),
                          scale=2.0), (8, 6)),
    "lokr": (random_layer(("lokr_w1", (2, 3)), ("lokr_w2_a", (4, 2)), ("lokr_w2_b", (2, 2)), scale=0.25), (8, 6)),
    "lokr whole": (random_layer(("lokr_w1", (2, 3)), ("lokr_w2", (4, 2)), scale=0.25), (8, 6)),
}  # fmt: skip


@pytest.mark.parametrize("variant", VARIANTS)
def test_every_variant_has_the_same_change_by_the_targets_rules(variant: str, here: Path):
    layer, shape = VARIANTS[variant]
    save_file(layer_tensors("lora_unet_conv_in", layer, torch.float32), here / "x.safetensors")
    reading = adapter.read(load_file(here / "x.safetensors"), {"unet": {"conv_in.weight": shape}})
    assert reading.unmatched == []
    weight = torch.zeros(shape)
    change, expected = reading.updates["unet", "conv_in"].change(weight), layer.change(weight)
    assert torch.allclose(change.double(), expected, rtol=0, atol=1e-6 * float(expected.abs().max()))
    assert expected.abs().max() > 0.1


def test_dora_is_refused_because_comfyui_divides_by_another_length(here: Path):
    plain, shape = VARIANTS["lora"]
    generator = torch.Generator().manual_seed(1)
    weight = torch.randn(shape, generator=generator)
    layer = Layer(plain.factors, plain.scale, torch.rand(8, generator=generator) + 1)
    merged = weight.double() + layer.change(weight)
    assert torch.allclose(merged.norm(dim=1), layer.magnitude.double())  # 2402.09353, eq. 5: each row has that length
    save_file(layer_tensors("lora_unet_conv_in", layer, torch.float32), here / "x.safetensors")
    (update,) = adapter.read(load_file(here / "x.safetensors"), {"unet": {"conv_in.weight": shape}}).updates.values()
    by_comfyui = weight + update.change(weight)
    by_hand = (weight + plain.change(weight)) * (layer.magnitude / weight.norm(dim=1)).view(-1, 1)
    assert torch.allclose(by_comfyui.double(), by_hand, atol=1e-5)
    assert not torch.allclose(by_comfyui.double(), merged, atol=1e-2)


def test_half_precision_is_measured_and_nothing_is_overwritten(adapted: Concept, here: Path):
    done = export(adapted, "kohya", precision="fp16")  # asked for by name, so that it is no surprise
    assert 1e-6 < done.check.difference < 2e-3
    with pytest.raises(UsageError, match="is there already"):
        export(adapted, "kohya")
    with pytest.raises(UsageError, match=r"writes a \.safetensors file"):
        export(adapted, "kohya", Path("rex.pt"))
    with pytest.raises(UsageError, match=r"no export format called 'kohja'. Did you mean 'kohya'"):
        export(adapted, "kohja")


def test_weights_that_no_format_is_for_are_named(adapted: Concept, here: Path):
    (stage,) = adapted.record.stages
    more = stage.model_copy(update={"files": [*stage.files, "another.safetensors"]})
    with pytest.raises(UsageError, match=r"It would lose another\.safetensors"):
        export(Concept(adapted.folder, adapted.record.model_copy(update={"stages": [more]})), "kohya")


def test_without_the_base_the_check_says_so(adapted: Concept, here: Path):
    gone = adapted.record.base.model_copy(update={"name": "no-such-folder"})
    done = export(Concept(adapted.folder, adapted.record.model_copy(update={"base": gone})), "kohya")
    assert done.check.passed
    assert "not on this machine" in done.check.against


def test_a_failed_check_leaves_no_file(adapted: Concept, here: Path, monkeypatch: pytest.MonkeyPatch):
    monkeypatch.setattr(Kohya, "check", lambda *_: Check("the target", unmatched=["lora_unet_x.alpha"]))
    with pytest.raises(BoothError, match=r"1 keys do not match, such as lora_unet_x.alpha"):
        export(adapted, "kohya")
    assert list((here / "exports").iterdir()) == []


def test_a_number_that_is_none_passes_no_check():
    check = Check("the target")
    check.compare(torch.full((2,), float("nan")), torch.ones(2))
    assert check.difference == float("inf")
    assert not check.passed


def test_a_foreign_name_stays_in_the_folder(adapted: Concept):
    def name(words: str) -> str:
        record = adapted.record.model_copy(update={"name": words})
        return Kohya().file_name(Job(adapted.folder, record, Parts(), None))

    assert name("../../../../tmp/x") == "tmpx-kohya.safetensors"
    assert name("/etc\\..") == "etc..-kohya.safetensors"
    assert name("rex-2.0") == "rex-2.0-kohya.safetensors"
    assert name("//") == "concept-kohya.safetensors"


def test_the_programs_named_are_those_whose_own_reading_is_right(adapted: Concept, toy_base: Path, here: Path):
    shapes = {"unet": BaseFiles(toy_base).shapes["unet"]}
    weight = BaseFiles(toy_base).tensors("unet")["conv_in.weight"].float()
    out, *inside = weight.shape
    down, up = torch.randn(2, *inside), torch.randn(out, 2, 1, 1)

    def readers(layer: Layer, *, lossy: bool = False, name: str = "conv_in") -> list[str]:
        job = Job(adapted.folder, adapted.record, Parts(layers={"unet": {"conv_in": layer}}), BaseFiles(toy_base))
        save_file(layer_tensors(f"lora_unet_{name}", layer, torch.float32), here / "x.safetensors")
        return Kohya().check(job, here / "x.safetensors").readers(lossy)

    lora = Layer({"down": down, "up": up}, 0.5)
    without = [name for name in Kohya.programs if name != "sd-scripts"]  # it adapts no layer at the ends
    assert readers(lora) == without
    assert readers(lora, name="input_blocks_0_0") == ["AUTOMATIC1111", "Forge", "ComfyUI", "diffusers"]
    wide = weight[0].numel()
    hada = {f"hada_w{i}_{s}": torch.randn((out, 2) if s == "a" else (2, wide)) for i in (1, 2) for s in "ab"}
    assert readers(Layer(hada)) == [name for name in without if name != "diffusers"]
    lengths = weight.flatten(1).norm(dim=1)
    gently = {"down": down / 30, "up": up / 30}
    # DoRA: exact where the merged rows are measured, near where the base's are, and far off where columns are.
    assert readers(Layer(gently, 1.0, 1.5 * lengths)) == ["LyCORIS", "diffusers"]
    assert readers(Layer(gently, 1.0, 1.5 * lengths), lossy=True) == ["Forge", "ComfyUI", "LyCORIS", "diffusers"]
    assert shapes["unet"]["conv_in.weight"] == tuple(weight.shape)


@pytest.mark.parametrize("wrapper", ["", "text_model."])
def test_a_text_encoders_alpha_counts_with_and_without_the_wrapper(wrapper: str):
    module = "encoder.layers.0.self_attn.q_proj"
    key = f"text_encoder.{wrapper}{module}"
    tensors = {f"{key}.lora_A.weight": torch.ones(4, 8), f"{key}.lora_B.weight": torch.ones(8, 4)}
    layers, unknown = named_layers(tensors | {f"{key}.alpha": torch.tensor(1.0)}, {})
    assert unknown == []
    assert layers["text_encoder"][f"text_model.{module}"].scale == 0.25


def test_a_core_without_numbers_is_refused_before_it_grows():
    with pytest.raises(BadDataError, match="does not fit"):
        without_core({"mid": torch.zeros(3000, 0, 1, 1), "down": torch.zeros(0, 3000)})
