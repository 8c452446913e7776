"""ControlNets in the original layout, against diffusers' own conversion and its ControlNet pipeline's network."""

from __future__ import annotations

import shutil
from pathlib import Path
from typing import Any

import pytest
import torch
from diffusers import AutoencoderKL, ControlNetModel, UNet2DConditionModel
from diffusers.loaders.single_file_utils import convert_controlnet_checkpoint
from safetensors.torch import load_file, save_file
from torch import Tensor

from booth.concept import Concept
from booth.core.errors import BadDataError, UsageError
from booth.export.controlnet import proof as control
from booth.export.controlnet import write as cldm
from booth.export.run import export
from booth.importing.run import import_file
from original_layout import unet_key

HINTS = ("conv_in", *(f"blocks.{i}" for i in range(6)), "conv_out")


def original_key(key: str, layers: int) -> str:
    """The name in cldm.py of a ControlNet's tensor."""
    module, _, kind = key.rpartition(".")
    start, _, rest = module.partition(".")
    if start == "controlnet_cond_embedding":
        return f"input_hint_block.{2 * HINTS.index(rest)}.{kind}"
    if start == "controlnet_down_blocks":
        return f"zero_convs.{rest}.0.{kind}"
    return f"middle_block_out.0.{kind}" if start == "controlnet_mid_block" else unet_key(key, layers)


def original_file(net: Any, file: Path) -> Path:
    layers = net.config.layers_per_block
    save_file({f"control_model.{original_key(n, layers)}": t.clone() for n, t in net.state_dict().items()}, file)
    return file


@pytest.fixture(scope="module")
def base(toy_base: Path, tmp_path_factory: pytest.TempPathFactory) -> Path:
    """The tiny base with an autoencoder of four levels, as Stable Diffusion's, so that a picture has 64 pixels."""
    folder = tmp_path_factory.mktemp("control") / "base"
    shutil.copytree(toy_base, folder)
    torch.manual_seed(0)
    kind: Any = AutoencoderKL
    kind(
        down_block_types=("DownEncoderBlock2D",) * 4,
        up_block_types=("UpDecoderBlock2D",) * 4,
        block_out_channels=(8, 8, 16, 16),
        layers_per_block=1,
        latent_channels=4,
        norm_num_groups=8,
        sample_size=64,
        mid_block_add_attention=False,
    ).save_pretrained(folder / "vae", safe_serialization=True)
    return folder


@pytest.fixture(scope="module")
def net(base: Path) -> Any:
    """A ControlNet beside that base with no weight at zero."""
    unet: Any = UNet2DConditionModel.from_pretrained(base / "unet")
    made = ControlNetModel.from_unet(unet, conditioning_embedding_out_channels=(16, 32, 96, 256))
    generator = torch.Generator().manual_seed(1)
    with torch.no_grad():
        for p in made.parameters():
            p.add_(0.1 * torch.randn(p.shape, generator=generator))
    return made


def same(ours: dict[str, Tensor], theirs: dict[str, Tensor]) -> None:
    assert ours.keys() == theirs.keys()
    assert all(torch.equal(ours[name], tensor) for name, tensor in theirs.items())


def test_a_file_comes_in_and_goes_out_as_diffusers_converts_it(net: Any, base: Path, here: Path):
    file = original_file(net, here / "control_sd15_canny.safetensors")
    concept = import_file(file, base=str(base))
    assert (concept.folder, concept.record.method) == (Path("concepts/control_sd15_canny"), "controlnet")
    assert (concept.record.settings["control"], concept.record.prompt) == ("canny", "")
    same(load_file(concept.folder / "controlnet" / "diffusion_pytorch_model.safetensors"), net.state_dict())

    done = export(Concept.load(concept.folder), "cldm", picture=True)
    assert (done.check.passed, done.check.difference, done.check.picture) == (True, 0.0, 0)
    written = load_file(done.file)
    same(written, load_file(file))
    same(convert_controlnet_checkpoint(dict(written), net.config), net.state_dict())
    opened = ControlNetModel.from_single_file(
        str(done.file), config=str(concept.folder), subfolder="controlnet", local_files_only=True
    )
    same(opened.state_dict(), net.state_dict())


def test_a_wrong_file_would_draw_something_else(net: Any, base: Path, here: Path, monkeypatch: pytest.MonkeyPatch):
    concept = import_file(original_file(net, here / "x.safetensors"), base=str(base), control="canny")
    read: Any = cldm.Cldm.loaded

    def without_the_middle(self: Any, job: Any, file: Path) -> Any:
        loaded = read(self, job, file)
        loaded.weights["controlnet"]["controlnet_mid_block.weight"].zero_()
        return loaded

    monkeypatch.setattr(cldm.Cldm, "loaded", without_the_middle)
    done = export(concept, "cldm", picture=True)
    assert done.check.passed
    assert done.check.picture is not None
    assert done.check.picture > 0


def test_names_are_those_of_stable_diffusion_1_5s_files(net: Any):
    """Keys as they stand in lllyasviel/ControlNet-v1-1's files, and as many: 340 tensors."""
    with torch.device("meta"):
        state = ControlNetModel(cross_attention_dim=768).state_dict()
    shapes = {name: tuple(t.shape) for name, t in state.items()}
    keys = cldm.unet_keys(state)
    written = {f"control_model.{keys.get(name) or cldm._beside(name)}": t for name, t in state.items()}
    assert len(written) == 340
    for key, shape in {
        "time_embed.2.weight": (1280, 1280),
        "input_blocks.0.0.weight": (320, 4, 3, 3),
        "input_blocks.3.0.op.bias": (320,),
        "input_blocks.4.0.skip_connection.weight": (640, 320, 1, 1),
        "input_blocks.8.1.transformer_blocks.0.attn2.to_k.weight": (1280, 768),
        "input_blocks.11.0.emb_layers.1.weight": (1280, 1280),
        "input_hint_block.2.weight": (16, 16, 3, 3),
        "input_hint_block.14.weight": (320, 256, 3, 3),
        "zero_convs.11.0.weight": (1280, 1280, 1, 1),
        "middle_block.1.proj_in.weight": (1280, 1280, 1, 1),
        "middle_block_out.0.bias": (1280,),
    }.items():
        assert written[f"control_model.{key}"].shape == shape, key
    reading = control.read(written, shapes)
    assert (reading.missing, reading.unmatched) == ([], [])
    assert all(reading.states["controlnet"][name] is not None for name in state)
    back = convert_controlnet_checkpoint(dict(written), {"layers_per_block": 2})
    assert {name: t for name, t in back.items() if t is not state[name]} == {}


def test_what_does_not_fit_is_refused(net: Any, toy_base: Path, base: Path, here: Path):
    file = original_file(net, here / "mine.safetensors")
    with pytest.raises(UsageError, match=r"does not say what it follows\. Add `control`: canny"):
        import_file(file, base=str(base))
    save_file(load_file(file), here / "odd.safetensors", metadata={"booth.control": "canny\x1b[2J"})
    with pytest.raises(UsageError, match=r"'canny\\\\x1b\[2J' cannot be what a ControlNet follows"):
        import_file(here / "odd.safetensors", base=str(base))
    with pytest.raises(BadDataError, match=r"latents an\s+eighth"):
        import_file(file, base=str(toy_base), control="canny")
    tensors = load_file(file)
    del tensors["control_model.zero_convs.3.0.bias"]
    save_file(tensors, here / "cut.safetensors")
    with pytest.raises(BadDataError, match=r"1 of its weights are missing .* 'controlnet_down_blocks.3.bias'"):
        import_file(here / "cut.safetensors", base=str(base), control="canny")
    assert not (here / "concepts").exists()


def test_a_model_beside_the_network_is_told(net: Any, base: Path, here: Path):
    tensors = load_file(original_file(net, here / "mine.safetensors"))
    save_file(tensors | {"model.diffusion_model.out.2.bias": torch.zeros(4)}, here / "whole.safetensors")
    alone, whole = (
        import_file(here / f"{name}.safetensors", base=str(base), control="canny", out=here / name)
        for name in ("mine", "whole")
    )
    assert "notes" not in alone.record.data["imported"]
    (note,) = whole.record.data["imported"]["notes"]
    assert "a whole model too, whose 1 tensors are passed over" in note


def test_another_hint_encoder_and_another_concept_are_refused(lora: Concept, net: Any, base: Path, here: Path):
    with pytest.raises(UsageError, match="holds layers, and cldm is for control"):
        export(lora, "cldm")
    concept = import_file(original_file(net, here / "x.safetensors"), base=str(base), control="canny")
    with pytest.raises(UsageError, match="holds control, and kohya is for layers"):
        export(concept, "kohya")
    family = concept.record.model_copy(update={"family": "stable_diffusion_xl"})
    with pytest.raises(UsageError, match="is known for stable_diffusion, not for stable_diffusion_xl"):
        export(Concept(concept.folder, family), "cldm")
    plain = {**net.config, "mid_block_type": "UNetMidBlock2D"}
    ControlNetModel.from_config(plain).save_pretrained(concept.folder / "controlnet", safe_serialization=True)
    with pytest.raises(UsageError, match=r"attention in the middle block, and .* was trained without"):
        export(concept, "cldm")
    small = ControlNetModel.from_unet(UNet2DConditionModel.from_pretrained(base / "unet"),
                                      conditioning_embedding_out_channels=(16, 32))  # fmt: skip
    small.save_pretrained(concept.folder / "controlnet", safe_serialization=True)
    with pytest.raises(UsageError, match=r"hint encoder of eight convolutions, .* has 4"):
        export(concept, "cldm")
    assert not (here / "exports").exists() or not list((here / "exports").iterdir())
