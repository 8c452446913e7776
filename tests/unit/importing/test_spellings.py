"""Names in weight files: every prefix with every module name and every spelling of the factors, by the weights made."""

from __future__ import annotations

from collections.abc import Callable, Iterator
from pathlib import Path

import pytest
import torch
from torch import Tensor

from bases import write_base
from booth.export.base_files import BaseFiles, Shapes
from booth.export.layer import Layer
from booth.export.lora.read import read_layers
from booth.export.lora.spelling import has_underscores, is_adapter

RANK, ALPHA = 2, 3.0
UNET = "down_blocks.1.attentions.0.transformer_blocks.0.attn2.to_out.0"
# A layer of each family: diffusers' name, and the others' for the same. The numbers of XL's blocks are its tiny base's.
MODULES: dict[str, tuple[str, str, tuple[str, ...]]] = {
    "unet of XL": ("stable_diffusion_xl", UNET, (
        "input_blocks.3.1.transformer_blocks.0.attn2.to_out.0",
        UNET.replace("attn2.to_out.0", "attn2.processor.to_out"))),
    "sampler of XL": ("stable_diffusion_xl", "up_blocks.0.upsamplers.0.conv", ("output_blocks.1.2.conv",)),
    "Stable Diffusion 3": ("stable_diffusion_3", "transformer_blocks.0.ff.net.0.proj",
                           ("joint_blocks.0.x_block.mlp.fc1",)),
    "FLUX.1": ("flux", "single_transformer_blocks.0.proj_out", ("single_blocks.0.linear2",)),
    "FLUX.2": ("flux_2_klein", "single_transformer_blocks.0.attn.to_qkv_mlp_proj", ("single_blocks.0.linear1",)),
    "Z-Image": ("z_image", "layers.0.attention.to_out.0", ("layers.0.attention.out",)),
    "Chroma": ("chroma", "single_transformer_blocks.0.proj_out", ("single_blocks.0.linear2",)),
    "Lumina-Image 2.0": ("lumina_2", "layers.0.feed_forward.linear_2", ("layers.0.feed_forward.w2",)),
    "Sana": ("sana", "transformer_blocks.1.attn2.to_q", ("blocks.1.cross_attn.q_linear",)),
    "Krea 2": ("krea_2", "transformer_blocks.0.attn.to_out.0", ("blocks.0.attn.wo",)),
    "Krea 2's text": ("krea_2", "text_fusion.refiner_blocks.0.ff.up", ("txtfusion.refiner_blocks.0.mlp.up",)),
    "Ideogram 4": ("ideogram_4", "layers.0.attention.to_out.0", ("layers.0.attention.o",)),
    "ERNIE-Image": ("ernie_image", "layers.0.mlp.linear_fc2", ()),
    "Qwen-Image": ("qwen_image", "transformer_blocks.0.img_mlp.net.2", ()),
}  # fmt: skip
# Layers that have the rows of several: the family, the authors' name, and diffusers' ones in their order.
FUSED: dict[str, tuple[str, str, tuple[str, ...]]] = {
    "Stable Diffusion 3": ("stable_diffusion_3", "joint_blocks.1.context_block.attn.qkv", tuple(
        f"transformer_blocks.1.attn.add_{x}_proj" for x in "qkv")),
    "its second attention": ("stable_diffusion_3", "joint_blocks.0.x_block.attn2.qkv", tuple(
        f"transformer_blocks.0.attn2.to_{x}" for x in "qkv")),
    "FLUX.1": ("flux", "single_blocks.0.linear1", (
        *(f"single_transformer_blocks.0.attn.to_{x}" for x in "qkv"), "single_transformer_blocks.0.proj_mlp")),
    "Chroma": ("chroma", "double_blocks.0.txt_attn.qkv", tuple(
        f"transformer_blocks.0.attn.add_{x}_proj" for x in "qkv")),
    "FLUX.2": ("flux_2_klein", "double_blocks.0.img_attn.qkv", tuple(
        f"transformer_blocks.0.attn.to_{x}" for x in "qkv")),
    "Lumina-Image 2.0": ("lumina_2", "context_refiner.0.attention.qkv", tuple(
        f"context_refiner.0.attn.to_{x}" for x in "qkv")),
    "Sana": ("sana", "blocks.0.attn.qkv", tuple(f"transformer_blocks.0.attn1.to_{x}" for x in "qkv")),
    "Sana's second attention": ("sana", "blocks.0.cross_attn.kv_linear", tuple(
        f"transformer_blocks.0.attn2.to_{x}" for x in "kv")),
    "Ideogram 4": ("ideogram_4", "layers.0.attention.qkv", tuple(f"layers.0.attention.to_{x}" for x in "qkv")),
    "Qwen-Image-2.1": ("qwen_image_2_1", "transformer_blocks.0.img_mlp.gate_up", tuple(
        f"transformer_blocks.0.img_mlp.{x}" for x in ("gate_layer", "proj"))),
    "Z-Image": ("z_image", "noise_refiner.0.attention.qkv", tuple(
        f"noise_refiner.0.attention.to_{x}" for x in "qkv")),
}  # fmt: skip
PREFIXES = ("", "lora_unet_", "lora_transformer_", "lycoris_", "base_model.model.", "unet.", "transformer.",
            "diffusion_model.", "model.diffusion_model.", "unet.base_model.model.",
            "base_model.model.transformer.")  # fmt: skip
# The spellings of the two factors, and whether an alpha of the same spelling stands beside them.
FACTORS = {
    "kohya": (".lora_down.weight", ".lora_up.weight"),
    "peft": (".lora_A.weight", ".lora_B.weight"),
    "peft named": (".lora_A.default.weight", ".lora_B.default.weight"),
    "mochi": (".lora_A", ".lora_B"),
    "diffusers": (".lora.down.weight", ".lora.up.weight"),
    "processors": ("_lora.down.weight", "_lora.up.weight"),
    "transformers": (".lora_linear_layer.down.weight", ".lora_linear_layer.up.weight"),
}
Read = Callable[[dict[str, Tensor]], dict[str, Layer]]


@pytest.fixture(scope="module")
def shapes(tmp_path_factory: pytest.TempPathFactory) -> Callable[[str], Shapes]:
    """The shapes of a family's tiny base, which is written once."""
    parent, known = tmp_path_factory.mktemp("spellings"), dict[str, Shapes]()

    def of(family: str) -> Shapes:
        if family not in known:
            known[family] = BaseFiles(write_base(family, parent / family)).shapes
        return known[family]

    return of


def spellings(module: str, others: tuple[str, ...]) -> Iterator[str]:
    """Every key but for its factor: prefix and name, with dots and with underscores."""
    for prefix in PREFIXES:
        for name in (module, *others):
            yield prefix + name
            yield prefix + name.replace(".", "_")


def factors(shape: tuple[int, ...]) -> tuple[Tensor, Tensor, Tensor]:
    """Two random factors of a layer, and alpha / rank times their product."""
    generator = torch.Generator().manual_seed(len(shape) + sum(shape))
    down = torch.randn(RANK, *shape[1:], generator=generator)
    up = torch.randn(shape[0], RANK, *[1] * (len(shape) - 2), generator=generator)
    change = ALPHA / RANK * (up.double().flatten(1) @ down.double().flatten(1)).reshape(shape)
    return down, up, change


def same(layer: Layer, change: Tensor) -> None:
    weight = torch.zeros(change.shape)
    torch.testing.assert_close(layer.change(weight), change, rtol=0, atol=1e-6 * float(change.abs().max()))


@pytest.mark.parametrize("case", MODULES)
def test_every_spelling_of_a_layer_makes_the_same_weight(case: str, shapes: Callable[[str], Shapes]) -> None:
    family, module, others = MODULES[case]
    known = shapes(family)
    component = "unet" if "unet" in known else "transformer"
    down, up, change = factors(known[component][f"{module}.weight"])
    walked = 0
    for path in spellings(module, others):
        for spelled in FACTORS.values():
            tensors = {path + spelled[0]: down, path + spelled[1]: up, f"{path}.alpha": torch.tensor(ALPHA)}
            reading = read_layers(tensors, {}, known)
            assert (reading.unknown, list(reading.layers), is_adapter(tensors)) == ([], [component], True), path
            assert list(reading.layers[component]) == [module], path
            same(reading.layers[component][module], change)
            walked += 1
    assert walked == len(PREFIXES) * 2 * (1 + len(others)) * len(FACTORS)


@pytest.mark.parametrize("case", FUSED)
@pytest.mark.parametrize("kind", ["lora", "loha", "lokr", "lokr whole", "diff"])
def test_every_spelling_of_a_layer_of_several_is_cut(kind: str, case: str, shapes: Callable[[str], Shapes]) -> None:
    family, theirs, modules = FUSED[case]
    known = shapes(family)["transformer"]
    rows = [known[f"{module}.weight"][0] for module in modules]
    shape = (sum(rows), known[f"{modules[0]}.weight"][1])
    generator = torch.Generator().manual_seed(1)

    def draw(*sides: int) -> Tensor:
        return torch.randn(*sides, generator=generator)

    made = {
        "lora": {"lora_down.weight": draw(2, shape[1]), "lora_up.weight": draw(shape[0], 2)},
        "loha": {f"hada_w{i}_{s}": draw(shape[0], 2) if s == "a" else draw(2, shape[1]) for i in (1, 2) for s in "ab"},
        "lokr": {"lokr_w1": draw(4, 2), "lokr_w2_a": draw(shape[0] // 4, 2), "lokr_w2_b": draw(2, shape[1] // 2)},
        "lokr whole": {"lokr_w1": draw(2, 2), "lokr_w2": draw(shape[0] // 2, shape[1] // 2)},
        "diff": {"diff": draw(*shape)},
    }[kind]
    alpha = {} if kind == "diff" else {"alpha": torch.tensor(torch.inf if kind == "lokr whole" else 1.0)}
    d = {name: t.double() for name, t in made.items()}
    change = {
        "lora": lambda: d["lora_up.weight"] @ d["lora_down.weight"] / 2,
        "loha": lambda: (d["hada_w1_a"] @ d["hada_w1_b"]) * (d["hada_w2_a"] @ d["hada_w2_b"]) / 2,
        "lokr": lambda: torch.kron(d["lokr_w1"], d["lokr_w2_a"] @ d["lokr_w2_b"]) / 2,
        "lokr whole": lambda: torch.kron(d["lokr_w1"], d["lokr_w2"]),
        "diff": lambda: d["diff"],
    }[kind]()
    for path in spellings(theirs, ()):
        tensors = {f"{path}.{name}": tensor for name, tensor in (made | alpha).items()}
        reading = read_layers(tensors, {}, shapes(family))
        assert (reading.unknown, list(reading.layers["transformer"])) == ([], list(modules)), path
        for module, part in zip(modules, change.split(rows), strict=True):
            same(reading.layers["transformer"][module], part)


TEXT = "text_model.encoder.layers.1.mlp.fc1"
ENCODERS = {
    "text_encoder": ("lora_te_", "lora_te1_", "text_encoder.", "text_encoders.clip_l.transformer."),
    "text_encoder_2": ("lora_te2_", "text_encoder_2.", "text_encoders.clip_g.transformer."),
}
OTHERS = (
    TEXT.removeprefix("text_model."),
    "transformer.resblocks.1.mlp.c_fc",
    "model.transformer.resblocks.1.mlp.c_fc",
)


@pytest.mark.parametrize("component", ENCODERS)
def test_text_encoders_have_names_with_and_without_a_wrapper_and_those_of_openclip(
    component: str, shapes: Callable[[str], Shapes]
) -> None:
    known = shapes("stable_diffusion_xl")
    down, up, change = factors(known[component][f"{TEXT}.weight"])
    for prefix in ENCODERS[component]:
        for name in (TEXT, *OTHERS):
            for path in (prefix + name, prefix + name.replace(".", "_")):
                for spelled in FACTORS.values():
                    tensors = {path + spelled[0]: down, path + spelled[1]: up, f"{path}.alpha": torch.tensor(ALPHA)}
                    reading = read_layers(tensors, {}, known)
                    assert (reading.unknown, {c: list(m) for c, m in reading.layers.items()}) == (
                        [], {component: [TEXT]}), path  # fmt: skip
                    same(reading.layers[component][TEXT], change)


@pytest.mark.parametrize(
    ("family", "component", "prefixes"),
    [
        ("flux", "text_encoder_2", ("lora_te2_", "lora_te3_", "text_encoder_2.", "text_encoders.t5xxl.transformer.")),
        ("stable_diffusion_3", "text_encoder_3", ("lora_te3_", "text_encoder_3.", "text_encoders.t5xxl.transformer.")),
    ],
)
def test_t5_is_the_encoder_that_the_base_has_it_as(
    family: str, component: str, prefixes: tuple[str, ...], shapes: Callable[[str], Shapes]
) -> None:
    known, module = shapes(family), "encoder.block.0.layer.0.SelfAttention.q"
    down, up, change = factors(known[component][f"{module}.weight"])
    for prefix in prefixes:
        for name in (module, module.replace(".", "_")):
            tensors = {f"{prefix}{name}.lora_down.weight": down, f"{prefix}{name}.lora_up.weight": up}
            reading = read_layers(tensors | {f"{prefix}{name}.alpha": torch.tensor(ALPHA)}, {}, known)
            assert (reading.unknown, list(reading.layers)) == ([], [component])
            same(reading.layers[component][module], change)


def test_the_halves_of_a_last_modulation_change_places(shapes: Callable[[str], Shapes]) -> None:
    for family in ("flux", "flux_2_klein", "stable_diffusion_3"):
        known = shapes(family)
        down, up, change = factors(known["transformer"]["norm_out.linear.weight"])
        path = "diffusion_model.final_layer.adaLN_modulation.1"
        tensors = {f"{path}.lora_A.weight": down, f"{path}.lora_B.weight": up, f"{path}.alpha": torch.tensor(ALPHA)}
        layer = read_layers(tensors, {}, known).layers["transformer"]["norm_out.linear"]
        same(layer, torch.cat(change.chunk(2)[::-1]))


def test_norms_biases_and_plain_differences_are_read(shapes: Callable[[str], Shapes]) -> None:
    known = shapes("stable_diffusion_xl")
    generator = torch.Generator().manual_seed(3)
    norm, linear = "down_blocks.1.resnets.0.norm1", UNET
    drawn = {name: torch.randn(known["unet"][name], generator=generator)
             for name in (f"{norm}.weight", f"{norm}.bias", f"{linear}.weight", f"{linear}.bias")}  # fmt: skip
    for pair in (("w_norm", "b_norm"), ("diff", "diff_b")):
        tensors = {f"lora_unet_{m.replace('.', '_')}.{ending}": drawn[f"{m}.{kind}"]
                   for m in (norm, linear) for kind, ending in zip(("weight", "bias"), pair, strict=True)}  # fmt: skip
        reading = read_layers(tensors, {}, known)
        assert reading.unknown == []
        for module in (norm, linear):
            layer = reading.layers["unet"][module]
            same(layer, drawn[f"{module}.weight"].double())
            assert layer.bias is not None
            assert torch.equal(layer.bias, drawn[f"{module}.bias"])


def test_a_matrix_is_read_for_a_convolution_of_one_pixel_and_an_unknown_ending_is_told(
    shapes: Callable[[str], Shapes], toy_base: Path
) -> None:
    known = BaseFiles(toy_base).shapes
    name, shape = next((n, s) for n, s in known["unet"].items() if n.endswith("proj_in.weight"))
    out, inside = shape[:2]
    module = name.removesuffix(".weight")
    down, up = torch.randn(2, inside), torch.randn(out, 2)
    key = f"lora_unet_{module.replace('.', '_')}"
    tensors = {f"{key}.lora_down.weight": down, f"{key}.lora_up.weight": up, f"{key}.reshape_weight": torch.ones(1)}
    reading = read_layers(tensors, {}, known)
    assert (reading.unknown, reading.unread) == ([f"{key}.reshape_weight"], {"layers that change shape"})
    same(reading.layers["unet"][module], (up.double() @ down.double()).reshape(shape))


def test_formats_are_told_by_how_modules_are_spelled() -> None:
    assert has_underscores(["lora_unet_a_b.lora_up.weight", "lora_unet_a_b.alpha"])
    assert not has_underscores(["unet.a.b.lora_A.weight", "unet.a.b.lora_B.weight"])
    assert not is_adapter(["model.diffusion_model.double_blocks.0.img_attn.norm.query_norm.scale"])


HALF, WHOLE, SMALL = torch.float16, torch.float64, torch.float8_e4m3fn


@pytest.mark.parametrize(
    ("down_type", "up_type", "alpha"),
    [
        (HALF, torch.bfloat16, torch.tensor(3)),
        (WHOLE, torch.float32, torch.tensor([3.0], dtype=HALF)),
        (SMALL, SMALL, torch.tensor(3.0, dtype=torch.bfloat16)),
        (torch.float32, HALF, torch.tensor([[3.0]])),
        (torch.float32, HALF, torch.tensor(0.0)),
        (torch.float32, torch.float32, None),
    ],
)
def test_precisions_may_differ_and_an_alpha_be_missing(
    down_type: torch.dtype, up_type: torch.dtype, alpha: Tensor | None, shapes: Callable[[str], Shapes]
) -> None:
    known = shapes("stable_diffusion_xl")
    down, up, _ = factors(known["unet"][f"{UNET}.weight"])
    down, up = down.to(down_type), up.to(up_type)
    tensors = {f"unet.{UNET}.lora_A.weight": down, f"unet.{UNET}.lora_B.weight": up}
    tensors |= {} if alpha is None else {f"unet.{UNET}.alpha": alpha}
    layer = read_layers(tensors, {}, known).layers["unet"][UNET]
    change = (1.0 if alpha is None else float(alpha) / RANK) * up.to(WHOLE) @ down.to(WHOLE)
    torch.testing.assert_close(layer.change(torch.zeros(change.shape)), change, rtol=1e-6, atol=1e-9)


@pytest.mark.parametrize(
    "path",
    [
        "transformer._orig_mod.transformer_blocks.0.img_mlp.net.2",
        "transformer.transformer_blocks.0._fsdp_wrapped_module.img_mlp.net.2",
        "module.transformer_blocks.0._checkpoint_wrapped_module.img_mlp.net.2",
        "pipe.dit.transformer_blocks.0.img_mlp.net.2",
        "lora_unet__orig_mod_transformer_blocks_0_img_mlp_net_2",
    ],
)
def test_wrappers_of_torch_and_names_of_adapters_are_no_part_of_a_layers_name(
    path: str, shapes: Callable[[str], Shapes]
) -> None:
    known, module = shapes("qwen_image"), "transformer_blocks.0.img_mlp.net.2"
    down, up, change = factors(known["transformer"][f"{module}.weight"])
    tensors = {f"{path}.lora_A.my-dog.weight": down, f"{path}.lora_B.my-dog.weight": up}
    tensors |= {f"{path}.alpha": torch.tensor(ALPHA), "_aux.0f3a": torch.ones(3)}
    reading = read_layers(tensors, {}, known)
    assert (reading.unknown, list(reading.layers["transformer"])) == ([], [module])
    same(reading.layers["transformer"][module], change)


def test_lengths_of_dora_are_found_by_every_name(shapes: Callable[[str], Shapes]) -> None:
    known = shapes("stable_diffusion_xl")
    down, up, _ = factors(known["unet"][f"{UNET}.weight"])
    weight, lengths = torch.randn(known["unet"][f"{UNET}.weight"]), torch.rand(len(up)) + 1
    for name, given in (("dora_scale", lengths[:, None]), ("magnitude", lengths), ("lora_magnitude_vector", lengths),
                        ("lora_magnitude_vector.default.weight", lengths)):  # fmt: skip
        tensors = {f"unet.{UNET}.lora_A.weight": down, f"unet.{UNET}.lora_B.weight": up, f"unet.{UNET}.{name}": given}
        layer = read_layers(tensors, {}, known).layers["unet"][UNET]
        torch.testing.assert_close((weight + layer.change(weight)).norm(dim=1).float(), lengths)
