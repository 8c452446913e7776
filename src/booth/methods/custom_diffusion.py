"""Custom Diffusion: keys and values of cross-attention, and a token (Kumari et al., 2212.04488)."""

from __future__ import annotations

from collections.abc import Mapping
from functools import partial
from pathlib import Path
from typing import Any

import torch
from pydantic import Field
from safetensors.torch import load_file, save_file
from torch import Tensor, nn
from torch.utils.hooks import RemovableHandle

from booth.core.errors import BadDataError, UsageError
from booth.core.family import Family
from booth.core.file_names import CUSTOM_DIFFUSION as FILE
from booth.core.method import Method, MethodConfig, Order, ParameterGroup, Subject
from booth.methods.textual_inversion import TextualInversion
from booth.methods.with_token import TokenConfig, token_of


class CustomDiffusionConfig(TokenConfig):
    """Settings of Custom Diffusion; the full-size rates are those of diffusers' guide (1e-5 for each of 2 photos)."""

    steps: int = Field(500, ge=1, description="optimiser steps")
    learning_rate: float = Field(2e-5, gt=0, description="peak learning rate of the keys' and values' weights")
    token_learning_rate: float = Field(2e-5, gt=0, description="peak learning rate of the token's rows")
    batch_size: int = Field(2, ge=1, description="photos a step")
    prior_weight: float = Field(1.0, ge=0, description="lambda of prior preservation; 0 = off")
    class_pictures: int = Field(200, ge=1, description="class pictures drawn from the frozen base for the prior")


class CustomDiffusion(Method):
    """Fine-tunes the layers through which the prompt enters the picture, some 5 % of the denoiser, and the token.

    As in the reference code no gradient comes from the first token, which begins every prompt. Its augmentation by
    resized photos ("very small", "zoomed in") and its merging of several concepts are not here.
    """

    name = "custom_diffusion"
    title = "Custom Diffusion"
    trains = "the weights that make keys and values of the prompt in cross-attention, and the new token's rows"
    needs = ("token_tables", "attention", "cross_attention", "denoiser")
    order = Order.WEIGHTS
    learns_word = True
    contains = ("textual_inversion",)
    files = (FILE, *TextualInversion.files)
    Config = CustomDiffusionConfig
    tiny = {
        "steps": 400,
        "learning_rate": 1e-3,
        "token_learning_rate": 3e-3,
        "batch_size": 4,
        "prior_weight": 0.0,
        "class_pictures": 32,
    }

    config: CustomDiffusionConfig

    def __init__(self, config: MethodConfig, subject: Subject) -> None:
        super().__init__(config, subject)
        self._token = token_of(self.config, subject)
        self._layers: dict[str, Any] = {}  # by their names in the file
        self._former: dict[str, Tensor] = {}  # their weights before, in what the base was loaded as
        self._hooks: list[RemovableHandle] = []
        self._denoiser: Any = None

    def attach(self, model: Family, seed: int) -> list[ParameterGroup]:
        self._claim(model)
        token = self._token.attach(model, seed)
        weights: dict[str, nn.Parameter] = {}
        for name, layer in self._layers.items():
            held = layer.weight.dtype
            self._hooks.append(layer.register_forward_hook(_without_first))
            if held != torch.float32:  # steps this small would be lost in half precision
                layer.float()
                self._hooks.append(layer.register_forward_pre_hook(_in_float32))
                self._hooks.append(layer.register_forward_hook(partial(_back_in, held)))
            weights[name] = layer.weight.requires_grad_(True)
        return [ParameterGroup("keys_values", weights, self.config.learning_rate, self.config.weight_decay), *token]

    def detach(self, model: Family) -> None:
        for hook in self._hooks:
            hook.remove()
        for name, layer in self._layers.items():
            layer.weight.requires_grad_(False)
            layer.to(self._former[name].dtype)
            layer.weight.data.copy_(self._former[name])
        if self._denoiser is not None:
            del self._denoiser.taught_by
        self._layers, self._former, self._hooks, self._denoiser = {}, {}, [], None
        self._token.detach(model)

    def constrain(self) -> None:
        self._token.constrain()

    def learned(self) -> Mapping[str, Tensor]:
        return {name: layer.weight for name, layer in self._layers.items()} | {**self._token.learned()}

    def write(self, model: Family, folder: Path) -> None:
        """What diffusers' `load_attn_procs` reads; it wants the untouched attentions named too, by empty tensors."""
        tensors = {f"{name}.weight": layer.weight.detach().cpu().contiguous() for name, layer in self._layers.items()}
        taught = set(model.sites.cross_attention)
        tensors |= {f"{a.name}.processor": torch.empty(0) for a in model.sites.attention if a.name not in taught}
        save_file(tensors, folder / FILE, metadata={"format": "pt"})
        self._token.write(model, folder)

    def restore(self, model: Family, folder: Path) -> None:
        if not (folder / FILE).is_file():
            raise BadDataError(
                f"{folder / FILE} is missing: this folder holds no Custom Diffusion.",
                "Train it again.",
                code="concept.weights_missing",
            )
        saved = {n.removesuffix(".weight"): t for n, t in load_file(folder / FILE).items() if t.numel()}
        wanted = self._wanted(model)
        if saved.keys() != wanted.keys() or any(saved[n].shape != layer.weight.shape for n, layer in wanted.items()):
            raise BadDataError(
                f"{folder / FILE} does not fit {model.base.name}.",
                "Use the base that the concept names.",
                code="concept.unfit",
            )
        self._claim(model)
        self._token.restore(model, folder)
        for name, layer in self._layers.items():
            layer.weight.data.copy_(saved[name])

    def _wanted(self, model: Family) -> dict[str, Any]:
        """The layers that make keys and values of the prompt, by diffusers' names for what stands for them."""
        sites = model.sites
        sites.require(self.title, model.title, self.needs)
        assert sites.denoiser is not None
        layers: dict[str, Any] = {}
        for a in sites.attention:
            if a.name in sites.cross_attention:
                layers[f"{a.name}.processor.to_k_custom_diffusion"] = sites.denoiser.get_submodule(a.key)
                layers[f"{a.name}.processor.to_v_custom_diffusion"] = sites.denoiser.get_submodule(a.value)
        return layers

    def _claim(self, model: Family) -> None:
        """Mark the denoiser as changed, and refuse one that another concept has changed already."""
        layers = self._wanted(model)
        denoiser: Any = model.sites.denoiser
        if hasattr(denoiser, "taught_by"):
            raise UsageError(
                f"The denoiser already holds the weights of {denoiser.taught_by!r}, and there is only one.",
                "Draw with one Custom Diffusion or DreamBooth concept at a time, or train the others as LoRA.",
                code="concept.two_fill_one",
                field="concepts",
            )
        denoiser.taught_by = self.subject.name
        self._denoiser = denoiser
        self._layers = layers
        self._former = {name: layer.weight.detach().clone() for name, layer in layers.items()}


def _without_first(layer: nn.Module, inputs: Any, output: Tensor) -> Tensor:
    """The same keys or values (B, L, D), of which the first takes no gradient."""
    return torch.cat([output[:, :1].detach(), output[:, 1:]], dim=1) if torch.is_grad_enabled() else output


def _in_float32(layer: nn.Module, inputs: tuple[Tensor, ...]) -> tuple[Tensor, ...]:
    """What a layer in float32 inside a base in half precision is given."""
    return tuple(x.float() for x in inputs)


def _back_in(dtype: torch.dtype, layer: nn.Module, inputs: Any, output: Tensor) -> Tensor:
    """What the rest of the base expects; under autocast the output is in half precision already."""
    return output.to(dtype) if output.dtype == torch.float32 else output
