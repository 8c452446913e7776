"""The kinds of checkpoints in a single file, by how their keys begin."""

from __future__ import annotations

from dataclasses import dataclass

DENOISER = "model.diffusion_model."


@dataclass(frozen=True)
class Kind:
    """A kind of file, told by how some of its keys begin."""

    begins: tuple[str, ...]  # any of these
    title: str
    family: str | None = None  # None is no base
    reference: str = ""  # the Hub repository whose configuration and tokenizers it needs
    alone: bool = False  # whether the file holds the transformer alone, and all else is the reference's
    advice: str = "Name another base."  # where it is none


def _denoiser(begins: str) -> tuple[str, str]:
    """A denoiser's keys, with or without the name that ComfyUI puts in front."""
    return begins, f"{DENOISER}{begins}"


def _transformer(begins: str, title: str, family: str, reference: str) -> Kind:
    """A file of the transformer alone."""
    return Kind(_denoiser(begins), title, family, reference, alone=True)


STABLE_DIFFUSION_2 = Kind(
    ("cond_stage_model.model.",), "Stable Diffusion 2.x", "stable_diffusion", "stabilityai/stable-diffusion-2-1"
)

# The first that fits: the more special ones stand above the more general.
KINDS = (
    Kind(("lora_unet_", "lora_te", "lora_transformer_", "unet.", "transformer."), "a LoRA, not a base"),
    Kind(("control_model.", "controlnet_cond_embedding.", "input_hint_block."), "a ControlNet, not a base"),
    Kind(("emb_params", "clip_l", "string_to_param"), "an embedding, not a base"),
    Kind(("edm_mean", "edm_vpred."), "a base with the noise levels of EDM, as Playground v2.5, which cannot be taught"),
    Kind(
        ("conditioner.embedders.1.",),
        "Stable Diffusion XL",
        "stable_diffusion_xl",
        "stabilityai/stable-diffusion-xl-base-1.0",
    ),
    Kind(("conditioner.embedders.0.model.",), "the refiner of Stable Diffusion XL, which cannot be taught"),
    STABLE_DIFFUSION_2,
    Kind(
        ("cond_stage_model.transformer.",),
        "Stable Diffusion 1.x",
        "stable_diffusion",
        "stable-diffusion-v1-5/stable-diffusion-v1-5",
    ),
    Kind(
        _denoiser("joint_blocks.37."),
        "Stable Diffusion 3.5 large",
        "stable_diffusion_3",
        "stabilityai/stable-diffusion-3.5-large",
    ),
    Kind(
        _denoiser("joint_blocks.0.x_block.attn2."),
        "Stable Diffusion 3.5 medium",
        "stable_diffusion_3",
        "stabilityai/stable-diffusion-3.5-medium",
    ),
    Kind(
        _denoiser("joint_blocks."),
        "Stable Diffusion 3",
        "stable_diffusion_3",
        "stabilityai/stable-diffusion-3-medium-diffusers",
    ),
    _transformer("single_stream_modulation.", "FLUX.2", "flux_2", "black-forest-labs/FLUX.2-dev"),
    _transformer("distilled_guidance_layer.", "Chroma", "chroma", "lodestones/Chroma1-HD"),
    Kind(_denoiser("guidance_in."), "FLUX.1 dev", "flux", "black-forest-labs/FLUX.1-dev"),
    Kind(
        _denoiser("double_blocks."),
        "FLUX.1 schnell",
        "flux",
        "black-forest-labs/FLUX.1-schnell",
    ),
    # Z-Image has kept Lumina-Image 2.0's code but for the first of these.
    _transformer("layers.0.adaLN_modulation.0.", "Z-Image", "z_image", "Tongyi-MAI/Z-Image-Turbo"),
    _transformer("cap_embedder.", "Lumina-Image 2.0", "lumina_2", "Alpha-VLLM/Lumina-Image-2.0"),
    _transformer("blocks.0.cross_attn.q_linear.", "Sana", "sana", "Efficient-Large-Model/Sana_1600M_1024px_diffusers"),
    _transformer("txtfusion.", "Krea 2", "krea_2", "krea/Krea-2-Raw"),
    _transformer("txt_in.text_norm.", "Qwen-Image-2.1", "qwen_image_2_1", "Qwen/Qwen-Image-2.1"),
    _transformer("transformer_blocks.0.img_mod.1.", "Qwen-Image", "qwen_image", "Qwen/Qwen-Image"),
    _transformer("layers.0.mlp.linear_fc2.", "ERNIE-Image", "ernie_image", "baidu/ERNIE-Image"),
    Kind(
        _denoiser("embed_image_indicator."),
        "Ideogram 4, whose single files nothing here takes apart",
        advice="Point `base` at its folder in diffusers' layout instead.",
    ),
    Kind(("down_blocks.", "transformer_blocks.", "text_model."), "one part of a base; name the folder that it lies in"),
)
