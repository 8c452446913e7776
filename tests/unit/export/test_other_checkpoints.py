"""Single files of Stable Diffusion XL and FLUX.1, against diffusers' own converters from their authors' layouts."""

from __future__ import annotations

import json
import shutil
from pathlib import Path
from typing import Any

import pytest
import torch
from diffusers import FluxTransformer2DModel, UNet2DConditionModel
from diffusers.loaders.single_file_utils import (
    convert_flux_transformer_checkpoint_to_diffusers,
    convert_ldm_clip_checkpoint,
    convert_ldm_unet_checkpoint,
    convert_ldm_vae_checkpoint,
    convert_open_clip_checkpoint,
)
from safetensors import safe_open
from safetensors.torch import load_file, save_file
from torch import Tensor

from bases import write_base
from booth.concept import Concept
from booth.core.errors import BadDataError, UsageError
from booth.core.method import Subject
from booth.export.base_files import BaseFiles
from booth.export.checkpoint import flux_proof as flux
from booth.export.checkpoint import names as original_names
from booth.export.checkpoint import proof as original
from booth.export.checkpoint.write import Checkpoint
from booth.export.component_files import component_tensors
from booth.export.exporter import Job
from booth.export.parts import Parts, parts_of
from booth.export.run import export
from booth.families.loading import base_hash, load_family
from booth.families.single_file import identify
from booth.generate.concepts import Applied, attached
from booth.generate.draw import draw
from booth.importing.new_concept import write_concept
from booth.importing.run import import_file

PROMPT = "a photo of ohwx dog"


@pytest.fixture(scope="module")
def xl_base(tmp_path_factory: pytest.TempPathFactory) -> Path:
    return write_base("stable_diffusion_xl", tmp_path_factory.mktemp("xl") / "base")


@pytest.fixture(scope="module")
def flux_base(tmp_path_factory: pytest.TempPathFactory) -> Path:
    return write_base("flux", tmp_path_factory.mktemp("flux") / "base")


def fine_tuned(base: Path, *components: str) -> Concept:
    """A DreamBooth concept in which every weight of these components has moved."""
    generator = torch.Generator().manual_seed(0)

    def moved(component: str) -> dict[str, Tensor]:
        state = component_tensors(base / component)
        return {n: t + 0.05 * torch.randn(t.shape, generator=generator) for n, t in state.items()}

    states = {component: moved(component) for component in components}
    parts = Parts(weights={component: lambda c=component: states[c] for component in components})
    about = {"format": "none", "sha256": "none", "steps": 2}
    return write_concept(base.parent / "concept", str(base), Subject("ohwx", "dog"), parts, about, False)


@pytest.fixture(scope="module")
def xl(xl_base: Path) -> Concept:
    """Stable Diffusion XL with everything fine-tuned but the autoencoder."""
    return fine_tuned(xl_base, "unet", "text_encoder", "text_encoder_2")


@pytest.fixture(scope="module")
def tuned_flux(flux_base: Path) -> Concept:
    return fine_tuned(flux_base, "transformer")


def same(ours: dict[str, Tensor], theirs: dict[str, Tensor]) -> None:
    assert ours.keys() == theirs.keys()
    assert all(torch.equal(ours[name], tensor) for name, tensor in theirs.items())


def drawn(base: Path, concept: Concept | None = None) -> bytes:
    model = load_family(str(base))
    with attached(model, [] if concept is None else [Applied(concept)]):
        return draw(model, [PROMPT], [0], steps=2)[0].tobytes()


def test_diffusers_converts_a_fine_tuned_xl_back_to_what_was_trained(xl: Concept, xl_base: Path, here: Path):
    done = export(xl, "checkpoint", picture=True)
    assert (done.check.passed, done.check.difference, done.check.picture) == (True, 0.0, 0)
    assert identify(done.file).family == "stable_diffusion_xl"
    tensors, model = load_file(done.file), load_family(str(xl_base))
    parts: Any = model.components()
    trained = {name: component_tensors(xl.folder / name) for name in ("unet", "text_encoder", "text_encoder_2")}
    same(convert_ldm_unet_checkpoint(tensors, parts["unet"].config), trained["unet"])
    same(convert_ldm_vae_checkpoint(tensors, parts["vae"].config), parts["vae"].state_dict())
    same(convert_ldm_clip_checkpoint(tensors), trained["text_encoder"])
    prefix = "conditioner.embedders.1.model."
    same(convert_open_clip_checkpoint(parts["text_encoder_2"], tensors, prefix=prefix), trained["text_encoder_2"])
    before = component_tensors(xl_base / "text_encoder_2")
    assert not torch.equal(trained["text_encoder_2"]["text_projection.weight"], before["text_projection.weight"])
    assert drawn(xl_base, import_file(done.file, base=str(xl_base))) == drawn(xl_base, xl) != drawn(xl_base)


def test_xls_names_are_those_of_its_own_file():
    """Keys of stabilityai/stable-diffusion-xl-base-1.0's single file, at full size on the meta device."""
    with torch.device("meta"):
        unet = UNet2DConditionModel(
            down_block_types=("DownBlock2D", "CrossAttnDownBlock2D", "CrossAttnDownBlock2D"),
            up_block_types=("CrossAttnUpBlock2D", "CrossAttnUpBlock2D", "UpBlock2D"),
            block_out_channels=(320, 640, 1280),
            layers_per_block=2,
            transformer_layers_per_block=(1, 2, 10),
            attention_head_dim=(5, 10, 20),
            cross_attention_dim=2048,
            use_linear_projection=True,
            addition_embed_type="text_time",
            addition_time_embed_dim=256,
            projection_class_embeddings_input_dim=2816,
        )
    state = unet.state_dict()
    written = original_names.unet(state)
    assert len(written) == 1680
    for key, shape in {
        "label_emb.0.0.weight": (1280, 2816),
        "input_blocks.4.1.transformer_blocks.1.attn2.to_k.weight": (640, 2048),
        "input_blocks.8.1.transformer_blocks.9.ff.net.2.weight": (1280, 5120),
        "middle_block.1.proj_in.weight": (1280, 1280),
        "output_blocks.2.2.conv.weight": (1280, 1280, 3, 3),
        "output_blocks.5.2.conv.bias": (640,),
        "output_blocks.8.0.skip_connection.weight": (320, 640, 1, 1),
        "out.2.weight": (4, 320, 3, 3),
    }.items():
        assert written[f"model.diffusion_model.{key}"].shape == shape, key
    back = convert_ldm_unet_checkpoint(written, unet.config)
    assert back.keys() == state.keys()
    assert all(back[name] is tensor for name, tensor in state.items())
    reading = original.read(written, {"unet": {name: tuple(t.shape) for name, t in state.items()}})
    assert (reading.missing, reading.unmatched) == ([], [])


def thin(state: dict[str, Tensor]) -> dict[str, Tensor]:
    """Random tensors with the rows of a state on the meta device and two columns at most."""
    generator = torch.Generator().manual_seed(0)
    return {
        n: torch.randn(t.shape[0], *(min(2, s) for s in t.shape[1:]), generator=generator) for n, t in state.items()
    }


@pytest.mark.parametrize("guidance", [True, False])
def test_diffusers_converts_fluxs_transformer_back(guidance: bool):
    """At the real widths, which diffusers' converter takes for granted; one block of each kind."""
    with torch.device("meta"):
        model = FluxTransformer2DModel(num_layers=1, num_single_layers=1, guidance_embeds=guidance)
    state = thin(model.state_dict())
    written = original_names.flux_transformer(state)
    for key, rows in {
        "double_blocks.0.img_attn.qkv.weight": 9216,
        "double_blocks.0.txt_attn.norm.key_norm.scale": 128,
        "double_blocks.0.txt_mod.lin.bias": 18432,
        "single_blocks.0.linear1.weight": 21504,
        "single_blocks.0.modulation.lin.weight": 9216,
        "final_layer.adaLN_modulation.1.weight": 6144,
        "vector_in.in_layer.weight": 3072,
    }.items():
        assert len(written[key]) == rows, key
    assert ("guidance_in.in_layer.weight" in written) == guidance
    reading = flux.read(written, {name: tuple(t.shape) for name, t in state.items()})
    assert (reading.missing, reading.unmatched) == ([], [])
    same(reading.states["transformer"], state)
    same(convert_flux_transformer_checkpoint_to_diffusers(dict(written)), state)
    swapped = written | {"single_blocks.0.linear1.bias": written["single_blocks.0.linear1.bias"].flip(0)}
    wrong = flux.read(swapped, {name: tuple(t.shape) for name, t in state.items()}).states["transformer"]
    assert not torch.equal(wrong["single_transformer_blocks.0.attn.to_q.bias"],
                           state["single_transformer_blocks.0.attn.to_q.bias"])  # fmt: skip


@pytest.mark.parametrize(("precision", "dtype"), [("fp32", torch.float32), ("bf16", torch.bfloat16)])
def test_a_fine_tuned_flux_goes_out_and_comes_back(
    precision: str, dtype: torch.dtype, tuned_flux: Concept, flux_base: Path, here: Path
):
    done = export(tuned_flux, "checkpoint", precision=precision, picture=True)
    assert done.check.passed
    assert done.check.picture is not None
    assert identify(done.file).family == "flux"
    tensors = load_file(done.file)
    assert {t.dtype for t in tensors.values()} == {dtype}
    assert "double_blocks.0.img_attn.qkv.weight" in tensors
    with safe_open(done.file, "pt") as file:
        header = file.metadata()
    assert header["modelspec.architecture"] == "flux-1-dev"
    assert json.loads(header["booth.verified"])["picture"] == done.check.picture
    if precision == "fp32":
        assert (done.check.difference, done.check.picture) == (0.0, 0)
        again = import_file(done.file, base=str(flux_base))
        assert drawn(flux_base, again) == drawn(flux_base, tuned_flux) != drawn(flux_base)
    else:
        assert 1e-4 < done.check.difference < 2e-2


def test_what_a_file_cannot_hold_is_told(tuned_flux: Concept, here: Path):
    settings = tuned_flux.record.settings | {"train_text_encoder": True}
    more = Concept(tuned_flux.folder, tuned_flux.record.model_copy(update={"settings": settings}))
    with pytest.raises(UsageError, match="lose the trained text_encoder, for which files of flux have no place"):
        export(more, "checkpoint")
    with pytest.raises(UsageError, match="no place for class_embedding"):
        original_names.unet({"down_blocks.0.resnets.0.norm1.weight": torch.ones(1), "class_embedding": torch.ones(1)})
    with pytest.raises(UsageError, match=r"no place for transformer_blocks\.0\.new"):
        original_names.flux_transformer({"transformer_blocks.0.new.weight": torch.ones(1)})


@pytest.mark.parametrize(
    ("scheduler", "markers"),
    [
        ({}, set()),
        ({"prediction_type": "v_prediction"}, {"v_pred"}),
        ({"prediction_type": "v_prediction", "rescale_betas_zero_snr": True}, {"v_pred", "ztsnr"}),
    ],
)
def test_an_xl_file_tells_that_it_predicts_velocity_as_comfyui_looks_for_it(
    scheduler: dict, markers: set[str], xl: Concept, xl_base: Path, here: Path
):
    base = shutil.copytree(xl_base, here / "base")
    file = base / "scheduler" / "scheduler_config.json"
    file.write_text(json.dumps(json.loads(file.read_text()) | scheduler))
    at_hand = xl.record.base.model_copy(update={"hash": base_hash(base)})
    record = xl.record.model_copy(update={"base": at_hand})
    job, exporter = Job(xl.folder, record, parts_of(xl.folder, record), BaseFiles(base)), Checkpoint()
    assert exporter.lost(job) == []
    assert ("AUTOMATIC1111" in exporter.read_by(job)) is (not markers)
    exporter.write(job, exporter.tensors(job), here / "x.safetensors", {})
    assert exporter.check(job, here / "x.safetensors").passed
    tensors = load_file(here / "x.safetensors")
    assert tensors.keys() & {"v_pred", "ztsnr"} == markers
    assert exporter.read(tensors, {}, job.shapes)[1] == []
    save_file({n: t for n, t in tensors.items() if n not in markers}, here / "mute.safetensors")
    assert exporter.check(job, here / "mute.safetensors").missing == sorted(markers)


def test_a_file_of_another_family_is_refused(tuned_flux: Concept, xl_base: Path, toy_base: Path, here: Path):
    file = export(tuned_flux, "checkpoint").file
    for base in (xl_base, toy_base):
        with pytest.raises(BadDataError, match="for another architecture than the base"):
            import_file(file, base=str(base))
    other = tuned_flux.record.model_copy(update={"family": "z_image"})
    with pytest.raises(UsageError, match="is known for stable_diffusion, stable_diffusion_xl, flux, not for z_image"):
        export(Concept(tuned_flux.folder, other), "checkpoint")


def test_a_file_without_one_of_two_text_encoders_is_refused(xl: Concept, xl_base: Path, here: Path):
    tensors = load_file(export(xl, "checkpoint").file)
    save_file({n: t for n, t in tensors.items() if "embedders.1." not in n}, here / "cut.safetensors")
    with pytest.raises(BadDataError, match="some text encoders but no text_encoder_2"):
        import_file(here / "cut.safetensors", base=str(xl_base), token="ohwx", noun="dog")
