"""A token in other programs' files, against diffusers' loader and torch's own reader."""

from __future__ import annotations

from pathlib import Path

import pytest
import torch
from diffusers import StableDiffusionPipeline
from safetensors.torch import load_file, save_file

from booth.concept import Concept
from booth.core.errors import UsageError
from booth.core.family import Family
from booth.export import torch_proof as torch_file
from booth.export.bundle.write import Bundle
from booth.export.embedding import proof as reader
from booth.export.embedding.names import names_for
from booth.export.parts import parts_of
from booth.export.run import export
from booth.generate.concepts import Applied, attached
from harness import draw

PROMPT = "a photo of zwx dog"


@pytest.mark.parametrize("to", ["embedding", "embedding-pt"])
def test_diffusers_loads_it_as_the_same_word(to: str, word: Concept, toy: Family, toy_base: Path, here: Path):
    done = export(word, to)
    assert done.file == here.joinpath("exports", f"zwx{done.file.suffix}").relative_to(here)
    assert (done.check.passed, done.check.difference) == (True, 0.0)
    pipe = StableDiffusionPipeline.from_pretrained(toy_base)
    pipe.load_textual_inversion(str(done.file.parent), weight_name=done.file.name, token="zwx")
    with attached(toy, [Applied(word)]):
        ours = draw(toy.pipeline(), PROMPT)
    assert torch.equal(ours, draw(pipe, PROMPT))


def test_the_safetensors_file_has_one_tensor_as_automatic1111_insists(word: Concept, here: Path):
    (tensor,) = load_file(export(word, "embedding").file).values()
    (rows,) = load_file(word.folder / "learned_embeds.safetensors").values()
    assert torch.equal(tensor, rows)


@pytest.mark.essential
def test_the_pt_is_read_without_running_code_and_has_automatic1111s_fields(word: Concept, here: Path):
    values = torch.load(export(word, "embedding-pt").file, weights_only=True)
    assert values["string_to_token"] == {"*": 265}
    assert values["string_to_param"]["*"].shape == (8, 32)
    assert (values["name"], values["step"]) == ("zwx", 2)
    assert values["booth"]["modelspec.architecture"] == "stable-diffusion-v1/textual-inversion"
    assert torch_file.refusals(here / "exports" / "zwx.pt") == []


def test_two_encoders_share_one_file():
    rows = {"clip_l": torch.ones(2, 3), "clip_g": torch.zeros(2, 5)}
    reading = reader.read(rows)
    assert {table: t.shape for table, t in reading.rows.items()} == {"text_encoder": (2, 3), "text_encoder_2": (2, 5)}
    assert reader.read({"a": torch.ones(1, 3), "b": torch.ones(1, 3)}).unmatched == ["a", "b"]
    assert reader.read({"string_to_param": {"*": torch.ones(3), "+": torch.ones(3)}}).unmatched == ["+"]


def test_a_concepts_rows_of_two_encoders_keep_their_names(word: Concept, tmp_path: Path):
    rows = {"clip_l": torch.ones(2, 3), "clip_g": torch.zeros(2, 5)}
    save_file(rows, tmp_path / "learned_embeds.safetensors")
    found = parts_of(tmp_path, word.record).rows
    assert {names_for(found)[table]: t.tolist() for table, t in found.items()} == {
        n: t.tolist() for n, t in rows.items()
    }


def test_a_bundle_is_the_adapter_and_the_word(teach, toy: Family, toy_base: Path, here: Path):
    settings = {"second": "lora", "rank": 2, "token_steps": 2, "token_learning_rate": 0.1, "keep_norm": False}
    concept = teach("two_stage", token="qvz", settings=settings | {"lora_learning_rate": 3e-2})
    with pytest.raises(UsageError, match="lose the token's rows"):
        export(concept, "kohya")
    with pytest.raises(UsageError, match="lose the adapter"):
        export(concept, "embedding")
    done = export(concept, "bundle", picture=True)
    assert done.check.passed
    assert done.check.picture is not None
    assert done.check.picture <= 1  # of 255: one rounding
    tensors = load_file(done.file)
    (rows,) = load_file(concept.folder / "learned_embeds.safetensors").values()
    assert torch.equal(tensors["bundle_emb.qvz.string_to_param.*"], rows)
    rest = {name for name in tensors if not name.startswith("bundle_emb.")}
    assert rest
    assert all(name.startswith("lora_unet_") for name in rest)
    assert done.programs == ("AUTOMATIC1111", "ComfyUI")  # Forge and OneTrainer read no rows of one


def test_a_bundle_of_whole_weights_holds_a_lora_extracted_from_them(teach, toy: Family, here: Path):
    settings = {"token_steps": 1, "token_learning_rate": 0.1, "learning_rate": 1e-3}
    concept = teach("two_stage", token="whl", settings=settings | {"second": "full"})
    with pytest.raises(UsageError, match=r"would lose .* of the squared change at rank 2, .* norms and biases"):
        export(concept, "bundle", rank=2)
    done = export(concept, "bundle", rank=2, lossy=True)
    assert done.check.passed
    tensors = load_file(done.file)
    rows = load_file(concept.folder / "learned_embeds.safetensors")["whl"]
    assert torch.equal(tensors["bundle_emb.whl.string_to_param.*"], torch.atleast_2d(rows))
    name = "mid_block.attentions.0.transformer_blocks.0.attn1.to_q"
    key = f"lora_unet_{name.replace('.', '_')}"
    got = tensors[f"{key}.lora_up.weight"] @ tensors[f"{key}.lora_down.weight"]
    whole = load_file(concept.folder / "unet" / "diffusion_pytorch_model.safetensors")[f"{name}.weight"].double()
    change = whole - toy.sites.denoiser.state_dict()[f"{name}.weight"].double()
    u, s, v = torch.linalg.svd(change)
    assert torch.allclose(got.double(), (u[:, :2] * s[:2]) @ v[:2], atol=1e-6)


def test_a_bundle_wants_both_halves(word: Concept, here: Path):
    with pytest.raises(UsageError, match="has not both"):
        export(word, "bundle")
    with pytest.raises(UsageError, match="holds rows, and kohya is for layers"):
        export(word, "kohya")


def test_what_a_bundle_holds_beside_its_first_word_is_told():
    row = torch.zeros(1, 8)
    kept = {"bundle_emb.one.string_to_param.*": row}
    more = ["bundle_emb.one.clip_l", "bundle_emb.one.string_to_param.+", "bundle_emb.two.clip_l", "bundle_emb.bare"]
    parts, unknown = Bundle().read(kept | dict.fromkeys(more, row), {}, {"text_encoder": {}})
    assert parts.rows["text_encoder"].shape == (1, 8)
    assert sorted(unknown) == sorted(more)
    assert Bundle().read(kept, {}, {"text_encoder": {}})[1] == []
