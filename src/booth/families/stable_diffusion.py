"""Stable Diffusion 1.x and 2.x, and the embedded base, which has the same layout. diffusers lives only here."""

from __future__ import annotations

import os
from collections.abc import Iterable, Mapping
from pathlib import Path
from typing import Any

import torch
from torch import Tensor, nn

os.environ.setdefault("DIFFUSERS_DISABLE_REMOTE_CODE", "1")  # closes the community-pipeline downloader

from diffusers import (
    AutoencoderKL,
    DDIMScheduler,
    DDPMScheduler,
    DPMSolverMultistepScheduler,
    EulerAncestralDiscreteScheduler,
    EulerDiscreteScheduler,
    PNDMScheduler,
    StableDiffusionPipeline,
    UNet2DConditionModel,
    UniPCMultistepScheduler,
)
from diffusers.utils import convert_all_state_dict_to_peft, convert_state_dict_to_diffusers
from safetensors.torch import load_file
from transformers import CLIPTextModel, CLIPTokenizer

from booth.core.errors import BadDataError, UsageError
from booth.core.family import Condition, Family, Posterior
from booth.core.noising import Epsilon, Noising, Velocity
from booth.core.sites import LinearSite, Sites, TokenTable

SCHEDULERS = {
    "ddim": DDIMScheduler,
    "ddpm": DDPMScheduler,
    "dpm++": DPMSolverMultistepScheduler,
    "euler": EulerDiscreteScheduler,
    "euler-a": EulerAncestralDiscreteScheduler,
    "pndm": PNDMScheduler,
    "unipc": UniPCMultistepScheduler,
}
TINY_PARAMETERS = 100_000_000  # below this the denoiser is the embedded base's kind and takes its defaults


class StableDiffusion(Family):
    """UNet + CLIP text encoder + KL autoencoder, from a folder in the diffusers layout."""

    name = "stable_diffusion"
    title = "Stable Diffusion 1.x / 2.x"

    def __init__(self, base: Path, device: str = "cpu", dtype: torch.dtype = torch.float32) -> None:
        super().__init__()
        self.base = base
        load = {"use_safetensors": True, "local_files_only": True, "torch_dtype": dtype}
        self.unet: UNet2DConditionModel = UNet2DConditionModel.from_pretrained(base / "unet", **load)
        self.vae: AutoencoderKL = AutoencoderKL.from_pretrained(base / "vae", **load)
        self.text_encoder: CLIPTextModel = CLIPTextModel.from_pretrained(
            base / "text_encoder", use_safetensors=True, local_files_only=True, dtype=dtype
        )
        self.tokenizer: Any = CLIPTokenizer.from_pretrained(base / "tokenizer", local_files_only=True)
        self.scheduler = DDPMScheduler.from_pretrained(base / "scheduler", local_files_only=True)
        for module in self.components().values():
            module.to(device)
        self.freeze()
        self.resolution = self.unet.config.sample_size * self.vae_factor
        self.scale = "tiny" if self.unet.num_parameters() < TINY_PARAMETERS else "full"
        self.noising = self.make_noising()
        self.sites = self._sites()

    @property
    def device(self) -> torch.device:
        """Where the denoiser is."""
        return self.unet.device

    @property
    def vae_factor(self) -> int:
        """Pixels a latent."""
        return 2 ** (len(self.vae.config.block_out_channels) - 1)

    def components(self) -> Mapping[str, nn.Module]:
        return {"unet": self.unet, "text_encoder": self.text_encoder, "vae": self.vae}

    def make_noising(self, min_snr_gamma: float | None = None) -> Noising:
        kind = self.scheduler.config.prediction_type
        classes: dict[str, type[Epsilon | Velocity]] = {"epsilon": Epsilon, "v_prediction": Velocity}
        if kind not in classes:
            raise BadDataError(f"The base's scheduler says prediction_type={kind!r}; epsilon and v_prediction work.")
        return classes[kind](self.scheduler.alphas_cumprod, min_snr_gamma)

    def _sites(self) -> Sites:
        encoder = self.text_encoder

        def set_embedding(module: nn.Module) -> None:
            self._text_model().embeddings.token_embedding = module

        def set_tokenizer(tokenizer: Any) -> None:
            self.tokenizer = tokenizer

        attention = ("to_q", "to_k", "to_v", "to_out.0")
        return Sites(
            token_tables=(
                TokenTable(
                    name="text_encoder",
                    dim=encoder.config.hidden_size,
                    embedding=lambda: self._text_model().embeddings.token_embedding,
                    set_embedding=set_embedding,
                    tokenizer=lambda: self.tokenizer,
                    set_tokenizer=set_tokenizer,
                ),
            ),
            linears={
                "unet": LinearSite(
                    self.unet, {"attention": attention, "feed_forward": ("ff.net.0.proj", "ff.net.2")}
                ),
                "text_encoder": LinearSite(
                    encoder,
                    {"attention": ("q_proj", "k_proj", "v_proj", "out_proj"), "feed_forward": ("fc1", "fc2")},
                ),
            },
            cross_attention=tuple(n for n, _ in self.unet.named_modules() if n.endswith("attn2")),
            denoiser=self.unet,
            text_encoders={"text_encoder": encoder},
        )

    def _text_model(self) -> Any:
        return getattr(self.text_encoder, "text_model", self.text_encoder)

    def embed_prompts(self, prompts: list[str]) -> Condition:
        ids = self.tokenizer(
            [self.expand(p) for p in prompts],
            padding="max_length",
            max_length=self.tokenizer.model_max_length,
            truncation=True,
            return_tensors="pt",
        ).input_ids
        return Condition(self.text_encoder(ids.to(self.device))[0])

    def expand(self, prompt: str) -> str:
        """A prompt in which each token of several vectors stands as its row of tokens, as the pipeline writes it."""
        return StableDiffusionPipeline.maybe_convert_prompt(self, prompt, self.tokenizer)  # type: ignore[arg-type]

    def _maybe_convert_prompt(self, prompt: str, tokenizer: Any) -> str:
        return StableDiffusionPipeline._maybe_convert_prompt(self, prompt, tokenizer)  # type: ignore[arg-type]

    def encode(self, pixels: Tensor) -> Posterior:
        with torch.no_grad():
            dist = self.vae.encode(pixels.to(self.device, self.vae.dtype)).latent_dist
        shift = self.vae.config.shift_factor or 0.0
        factor = self.vae.config.scaling_factor
        return Posterior((dist.mean.float() - shift) * factor, dist.std.float() * factor)

    def predict(self, x_t: Tensor, t: Tensor, condition: Condition) -> Tensor:
        residuals = condition.residuals
        return self.unet(
            x_t.to(self.unet.dtype),
            t,
            encoder_hidden_states=condition.tokens.to(self.unet.dtype),
            down_block_additional_residuals=residuals[:-1] if residuals else None,
            mid_block_additional_residual=residuals[-1] if residuals else None,
        ).sample

    def pipeline(self, scheduler: str | None = None) -> StableDiffusionPipeline:
        if scheduler is not None and scheduler not in SCHEDULERS:
            raise UsageError(f"There is no scheduler called {scheduler!r}. There are: {', '.join(SCHEDULERS)}.")
        kind = DDIMScheduler if scheduler is None else SCHEDULERS[scheduler]
        pipe = StableDiffusionPipeline(
            vae=self.vae,
            text_encoder=self.text_encoder,
            tokenizer=self.tokenizer,
            unet=self.unet,
            scheduler=kind.from_config(self.scheduler.config),
            safety_checker=None,
            feature_extractor=None,
            requires_safety_checker=False,
        )
        pipe.set_progress_bar_config(disable=True)
        return pipe

    def write_lora(self, folder: Path, layers: Mapping[str, Mapping[str, Tensor]], metadata: Mapping[str, Any]) -> None:
        StableDiffusionPipeline.save_lora_weights(
            folder,
            unet_lora_layers=convert_state_dict_to_diffusers(dict(layers["unet"])),
            text_encoder_lora_layers=(
                convert_state_dict_to_diffusers(dict(layers["text_encoder"])) if layers.get("text_encoder") else None
            ),
            unet_lora_adapter_metadata=dict(metadata["unet"]),
            text_encoder_lora_adapter_metadata=dict(metadata["text_encoder"]) if layers.get("text_encoder") else None,
        )

    def read_lora(self, folder: Path) -> dict[str, dict[str, Tensor]]:
        state = load_file(folder / "pytorch_lora_weights.safetensors")
        state = convert_all_state_dict_to_peft(state)
        layers: dict[str, dict[str, Tensor]] = {}
        for key, tensor in state.items():
            component, _, rest = key.partition(".")
            layers.setdefault(component, {})[rest] = tensor
        return layers

    def write_components(self, folder: Path, changed: Iterable[str]) -> None:
        for name in changed:
            self.components()[name].save_pretrained(folder / name, safe_serialization=True)  # type: ignore[operator]

    def read_component(self, folder: Path, name: str) -> dict[str, Tensor]:
        files = sorted((folder / name).glob("*.safetensors"))
        if not files:
            raise BadDataError(f"{folder / name} holds no .safetensors weights.")
        return {k: v for f in files for k, v in load_file(f).items()}
