"""Files of a transformer alone, under its authors' names: taken apart by diffusers, or refused in a sentence."""

from __future__ import annotations

import re
import shutil
from pathlib import Path
from typing import Any

import pytest
import torch
from safetensors.torch import load_file, save_file
from torch import Tensor

from bases import write_base
from booth.core.errors import BadDataError, BoothError
from booth.export.component_files import component_tensors
from booth.export.original.places import places
from booth.families.loading import resolve_base
from booth.families.recognition import recognise
from booth.families.single_file import identify

# What the layers that no adapter is put on are called there; everything else is a linear layer or has the same name.
OTHERS: dict[str, dict[str, str]] = {
    "sana": {r"^scale_shift_table": "final_layer.scale_shift_table",
             r"^transformer_blocks\.(\d+)\.scale_shift_table": r"blocks.\1.scale_shift_table"},
    "krea_2": {r"^txt_in\.norm\.weight": "txtmlp.0.scale", r"^final_layer\.norm\.weight": "last.norm.scale",
               r"^final_layer\.scale_shift_table": "last.modulation.lin", r"^text_fusion": "txtfusion",
               r"^transformer_blocks": "blocks", r"\.scale_shift_table$": ".mod.lin",
               r"\.norm1\.weight": ".prenorm.scale", r"\.norm2\.weight": ".postnorm.scale",
               r"\.attn\.norm_([qk])\.weight": r".attn.qknorm.\1norm.scale"},
    "z_image": {}, "flux_2_klein": {}, "qwen_image": {}, "qwen_image_2_1": {}, "ernie_image": {},
}  # fmt: skip


def original(family: str, state: dict[str, Tensor]) -> dict[str, Tensor]:
    """A transformer's tensors as its authors' code has them."""
    known, found = places("transformer", state), dict[str, Tensor]()
    own = {module for place in known.values() for module in place.modules}
    for name, place in known.items():
        for leaf in ("weight", "bias"):
            rows = [state[f"{module}.{leaf}"] for module in place.modules if f"{module}.{leaf}" in state]
            if rows:
                whole = torch.cat(rows)
                whole = torch.cat(whole.chunk(2)[::-1]) if place.swapped else whole
                scale = family == "flux_2_klein" and name.endswith("_norm")
                found[f"{name}.{'scale' if scale else leaf}"] = whole
    for name, tensor in state.items():
        if name.rpartition(".")[0] not in own:
            theirs = name
            for pattern, into in OTHERS[family].items():
                theirs = re.sub(pattern, into, theirs)
            flat = family == "krea_2" and re.fullmatch(r"blocks\.\d+\.mod\.lin", theirs)
            found[theirs] = tensor.flatten() if flat else tensor
    beside = {"pos_embed": torch.zeros(1, 4, 8), "y_embedder.y_embedding": torch.zeros(4, 8)}  # which are not used
    return found | (beside if family == "sana" else {})


@pytest.fixture
def file(request: pytest.FixtureRequest, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    """A family's transformer in one file, the rest of its base in a folder of the file's name."""
    monkeypatch.setenv("BOOTH_CACHE", str(tmp_path / "cache"))
    whole = write_base(request.param, tmp_path / "whole")
    shutil.copytree(whole, tmp_path / "model", ignore=lambda folder, names: [
        name for name in names if Path(folder).name == "transformer" and name.endswith(".safetensors")])  # fmt: skip
    state = original(request.param, component_tensors(whole / "transformer"))
    save_file({name: t.contiguous() for name, t in state.items()}, tmp_path / "model.safetensors")
    return tmp_path / "model.safetensors"


@pytest.mark.parametrize("file", OTHERS, indirect=True)
def test_the_folder_that_is_made_has_the_very_weights(file: Path) -> None:
    whole = file.parent / "whole"
    folder = resolve_base(str(file))
    assert recognise(folder) == recognise(whole)
    for part in sorted(p.name for p in whole.iterdir() if any(p.glob("*.safetensors"))):
        ours, theirs = component_tensors(folder / part), component_tensors(whole / part)
        assert ours.keys() == theirs.keys()
        assert all(torch.equal(ours[name], theirs[name]) for name in theirs), part
    assert resolve_base(str(file)) == folder

    held = {f"model.diffusion_model.{name}": t for name, t in load_file(file).items()}
    save_file(held, file)  # as ComfyUI saves it
    again = component_tensors(resolve_base(str(file)) / "transformer")
    assert all(torch.equal(again[name], t) for name, t in component_tensors(whole / "transformer").items())


@pytest.mark.parametrize("file", ["qwen_image"], indirect=True)
def test_what_is_missing_is_told_and_leaves_nothing(file: Path) -> None:
    held = load_file(file)
    save_file({name: t for name, t in held.items() if name != "proj_out.weight"}, file)
    with pytest.raises(BadDataError, match="is Qwen-Image by its keys but does not fit"):
        resolve_base(str(file))
    save_file(held, file)
    for weights in (file.with_suffix("") / "vae").glob("*.safetensors"):
        weights.unlink()
    with pytest.raises(BoothError, match=r"vae.* holds no \.safetensors weights"):
        resolve_base(str(file))
    assert not list((file.parent / "cache").rglob("*.safetensors"))


def header(file: Path, *keys: str, width: int = 4) -> Path:
    save_file({key: torch.zeros(1, width) for key in keys}, file)
    return file


@pytest.mark.parametrize(
    ("key", "family"),
    [
        ("distilled_guidance_layer.in_proj.bias", "chroma"),
        ("cap_embedder.0.weight", "lumina_2"),
        ("layers.0.adaLN_modulation.0.weight", "z_image"),
        ("blocks.0.cross_attn.q_linear.weight", "sana"),
        ("txtfusion.projector.weight", "krea_2"),
        ("txt_in.text_norm.weight", "qwen_image_2_1"),
        ("transformer_blocks.0.img_mod.1.weight", "qwen_image"),
        ("layers.0.mlp.linear_fc2.weight", "ernie_image"),
        ("single_stream_modulation.lin.weight", "flux_2_klein"),
    ],
)
def test_a_transformer_is_known_by_its_keys(key: str, family: str, tmp_path: Path) -> None:
    for prefix in ("", "model.diffusion_model."):
        more = ["double_blocks.0.x"] if family in ("chroma", "flux_2_klein") else []
        kind = identify(header(tmp_path / "x.safetensors", *(prefix + name for name in (key, *more))))
        assert (kind.family, kind.alone) == (family, True)


def test_flux_2_is_told_apart_by_guidance_and_width(tmp_path: Path) -> None:
    def kind(*more: str, width: int = 4) -> Any:
        return identify(header(tmp_path / "x.safetensors", "single_stream_modulation.lin.weight", *more, width=width))

    assert kind("guidance_in.in_layer.weight").reference == "black-forest-labs/FLUX.2-dev"
    assert kind(width=3072).reference.endswith("klein-base-4B")
    assert kind(width=4096).reference.endswith("klein-base-9B")


@pytest.mark.parametrize(
    ("keys", "told"),
    [
        (("embed_image_indicator.weight",), r"Ideogram 4, .*Point `base` at its folder"),
        (("txtfusion.projector.weight", "text_encoders.qwen.x"), r"in one file, .*Get the transformer's own file"),
        (("txtfusion.projector.weight", "blocks.0.attn.wq.scale_weight"), r"in 8 or 4 bits .*Get it in 16 bits"),
        (("double_blocks.0.img_attn.qkv.weight", "double_blocks.0.img_attn.qkv.weight_scale"), "in 8 or 4 bits"),
        (("model.diffusion_model.double_blocks.0.x", "scaled_fp8"), "in 8 or 4 bits"),
    ],
)
def test_what_is_not_taken_apart_is_told_with_what_to_do(keys: tuple[str, ...], told: str, tmp_path: Path) -> None:
    with pytest.raises(BadDataError, match=told):
        identify(header(tmp_path / "x.safetensors", *keys))
