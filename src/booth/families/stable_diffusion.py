"""Stable Diffusion 1.x and 2.x, and the embedded base, which has the same layout. diffusers lives only here."""

from __future__ import annotations

import json
import os
import shutil
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
from safetensors.torch import load_file
from transformers import CLIPTextModel, CLIPTokenizer

from booth.core.errors import BadDataError, UsageError
from booth.core.family import Condition, Family, Posterior
from booth.core.noising import Epsilon, Noising, Velocity
from booth.core.sites import AttentionSite, LinearSite, PlacedControl, Sites, TokenTable
from booth.families.control import control_site, controlled, residuals

SCHEDULERS = {
    "ddim": DDIMScheduler,
    "ddpm": DDPMScheduler,
    "dpm++": DPMSolverMultistepScheduler,
    "euler": EulerDiscreteScheduler,
    "euler-a": EulerAncestralDiscreteScheduler,
    "pndm": PNDMScheduler,
    "unipc": UniPCMultistepScheduler,
}
SCHEDULER_OPTIONS = {"pndm": {"skip_prk_steps": True}}  # as Stable Diffusion ships it; else it needs four steps
MAGNITUDE = ".lora_magnitude_vector"  # peft's name in files
TINY_PARAMETERS = 100_000_000  # below this the denoiser is the embedded base's kind and takes its defaults


class StableDiffusion(Family):
    """UNet + CLIP text encoder + KL autoencoder, from a folder in the diffusers layout."""

    name = "stable_diffusion"
    title = "Stable Diffusion 1.x / 2.x"
    offers = (
        "token_tables",
        "linears",
        "attention",
        "cross_attention",
        "denoiser",
        "text_encoders",
        "control",
    )

    def __init__(self, base: Path, device: str = "cpu", dtype: torch.dtype = torch.float32) -> None:
        super().__init__()
        self.base = base
        self._controls: dict[str, PlacedControl] = {}
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
        self._grey: dict[tuple[int, int], Tensor] = {}  # latents of plain grey by height and width
        self.inpaints = self.unet.config.in_channels == 2 * self.vae.config.latent_channels + 1
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
        controls = {name: control.net for name, control in self._controls.items()}
        return {"unet": self.unet, "text_encoder": self.text_encoder, "vae": self.vae, **controls}

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

        denoiser = {
            "attention": ("to_q", "to_k", "to_v", "to_out.0"),
            "feed_forward": ("ff.net.0.proj", "ff.net.2"),
            "convolution": ("conv1", "conv2", "downsamplers.0.conv", "upsamplers.0.conv"),  # the 3x3 ones
            "projection": ("proj_in", "proj_out"),  # kohya's scripts adapt them too
        }
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
                "unet": LinearSite(self.unet, denoiser),
                "text_encoder": LinearSite(
                    encoder,
                    {
                        "attention": ("q_proj", "k_proj", "v_proj", "out_proj"),
                        "feed_forward": ("fc1", "fc2"),
                        "projection": (),
                    },
                ),
            },
            attention=tuple(
                AttentionSite(n, f"{n}.to_k", f"{n}.to_v", m.to_k.in_features)
                for n, m in self.unet.named_modules()
                if n.endswith(("attn1", "attn2"))
            ),
            cross_attention=tuple(n for n, _ in self.unet.named_modules() if n.endswith("attn2")),
            denoiser=self.unet,
            text_encoders={"text_encoder": encoder},
            control=control_site(self.unet, len(self.vae.config.block_out_channels) - 1, self._controls),
        )

    @property
    def _has_wrapper(self) -> bool:
        """Whether this version of transformers keeps the text encoder's layers under `text_model`."""
        return hasattr(self.text_encoder, "text_model")

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
        dtype, added = self.unet.dtype, ()
        if condition.hint is not None:
            added = residuals(self._controls.values(), x_t, t, condition.tokens, condition.hint)
        told = torch.cat([x_t, self._nothing_known(x_t)], dim=1) if self.inpaints else x_t
        return self.unet(
            told.to(dtype),
            t,
            encoder_hidden_states=condition.tokens.to(dtype),
            down_block_additional_residuals=[r.to(dtype) for r in added[:-1]] if added else None,
            mid_block_additional_residual=added[-1].to(dtype) if added else None,
        ).sample

    def _nothing_known(self, x_t: Tensor) -> Tensor:
        """What an inpainting denoiser is told where all is to be painted: a full mask and the latents of plain grey."""
        h, w = x_t.shape[2:]
        if (h, w) not in self._grey:
            self._grey[h, w] = self.encode(torch.zeros(1, 3, h * self.vae_factor, w * self.vae_factor)).mean
        return torch.cat([torch.ones_like(x_t[:, :1]), self._grey[h, w].to(x_t).expand_as(x_t)], dim=1)

    def recompute_activations(self, on: bool) -> None:
        for control in self._controls.values():
            (control.net.enable_gradient_checkpointing if on else control.net.disable_gradient_checkpointing)()
        if on:
            self.unet.enable_gradient_checkpointing()
            self.text_encoder.gradient_checkpointing_enable({"use_reentrant": False})
        elif self.text_encoder.is_gradient_checkpointing:
            self.unet.disable_gradient_checkpointing()
            self.text_encoder.gradient_checkpointing_disable()
        self.text_encoder.train(on)  # transformers recomputes in this mode only; CLIP has no dropout that it would wake

    def pipeline(self, scheduler: str | None = None) -> Any:
        if scheduler is not None and scheduler not in SCHEDULERS:
            raise UsageError(f"There is no scheduler called {scheduler!r}. There are: {', '.join(SCHEDULERS)}.")
        name = scheduler or "ddim"
        pipe = StableDiffusionPipeline(
            vae=self.vae,
            text_encoder=self.text_encoder,
            tokenizer=self.tokenizer,
            unet=self.unet,
            scheduler=SCHEDULERS[name].from_config(self.scheduler.config, **SCHEDULER_OPTIONS.get(name, {})),
            safety_checker=None,
            feature_extractor=None,
            requires_safety_checker=False,
        )
        if self._controls:
            pipe = controlled(pipe, self._controls.values())
        pipe.set_progress_bar_config(disable=True)
        return pipe

    def write_lora(self, folder: Path, layers: Mapping[str, Mapping[str, Tensor]], metadata: Mapping[str, Any]) -> None:
        tensors: dict[str, dict[str, Any]] = {name: dict(state) for name, state in layers.items()}
        if "text_encoder" in tensors:
            # Files keep the name that every loader knows; transformers finds DoRA's magnitudes as `.weight` only.
            wrapper = "" if self._has_wrapper else "text_model."
            tensors["text_encoder"] = {
                f"{wrapper}{key}.weight" if key.endswith(MAGNITUDE) else f"{wrapper}{key}": t
                for key, t in tensors["text_encoder"].items()
            }
        StableDiffusionPipeline.save_lora_weights(
            folder,
            unet_lora_layers=tensors.get("unet", {}),
            text_encoder_lora_layers=tensors.get("text_encoder", {}),
            unet_lora_adapter_metadata=metadata.get("unet"),
            text_encoder_lora_adapter_metadata=metadata.get("text_encoder"),
        )

    def read_lora(self, folder: Path) -> dict[str, dict[str, Tensor]]:
        layers: dict[str, dict[str, Tensor]] = {}
        for key, tensor in load_file(folder / "pytorch_lora_weights.safetensors").items():
            component, _, rest = key.partition(".")
            if component == "text_encoder":
                rest = rest if self._has_wrapper else rest.removeprefix("text_model.")
                rest = rest.replace(f"{MAGNITUDE}.weight", MAGNITUDE)
            layers.setdefault(component, {})[rest] = tensor
        return layers

    def write_components(self, folder: Path, changed: Iterable[str]) -> None:
        """Write changed components in their present precision; a tiny base's others are copied, which completes it."""
        changed = set(changed)
        for name in changed:
            self.components()[name].save_pretrained(folder / name, safe_serialization=True)  # type: ignore[operator]
            _forget_path(folder / name / "config.json")
        if self.scale == "tiny":
            index = json.loads((self.base / "model_index.json").read_text())
            parts = [name for name, kind in index.items() if isinstance(kind, list) and kind[0] is not None]
            for name in set(parts) - changed:
                shutil.copytree(self.base / name, folder / name, dirs_exist_ok=True)
            shutil.copyfile(self.base / "model_index.json", folder / "model_index.json")

    def read_component(self, folder: Path, name: str) -> dict[str, Tensor]:
        """In float32, under the names of the live module, whatever version of the libraries wrote the file."""
        if not any((folder / name).glob("*.safetensors")):
            raise BadDataError(f"{folder / name} holds no .safetensors weights.")
        kind: Any = type(self.components()[name])
        precision = "dtype" if name in self.sites.text_encoders else "torch_dtype"  # transformers', diffusers' word
        load = {"use_safetensors": True, "local_files_only": True, precision: torch.float32}
        return kind.from_pretrained(folder / name, **load).state_dict()


def _forget_path(file: Path) -> None:
    """Drop from a saved configuration where on this machine the base lay."""
    values = json.loads(file.read_text())
    values.pop("_name_or_path", None)
    file.write_text(json.dumps(values, indent=2, sort_keys=True) + "\n")
