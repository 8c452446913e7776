"""LoRA on FLUX.1 under kohya's keys, against diffusers' own converter and the product of the factors."""

from __future__ import annotations

from pathlib import Path

import pytest
import torch
from diffusers import FluxTransformer2DModel
from diffusers.loaders.lora_conversion_utils import _convert_kohya_flux_lora_to_diffusers
from safetensors.torch import load_file, save_file
from torch import Tensor

from bases import write_base
from booth.concept import Concept
from booth.core.errors import BadDataError, NotAvailableError, UsageError
from booth.core.method import Subject
from booth.export.base_files import BaseFiles, Shapes, is_flux
from booth.export.layer import Layer
from booth.export.lora.diffusers import Diffusers
from booth.export.lora.read import read_layers
from booth.export.lora.stacked import cut, stacked
from booth.export.lora.write import layer_tensors
from booth.export.original.place import Place
from booth.export.original.places import places
from booth.export.parts import Parts, parts_of
from booth.export.run import export
from booth.importing.new_concept import write_concept
from booth.importing.run import import_file

DOUBLE, SINGLE = "transformer_blocks.0", "single_transformer_blocks.0"
QKV = [f"{DOUBLE}.attn.to_{x}" for x in "qkv"]


@pytest.fixture(scope="module")
def base(tmp_path_factory: pytest.TempPathFactory) -> Path:
    return write_base("flux", tmp_path_factory.mktemp("flux") / "base")


@pytest.fixture(scope="module")
def concept(base: Path) -> Concept:
    """A LoRA of rank 3 on every attention of the transformer, and on the text encoder."""
    shapes = BaseFiles(base).shapes
    ends = (
        ".to_q",
        ".to_k",
        ".to_v",
        ".to_out.0",
        "_proj",
        ".to_add_out",
        ".q_proj",
        ".k_proj",
        ".v_proj",
        ".out_proj",
    )
    layers = {
        component: {
            name.removesuffix(".weight"): random_layer(shape, 3, seed, 1.5)
            for seed, (name, shape) in enumerate(shapes[component].items())
            if name.endswith(tuple(f"{end}.weight" for end in ends))
        }
        for component in ("transformer", "text_encoder")
    }
    about = {"format": "none", "sha256": "none", "steps": 2}
    return write_concept(base.parent / "concept", str(base), Subject("ohwx", "dog"), Parts(layers), about, False)


def random_layer(shape: tuple[int, ...], rank: int, seed: int, scale: float = 1.0) -> Layer:
    generator = torch.Generator().manual_seed(seed)
    down, up = torch.randn(rank, shape[1], generator=generator), torch.randn(shape[0], rank, generator=generator)
    return Layer({"down": down, "up": up}, scale)


def changes(layers: dict[str, Layer], shapes: Shapes) -> dict[str, Tensor]:
    return {n: layer.change(torch.zeros(shapes["transformer"][f"{n}.weight"])) for n, layer in layers.items()}


def unstacked(layers: dict[str, Layer], shapes: Shapes) -> dict[str, Layer]:
    """Layers by the authors' names cut into those of diffusers."""
    found: dict[str, Layer] = {}
    for name, layer in layers.items():
        place = places("transformer", shapes["transformer"]).get(name, Place((name,)))
        rows = [shapes["transformer"][f"{module}.weight"][0] for module in place.modules]
        whole = (sum(rows), *shapes["transformer"][f"{place.modules[0]}.weight"][1:])
        parts = cut(name, layer, place, rows, whole)
        found |= {module: part for module, part in zip(place.modules, parts, strict=True) if part is not None}
    return found


def same(ours: dict[str, Tensor], theirs: dict[str, Tensor]) -> None:
    assert ours.keys() == theirs.keys()
    for name, tensor in theirs.items():
        assert torch.allclose(ours[name].double(), tensor.double(), rtol=0, atol=1e-6 * float(tensor.abs().max()))


def test_a_concept_goes_out_and_comes_back(concept: Concept, base: Path, here: Path):
    done = export(concept, "kohya", picture=True)
    assert done.check.passed
    assert done.check.picture is not None
    assert done.check.picture <= 1
    tensors = load_file(done.file)
    qkv, linear1 = "lora_unet_double_blocks_0_img_attn_qkv", "lora_unet_single_blocks_0_linear1"
    assert (tensors[f"{qkv}.lora_down.weight"].shape, tensors[f"{qkv}.lora_up.weight"].shape) == ((9, 16), (48, 9))
    assert tensors[f"{qkv}.alpha"].item() == 9 * 1.5
    assert tensors[f"{linear1}.lora_up.weight"].shape == (3 * 16 + 64, 9)  # rows of the MLP too, which are zero
    assert "lora_unet_double_blocks_0_txt_attn_proj.alpha" in tensors
    assert "lora_te1_text_model_encoder_layers_0_self_attn_q_proj.alpha" in tensors

    again, shapes = import_file(done.file, base=str(base)), BaseFiles(base).shapes
    (ours, theirs) = (parts_of(c.folder, c.record).layers for c in (again, concept))
    assert again.record.settings["rank"] == 3  # not 9: what acts on other rows is left out
    for component in ("transformer", "text_encoder"):
        assert ours[component].keys() == theirs[component].keys()
    same(changes(ours["transformer"], shapes), changes(theirs["transformer"], shapes))


def test_diffusers_converts_it_back_at_the_real_widths():
    with torch.device("meta"):
        model = FluxTransformer2DModel(num_layers=1, num_single_layers=1)
    shapes = {
        "transformer": {n: (t.shape[0], *(min(2, s) for s in t.shape[1:])) for n, t in model.state_dict().items()}
    }
    trained = [*QKV, f"{SINGLE}.attn.to_q", f"{SINGLE}.proj_mlp", f"{DOUBLE}.ff.net.2", f"{DOUBLE}.norm1.linear"]
    layers = {
        name: random_layer(shapes["transformer"][f"{name}.weight"], 2, seed, scale=0.5 + seed)
        for seed, name in enumerate(trained)
    }
    tensors: dict[str, Tensor] = {}
    for name, layer in stacked(layers, shapes).items():
        tensors |= layer_tensors(f"lora_unet_{name.replace('.', '_')}", layer, torch.float32)
    assert {key.partition(".")[0] for key in tensors} == {
        "lora_unet_double_blocks_0_img_attn_qkv",
        "lora_unet_double_blocks_0_img_mlp_2",
        "lora_unet_double_blocks_0_img_mod_lin",
        "lora_unet_single_blocks_0_linear1",
    }
    back = _convert_kohya_flux_lora_to_diffusers(dict(tensors))
    converted = {
        name: back[f"transformer.{name}.lora_B.weight"] @ back[f"transformer.{name}.lora_A.weight"]
        for name in (key.removeprefix("transformer.").removesuffix(".lora_A.weight") for key in back)
        if f"transformer.{name}.lora_A.weight" in back
    }
    wanted = changes(layers, shapes)
    nothing = {name: tensor for name, tensor in converted.items() if name not in wanted}
    assert set(nothing) == {f"{SINGLE}.attn.to_k", f"{SINGLE}.attn.to_v"}
    assert not any(tensor.any() for tensor in nothing.values())
    same({name: converted[name] for name in wanted}, wanted)


def test_a_file_that_has_all_that_kohyas_scripts_adapt_is_imported_whole(base: Path, here: Path):
    """Every linear layer of both kinds of block, modulations and the single blocks' way out among them."""
    shapes = BaseFiles(base).shapes
    tensors: dict[str, Tensor] = {}
    wanted: dict[str, Tensor] = {}
    for seed, (name, place) in enumerate(places("transformer", shapes["transformer"]).items()):
        modules = place.modules
        sides = [shapes["transformer"][f"{module}.weight"] for module in modules]
        if "_blocks." in name and len(sides[0]) == 2:
            rows = [side[0] for side in sides]
            layer = random_layer((sum(rows), sides[0][1]), 2, seed, 0.5)
            tensors |= layer_tensors(f"lora_unet_{name.replace('.', '_')}", layer, torch.float32)
            product = layer.factors["up"] @ layer.factors["down"] * 0.5
            wanted |= dict(zip(modules, product.split(rows), strict=True))
    held = {key.partition(".")[0] for key in tensors}
    assert {"lora_unet_double_blocks_0_img_mod_lin", "lora_unet_double_blocks_0_txt_mod_lin"} < held
    assert {f"lora_unet_single_blocks_0_{x}" for x in ("linear1", "linear2", "modulation_lin")} < held
    save_file(tensors, here / "theirs.safetensors")
    concept = import_file(here / "theirs.safetensors", base=str(base), token="ohwx", noun="dog")
    layers = parts_of(concept.folder, concept.record).layers["transformer"]
    idle = layers.pop("proj_out")  # the last layer shares its name with the single blocks' way out
    assert not idle.product().any()
    same(changes(layers, shapes), wanted)


def test_a_file_of_kohyas_scripts_shares_its_first_factor(base: Path):
    """One `down` for queries, keys and values together, as they train it."""
    shapes = BaseFiles(base).shapes
    whole = random_layer((48, 16), 4, 0, 0.25)
    tensors = layer_tensors("lora_unet_double_blocks_0_img_attn_qkv", whole, torch.float32)
    parts = read_layers(tensors, {}, shapes)
    assert parts.unknown == []
    rows = whole.change(torch.zeros(48, 16)).split(16)
    same(changes(parts.layers["transformer"], shapes), dict(zip(QKV, rows, strict=True)))


@pytest.mark.parametrize(
    ("prefix", "name"),
    [
        ("lora_transformer", "transformer_blocks_0_attn_to_k"),  # OneTrainer
        ("lora_unet", "transformer_blocks_0_attn_to_k"),  # others, where the authors' names are diffusers'
    ],
)
def test_other_trainers_have_diffusers_names_with_underscores(prefix: str, name: str, base: Path):
    shapes, layer = BaseFiles(base).shapes, random_layer((16, 16), 2, 0, 0.5)
    parts = read_layers(layer_tensors(f"{prefix}_{name}", layer, torch.float32), {}, shapes)
    assert parts.unknown == []
    same(changes(parts.layers["transformer"], shapes), changes({QKV[1]: layer}, shapes))


def test_files_for_comfyui_have_the_authors_names_or_diffusers(base: Path):
    shapes, whole = BaseFiles(base).shapes, random_layer((48, 16), 4, 0)
    for name, layer in (("double_blocks.0.img_attn.qkv", whole), (QKV[1], random_layer((16, 16), 2, 0))):
        tensors = {
            f"diffusion_model.{name}.lora_{side}.weight": layer.factors[factor]
            for side, factor in (("A", "down"), ("B", "up"))
        }
        assert Diffusers().recognises(tensors)
        parts, unknown = Diffusers().read(tensors, {}, shapes)
        assert unknown == []
        same(changes(parts.layers["transformer"], shapes), changes(unstacked({name: layer}, shapes), shapes))


def test_loha_and_lokr_are_cut_by_their_rows(base: Path):
    shapes, name = BaseFiles(base).shapes, "double_blocks.0.img_attn.qkv"
    made = torch.Generator().manual_seed(0)
    sides = {"a": (48, 2), "b": (2, 16)}
    loha = Layer({f"hada_w{i}_{s}": torch.randn(sides[s], generator=made) for i in (1, 2) for s in "ab"}, 0.5)
    rows = loha.change(torch.zeros(48, 16)).split(16)
    same(changes(unstacked({name: loha}, shapes), shapes), dict(zip(QKV, rows, strict=True)))
    for first, second in ((3, 16), (6, 8), (12, 4), (2, 24), (16, 3)):  # along the blocks, and across them
        factors = {"lokr_w1": torch.randn(first, 2, generator=made), "lokr_w2": torch.randn(second, 8, generator=made)}
        lokr = Layer(factors, 0.5)
        rows = lokr.change(torch.zeros(48, 16)).split(16)
        parts = unstacked({name: lokr}, shapes)
        same(changes(parts, shapes), dict(zip(QKV, rows, strict=True)))
        assert {part.kind for part in parts.values()} == {"lokr" if 16 % second == 0 else "diff"}
    turned = Layer({"oft_blocks": torch.zeros(6, 8, 8)})
    with pytest.raises(BadDataError, match=r"OFT layer 'double_blocks\.0\.img_attn\.qkv' cannot be cut into 3 of 48"):
        unstacked({name: turned}, shapes)


def test_lengths_of_dora_are_cut_and_not_stacked(base: Path):
    shapes, name = BaseFiles(base).shapes, "double_blocks.0.img_attn.qkv"
    plain = random_layer((48, 16), 2, 0)
    up = torch.cat([plain.factors["up"][:32], torch.zeros(16, 2)])  # the values' rows are only made longer
    cut = unstacked({name: Layer({**plain.factors, "up": up}, 1.0, torch.arange(48.0))}, shapes)
    assert [layer.magnitude.tolist()[0] for layer in cut.values() if layer.magnitude is not None] == [0, 16, 32]
    assert not cut[QKV[2]].product().any()
    with pytest.raises(UsageError, match=r"only plain LoRA can be written for it\. Use `to=diffusers`"):
        stacked(cut, shapes)


def test_it_needs_the_base_and_no_other_family_has_such_layers(concept: Concept, base: Path, here: Path):
    gone = concept.record.base.model_copy(update={"name": "no-such-folder"})
    with pytest.raises(NotAvailableError, match="needs the base 'no-such-folder'"):
        export(Concept(concept.folder, concept.record.model_copy(update={"base": gone})), "kohya")
    other = write_base("stable_diffusion_3", here / "sd3")
    assert not is_flux(BaseFiles(other).shapes)
    save_file(layer_tensors("lora_unet_double_blocks_0_img_attn_qkv", random_layer((48, 16), 2, 0), torch.float32),
              here / "flux.safetensors")  # fmt: skip
    with pytest.raises(BadDataError, match="is for another architecture than the base"):
        import_file(here / "flux.safetensors", base=str(other), token="sks", noun="dog")
