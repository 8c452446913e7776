"""A tiny random base of each family but Stable Diffusion, with the real classes and the real folder layout.

Latents are 8x8 for pictures of 16x16, or as large as SIDES says. The widths are the smallest that the classes take.
"""

from __future__ import annotations

import json
from collections.abc import Callable
from pathlib import Path
from typing import Any

import diffusers
import torch
from diffusers.pipelines.flux2.system_messages import SYSTEM_MESSAGE
from tokenizers import pre_tokenizers
from transformers import (
    AutoTokenizer,
    CLIPTextConfig,
    CLIPTextModel,
    CLIPTextModelWithProjection,
    CLIPTokenizer,
    Gemma2Config,
    Gemma2Model,
    GemmaTokenizerFast,
    Mistral3Config,
    Mistral3ForConditionalGeneration,
    Mistral3Model,
    Qwen2_5_VLConfig,
    Qwen2_5_VLForConditionalGeneration,
    Qwen2TokenizerFast,
    Qwen3Config,
    Qwen3ForCausalLM,
    Qwen3Model,
    Qwen3VLConfig,
    Qwen3VLForConditionalGeneration,
    Qwen3VLModel,
    T5Config,
    T5EncoderModel,
    T5TokenizerFast,
)

from booth.families.qwen_image_2_1 import Words
from booth.testing.toy import WORDS
from booth.world.tokenizer import LENGTH, write_tokenizer

SIDE = 16  # pixels of a picture
SIDES = {
    "lumina_2": 64,
    "sana": 32,
    "qwen_image_2_1": 64,
}  # of those whose pipelines take 8 pixels a latent, or a side of 32, for granted
WIDTH = 16  # of everything that has a width


def write_base(family: str, folder: Path, **options: Any) -> Path:
    """Write the tiny base of a family into `folder`; `options` are those of its maker below."""
    torch.manual_seed(0)
    pipe = MAKERS[family](folder, **options)
    for name in ("text_encoder", "text_encoder_2", "text_encoder_3"):
        if getattr(pipe, name, None) is not None:
            getattr(pipe, name).eval()
    processor = getattr(pipe, "processor", None)
    if processor is not None:  # a whole one cannot be made without torchvision; what is read of it is the tokenizer
        pipe.register_modules(processor=None)
    pipe.save_pretrained(folder, safe_serialization=True)
    if processor is not None:
        processor.tokenizer.save_pretrained(folder / "processor")
        index = json.loads((folder / "model_index.json").read_text())
        index["processor"] = ["transformers", "Qwen3VLProcessor"]
        (folder / "model_index.json").write_text(json.dumps(index, indent=2))
    return folder


def open_with_diffusers(base: Path) -> Any:
    """diffusers' own pipeline over a base."""
    words: dict[str, Any] = {}
    if (base / "processor").is_dir():
        words["processor"] = Words(AutoTokenizer.from_pretrained(base / "processor"))
    return diffusers.DiffusionPipeline.from_pretrained(base, **words)


def side_of(family: str) -> int:
    """Pixels a side of the pictures that the tiny base of a family draws in the tests."""
    return SIDES.get(family, SIDE)


def clip_tokenizer(folder: Path) -> CLIPTokenizer:
    """CLIP's kind of tokenizer with the words of the toy base."""
    write_tokenizer(WORDS, folder / "clip")
    return CLIPTokenizer.from_pretrained(folder / "clip")


def clip(kind: Any, tokenizer: CLIPTokenizer) -> Any:
    """A CLIP text encoder of two layers."""
    config = CLIPTextConfig(
        vocab_size=len(tokenizer),
        hidden_size=WIDTH,
        intermediate_size=WIDTH,
        projection_dim=WIDTH,
        num_hidden_layers=2,
        num_attention_heads=2,
        max_position_embeddings=LENGTH,
        bos_token_id=tokenizer.bos_token_id,
        eos_token_id=tokenizer.eos_token_id,
        pad_token_id=tokenizer.pad_token_id,
    )
    return kind(config)


def autoencoder(latent_channels: int = 4, levels: int = 2, **config: Any) -> diffusers.AutoencoderKL:
    """Two pixels a latent, and twice as many for each further level."""
    return diffusers.AutoencoderKL(
        down_block_types=("DownEncoderBlock2D",) * levels,
        up_block_types=("UpDecoderBlock2D",) * levels,
        block_out_channels=(4,) * levels,
        layers_per_block=1,
        latent_channels=latent_channels,
        norm_num_groups=2,
        sample_size=SIDE,
        mid_block_add_attention=False,
        **config,
    )


def stable_diffusion_xl(folder: Path, **scheduler: Any) -> Any:
    tokenizer = clip_tokenizer(folder)
    unet = diffusers.UNet2DConditionModel(
        sample_size=8,
        in_channels=4,
        out_channels=4,
        down_block_types=("DownBlock2D", "CrossAttnDownBlock2D"),
        up_block_types=("CrossAttnUpBlock2D", "UpBlock2D"),
        block_out_channels=(4, 8),
        layers_per_block=1,
        transformer_layers_per_block=(1, 2),
        attention_head_dim=(1, 2),
        cross_attention_dim=2 * WIDTH,
        use_linear_projection=True,
        addition_embed_type="text_time",
        addition_time_embed_dim=4,
        projection_class_embeddings_input_dim=6 * 4 + WIDTH,
        norm_num_groups=2,
    )
    return diffusers.StableDiffusionXLPipeline(
        vae=autoencoder(scaling_factor=0.13025),
        text_encoder=clip(CLIPTextModel, tokenizer),
        text_encoder_2=clip(CLIPTextModelWithProjection, tokenizer),
        tokenizer=tokenizer,
        tokenizer_2=tokenizer,
        unet=unet,
        scheduler=diffusers.EulerDiscreteScheduler(
            beta_schedule="scaled_linear",
            beta_start=0.00085,
            beta_end=0.012,
            steps_offset=1,
            timestep_spacing="leading",
            **scheduler,
        ),
        add_watermarker=False,
    )


def t5_tokenizer() -> T5TokenizerFast:
    """T5's kind of tokenizer with the words of the toy base."""
    pieces = [
        ("<pad>", 0.0),
        ("</s>", 0.0),
        ("<unk>", 0.0),
        ("▁", -2.0),
        *((f"▁{w}", -3.0) for w in sorted(set(WORDS))),
    ]
    return T5TokenizerFast(vocab=pieces, extra_ids=0)


def t5(tokenizer: T5TokenizerFast, width: int = WIDTH) -> T5EncoderModel:
    """A T5 encoder of one layer; its table has rows to spare, as the real one has."""
    config = T5Config(
        vocab_size=len(tokenizer) + 8,
        d_model=width,
        d_kv=WIDTH // 2,
        d_ff=WIDTH,
        num_layers=1,
        num_heads=2,
        feed_forward_proj="gated-gelu",
    )
    return T5EncoderModel(config)


def qwen_tokenizer() -> Qwen2TokenizerFast:
    """Qwen's kind of tokenizer in which each byte is a token, with a chat template."""
    marks = ["<|endoftext|>", "<|im_start|>", "<|im_end|>"]
    letters = sorted(pre_tokenizers.ByteLevel.alphabet())
    tokenizer = Qwen2TokenizerFast(vocab={c: i for i, c in enumerate([*letters, *marks])}, merges=[])
    tokenizer.add_tokens(marks[1:], special_tokens=True)
    tokenizer.chat_template = "{% for m in messages %}<|im_start|>{{ m['content'] }}<|im_end|>{% endfor %}"
    return tokenizer


def qwen(kind: Any, config: Any, tokenizer: Qwen2TokenizerFast, layers: int = 2) -> Any:
    """A language model with Qwen's layers."""
    sizes = {
        "vocab_size": len(tokenizer) + 8,
        "hidden_size": WIDTH,
        "intermediate_size": WIDTH,
        "num_hidden_layers": layers,
        "num_attention_heads": 2,
        "num_key_value_heads": 1,
        "head_dim": WIDTH // 2,
        "max_position_embeddings": 2048,
    }
    return kind(config(**sizes))


def stable_diffusion_3(folder: Path, shift: float = 3.0, channels: int = 4) -> Any:
    tokenizer, tokenizer_3 = clip_tokenizer(folder), t5_tokenizer()
    transformer = diffusers.SD3Transformer2DModel(
        sample_size=8,
        patch_size=2,
        in_channels=channels,
        out_channels=channels,
        num_layers=2,
        attention_head_dim=8,
        num_attention_heads=2,
        joint_attention_dim=2 * WIDTH,
        caption_projection_dim=16,
        pooled_projection_dim=2 * WIDTH,
        pos_embed_max_size=8,
        dual_attention_layers=(0,),
        qk_norm="rms_norm",
    )
    return diffusers.StableDiffusion3Pipeline(
        transformer=transformer,
        scheduler=diffusers.FlowMatchEulerDiscreteScheduler(shift=shift),
        vae=autoencoder(
            channels, scaling_factor=1.5305, shift_factor=0.0609, use_quant_conv=False, use_post_quant_conv=False
        ),
        text_encoder=clip(CLIPTextModelWithProjection, tokenizer),
        text_encoder_2=clip(CLIPTextModelWithProjection, tokenizer),
        text_encoder_3=t5(tokenizer_3, 2 * WIDTH),
        tokenizer=tokenizer,
        tokenizer_2=tokenizer,
        tokenizer_3=tokenizer_3,
    )


def dynamic_scheduler() -> diffusers.FlowMatchEulerDiscreteScheduler:
    """Noise levels that shift with the size of the picture, as FLUX ships it."""
    return diffusers.FlowMatchEulerDiscreteScheduler(
        shift=3.0, use_dynamic_shifting=True, base_shift=0.5, max_shift=1.15, base_image_seq_len=4, max_image_seq_len=64
    )


def flux(folder: Path, guidance_embeds: bool = True) -> Any:
    tokenizer, tokenizer_2 = clip_tokenizer(folder), t5_tokenizer()
    transformer = diffusers.FluxTransformer2DModel(
        patch_size=1,
        in_channels=16,
        num_layers=1,
        num_single_layers=1,
        attention_head_dim=8,
        num_attention_heads=2,
        joint_attention_dim=WIDTH,
        pooled_projection_dim=WIDTH,
        guidance_embeds=guidance_embeds,
        axes_dims_rope=(4, 2, 2),
    )
    return diffusers.FluxPipeline(
        scheduler=dynamic_scheduler(),
        vae=autoencoder(scaling_factor=0.3611, shift_factor=0.1159, use_quant_conv=False, use_post_quant_conv=False),
        text_encoder=clip(CLIPTextModel, tokenizer),
        tokenizer=tokenizer,
        text_encoder_2=t5(tokenizer_2),
        tokenizer_2=tokenizer_2,
        transformer=transformer,
    )


def flux_2_klein(folder: Path, is_distilled: bool = False) -> Any:
    tokenizer = qwen_tokenizer()
    transformer = diffusers.Flux2Transformer2DModel(
        in_channels=16,
        num_layers=1,
        num_single_layers=1,
        attention_head_dim=8,
        num_attention_heads=2,
        joint_attention_dim=3 * WIDTH,
        timestep_guidance_channels=16,
        axes_dims_rope=(2, 2, 2, 2),
        guidance_embeds=False,
    )
    return diffusers.Flux2KleinPipeline(
        scheduler=dynamic_scheduler(),
        vae=flux_2_autoencoder(),
        text_encoder=qwen(Qwen3ForCausalLM, Qwen3Config, tokenizer, layers=27),  # the pipeline takes layer 27's output
        tokenizer=tokenizer,
        transformer=transformer,
        is_distilled=is_distilled,
    )


def qwen_image(folder: Path) -> Any:
    tokenizer = qwen_tokenizer()
    text = {
        "vocab_size": len(tokenizer) + 8,
        "hidden_size": WIDTH,
        "intermediate_size": WIDTH,
        "num_hidden_layers": 1,
        "num_attention_heads": 2,
        "num_key_value_heads": 1,
        "rope_parameters": {"rope_type": "default", "rope_theta": 1e4, "mrope_section": [1, 1, 2]},
    }
    vision = {"depth": 1, "hidden_size": 8, "intermediate_size": 8, "num_heads": 2, "out_hidden_size": WIDTH}
    transformer = diffusers.QwenImageTransformer2DModel(
        in_channels=16,
        out_channels=4,
        num_layers=1,
        attention_head_dim=8,
        num_attention_heads=2,
        joint_attention_dim=WIDTH,
        axes_dims_rope=(4, 2, 2),
    )
    vae = diffusers.AutoencoderKLQwenImage(
        base_dim=4,
        z_dim=4,
        dim_mult=[1, 1],
        num_res_blocks=1,
        temperal_downsample=[False],
        latents_mean=[-0.7, 0.1, 0.9, 0.0],
        latents_std=[2.8, 1.4, 2.3, 0.5],
    )
    return diffusers.QwenImagePipeline(
        scheduler=dynamic_scheduler(),
        vae=vae,
        text_encoder=Qwen2_5_VLForConditionalGeneration(Qwen2_5_VLConfig(text_config=text, vision_config=vision)),
        tokenizer=tokenizer,
        transformer=transformer,
    )


def z_image(folder: Path) -> Any:
    tokenizer = qwen_tokenizer()
    transformer = diffusers.ZImageTransformer2DModel(
        in_channels=4,
        dim=24,
        n_layers=1,
        n_refiner_layers=1,
        n_heads=2,
        n_kv_heads=2,
        cap_feat_dim=WIDTH,
        axes_dims=[4, 4, 4],
        axes_lens=[1024, 64, 64],
    )
    return diffusers.ZImagePipeline(
        scheduler=diffusers.FlowMatchEulerDiscreteScheduler(shift=6.0),
        vae=autoencoder(scaling_factor=0.3611, shift_factor=0.1159, use_quant_conv=False, use_post_quant_conv=False),
        text_encoder=qwen(Qwen3Model, Qwen3Config, tokenizer),
        tokenizer=tokenizer,
        transformer=transformer,
    )


def gemma_tokenizer() -> GemmaTokenizerFast:
    """Gemma's kind of tokenizer in which each letter is a token."""
    marks = ["<pad>", "<eos>", "<bos>", "<unk>", "<mask>"]
    letters = [chr(code) for code in range(0x21, 0x7F)]
    return GemmaTokenizerFast(vocab={c: i for i, c in enumerate([*marks, "▁", "\n", *letters])}, merges=[])


def gemma(tokenizer: GemmaTokenizerFast) -> Gemma2Model:
    """Gemma 2 in two layers."""
    config = Gemma2Config(
        vocab_size=len(tokenizer) + 8,
        hidden_size=WIDTH,
        intermediate_size=WIDTH,
        num_hidden_layers=2,
        num_attention_heads=2,
        num_key_value_heads=1,
        head_dim=WIDTH // 2,
        query_pre_attn_scalar=WIDTH // 2,
        max_position_embeddings=2048,
    )
    return Gemma2Model(config)


def lumina_2(folder: Path) -> Any:
    tokenizer = gemma_tokenizer()
    transformer = diffusers.Lumina2Transformer2DModel(
        sample_size=8,
        in_channels=4,
        hidden_size=24,
        num_layers=1,
        num_refiner_layers=1,
        num_attention_heads=2,
        num_kv_heads=1,
        multiple_of=8,
        axes_dim_rope=(4, 4, 4),
        axes_lens=(300, 32, 32),
        cap_feat_dim=WIDTH,
    )
    return diffusers.Lumina2Pipeline(
        scheduler=diffusers.FlowMatchEulerDiscreteScheduler(shift=6.0),
        vae=autoencoder(
            levels=4, scaling_factor=0.3611, shift_factor=0.1159, use_quant_conv=False, use_post_quant_conv=False
        ),
        text_encoder=gemma(tokenizer),
        tokenizer=tokenizer,
        transformer=transformer,
    )


def chroma(folder: Path) -> Any:
    tokenizer = t5_tokenizer()
    transformer = diffusers.ChromaTransformer2DModel(
        patch_size=1,
        in_channels=16,
        num_layers=1,
        num_single_layers=1,
        attention_head_dim=8,
        num_attention_heads=2,
        joint_attention_dim=WIDTH,
        axes_dims_rope=(4, 2, 2),
        approximator_num_channels=16,
        approximator_hidden_dim=WIDTH,
        approximator_layers=1,
    )
    return diffusers.ChromaPipeline(
        scheduler=dynamic_scheduler(),
        vae=autoencoder(scaling_factor=0.3611, shift_factor=0.1159, use_quant_conv=False, use_post_quant_conv=False),
        text_encoder=t5(tokenizer),
        tokenizer=tokenizer,
        transformer=transformer,
    )


def sana(folder: Path) -> Any:
    tokenizer = gemma_tokenizer()
    transformer = diffusers.SanaTransformer2DModel(
        in_channels=4,
        out_channels=4,
        num_attention_heads=2,
        attention_head_dim=8,
        num_layers=2,
        num_cross_attention_heads=2,
        cross_attention_head_dim=8,
        cross_attention_dim=16,
        caption_channels=WIDTH,
        sample_size=8,
        patch_size=1,
        mlp_ratio=1.0,
    )
    vae = diffusers.AutoencoderDC(
        latent_channels=4,
        encoder_block_out_channels=(4, 4, 4),
        decoder_block_out_channels=(4, 4, 4),
        encoder_layers_per_block=(1, 1, 1),
        decoder_layers_per_block=(1, 1, 1),
        encoder_block_types="ResBlock",
        decoder_block_types="ResBlock",
        downsample_block_type="conv",
        upsample_block_type="interpolate",
        scaling_factor=0.41407,
    )
    return diffusers.SanaPipeline(
        scheduler=diffusers.DPMSolverMultistepScheduler(
            prediction_type="flow_prediction", use_flow_sigmas=True, flow_shift=3.0
        ),
        vae=vae,
        text_encoder=gemma(tokenizer),
        tokenizer=tokenizer,
        transformer=transformer,
    )


def flux_2_autoencoder() -> diffusers.AutoencoderKLFlux2:
    """FLUX.2's, with what is usual of its latents."""
    vae = diffusers.AutoencoderKLFlux2(
        down_block_types=("DownEncoderBlock2D",) * 2,
        up_block_types=("UpDecoderBlock2D",) * 2,
        block_out_channels=(4, 4),
        layers_per_block=1,
        latent_channels=4,
        norm_num_groups=2,
        sample_size=SIDE,
        mid_block_add_attention=False,
    )
    vae.bn.running_mean.normal_()
    vae.bn.running_var.uniform_(0.5, 2.0)
    return vae


def video_autoencoder() -> diffusers.AutoencoderKLQwenImage:
    """Qwen-Image's, two pixels a latent."""
    return diffusers.AutoencoderKLQwenImage(
        base_dim=4,
        z_dim=4,
        dim_mult=[1, 1],
        num_res_blocks=1,
        temperal_downsample=[False],
        latents_mean=[-0.7, 0.1, 0.9, 0.0],
        latents_std=[2.8, 1.4, 2.3, 0.5],
    )


def qwen3_vl(kind: Any, tokenizer: Any, layers: int, width: int = WIDTH, heads: int = 2) -> Any:
    """Qwen3-VL with the smallest eye that it takes."""
    text = {
        "vocab_size": len(tokenizer) + 8,
        "hidden_size": width,
        "intermediate_size": width,
        "num_hidden_layers": layers,
        "num_attention_heads": heads,
        "num_key_value_heads": 1,
        "head_dim": width // heads,
        "max_position_embeddings": 2048,
        "rope_parameters": {"rope_type": "default", "rope_theta": 1e4, "mrope_section": [2, 1, 1]},
    }
    vision = {
        "depth": 1,
        "hidden_size": 8,
        "intermediate_size": 8,
        "num_heads": 2,
        "out_hidden_size": width,
        "deepstack_visual_indexes": [0],
    }
    return kind(Qwen3VLConfig(text_config=text, vision_config=vision))


def krea_2(folder: Path, is_distilled: bool = False) -> Any:
    tokenizer = qwen_tokenizer()
    tokenizer.add_tokens(["Describe the image by detailing the color, shape, size, texture, quantity, text, spatial "])
    transformer = diffusers.Krea2Transformer2DModel(
        in_channels=16,
        num_layers=1,
        attention_head_dim=8,
        num_attention_heads=2,
        num_key_value_heads=1,
        intermediate_size=16,
        timestep_embed_dim=16,
        text_hidden_dim=WIDTH,
        num_text_layers=2,
        text_num_attention_heads=2,
        text_num_key_value_heads=2,
        text_intermediate_size=WIDTH,
        num_layerwise_text_blocks=1,
        num_refiner_text_blocks=1,
        axes_dims_rope=(4, 2, 2),
    )
    return diffusers.Krea2Pipeline(
        scheduler=dynamic_scheduler(),
        vae=video_autoencoder(),
        text_encoder=qwen3_vl(Qwen3VLModel, tokenizer, 3),
        tokenizer=tokenizer,
        transformer=transformer,
        text_encoder_select_layers=(1, 3),
        is_distilled=is_distilled,
    )


def mistral(kind: Any, tokenizer: Any, layers: int, width: int = WIDTH) -> Any:
    """Mistral 3 with the smallest eye that it takes."""
    text = {
        "model_type": "mistral",
        "vocab_size": len(tokenizer) + 8,
        "hidden_size": width,
        "intermediate_size": width,
        "num_hidden_layers": layers,
        "num_attention_heads": width // 8,
        "num_key_value_heads": 1,
        "head_dim": 8,
        "max_position_embeddings": 2048,
    }
    vision = {
        "model_type": "pixtral",
        "hidden_size": 8,
        "intermediate_size": 8,
        "num_hidden_layers": 1,
        "num_attention_heads": 2,
        "head_dim": 4,
        "image_size": 16,
        "patch_size": 8,
    }
    return kind(Mistral3Config(text_config=text, vision_config=vision, image_token_index=0))


def ernie_image(folder: Path) -> Any:
    tokenizer = qwen_tokenizer()
    transformer = diffusers.ErnieImageTransformer2DModel(
        hidden_size=16,
        num_attention_heads=2,
        num_layers=1,
        ffn_hidden_size=16,
        in_channels=16,
        out_channels=16,
        text_in_dim=WIDTH,
        rope_axes_dim=(4, 2, 2),
    )
    for p in transformer.parameters():  # its last layers begin with zeros
        torch.nn.init.normal_(p, std=0.2) if not bool(p.any()) else None
    return diffusers.ErnieImagePipeline(
        scheduler=diffusers.FlowMatchEulerDiscreteScheduler(shift=3.0),
        vae=flux_2_autoencoder(),
        text_encoder=mistral(Mistral3Model, tokenizer, 2),
        tokenizer=tokenizer,
        transformer=transformer,
    )


def flux_2(folder: Path) -> Any:
    tokenizer = qwen_tokenizer()
    tokenizer.add_tokens([SYSTEM_MESSAGE])
    tokenizer.chat_template = "{% for m in messages %}<|im_start|>{{ m['content'][0]['text'] }}{% endfor %}"
    transformer = diffusers.Flux2Transformer2DModel(
        in_channels=16,
        num_layers=1,
        num_single_layers=1,
        attention_head_dim=8,
        num_attention_heads=2,
        joint_attention_dim=3 * 8,
        timestep_guidance_channels=16,
        axes_dims_rope=(2, 2, 2, 2),
    )
    return diffusers.Flux2Pipeline(
        scheduler=dynamic_scheduler(),
        vae=flux_2_autoencoder(),
        text_encoder=mistral(
            Mistral3ForConditionalGeneration, tokenizer, 30, 8
        ),  # the pipeline takes layer 30's output
        tokenizer=tokenizer,
        transformer=transformer,
    )


def ideogram_4(folder: Path) -> Any:
    tokenizer = qwen_tokenizer()
    tokenizer.chat_template = "{% for m in messages %}<|im_start|>{{ m['content'][0]['text'] }}<|im_end|>{% endfor %}"
    sizes = {
        "in_channels": 16,
        "num_layers": 1,
        "attention_head_dim": 8,
        "num_attention_heads": 2,
        "intermediate_size": 16,
        "adaln_dim": 8,
        "llm_features_dim": 13 * 8,
        "mrope_section": (2, 1, 1),
    }
    return diffusers.Ideogram4Pipeline(
        scheduler=diffusers.FlowMatchEulerDiscreteScheduler(),
        vae=flux_2_autoencoder(),
        text_encoder=qwen3_vl(
            Qwen3VLModel, tokenizer, 36, width=8, heads=1
        ),  # the pipeline takes what thirteen layers of them give
        tokenizer=tokenizer,
        transformer=diffusers.Ideogram4Transformer2DModel(**sizes),
        unconditional_transformer=diffusers.Ideogram4Transformer2DModel(**sizes),
    )


def qwen_image_2_1(folder: Path, sample_sigmas: list[float] | None = None) -> Any:
    tokenizer = qwen_tokenizer()
    tokenizer.add_tokens(["<|image_pad|>"], special_tokens=True)
    tokenizer.chat_template = (
        "{% for m in messages %}<|im_start|>{{ m['role'] }}\n{{ m['content'][0]['text'] }}<|im_end|>\n{% endfor %}"
    )
    vae = diffusers.AutoencoderKLQwenImage21(
        base_dim=4,
        decoder_base_dim=4,
        z_dim=4,
        dim_mult=[1, 1, 1, 1, 1],
        num_res_blocks=1,
        latents_mean=[-0.7, 0.1, 0.9, 0.0],
        latents_std=[2.8, 1.4, 2.3, 0.5],
    )
    transformer = diffusers.QwenImage21Transformer2DModel(
        in_channels=4,
        out_channels=4,
        num_layers=1,
        attention_head_dim=8,
        num_attention_heads=2,
        context_in_dim=WIDTH,
        mlp_ratio=1,
        axes_dims_rope=(4, 2, 2),
    )
    return diffusers.QwenImage21Pipeline(
        scheduler=dynamic_scheduler(),
        vae=vae,
        text_encoder=qwen3_vl(Qwen3VLForConditionalGeneration, tokenizer, 2),
        processor=Words(tokenizer),
        transformer=transformer,
        sample_sigmas=sample_sigmas,
    )


MAKERS: dict[str, Callable[..., Any]] = {
    maker.__name__: maker
    for maker in (
        *(stable_diffusion_xl, stable_diffusion_3, flux, flux_2_klein, qwen_image, z_image),
        *(lumina_2, chroma, sana, krea_2, ernie_image, flux_2, ideogram_4, qwen_image_2_1),
    )
}
