"""ControlNet: a trainable copy of the encoder half lets a hint decide where things are (Zhang et al., 2302.05543)."""

from __future__ import annotations

from collections.abc import Mapping
from pathlib import Path

import torch
from pydantic import Field
from torch import Tensor, nn

from booth.core.family import Family
from booth.core.file_names import CONTROLNET as FOLDER
from booth.core.method import Method, MethodConfig, ParameterGroup, Subject
from booth.core.rng import derived_seed
from booth.core.sites import ControlSite, PlacedControl


class ControlNetConfig(MethodConfig):
    """Settings of ControlNet; rate and batch are those of diffusers' guide, prompt dropout is the paper's."""

    control: str = Field(
        "canny", min_length=1, description="what it follows; any word where hints lie beside the pictures"
    )
    steps: int = Field(10_000, ge=1, description="optimiser steps; it begins to obey suddenly, after thousands")
    learning_rate: float = Field(1e-5, gt=0, description="peak learning rate of the copy")
    batch_size: int = Field(4, ge=1, description="pictures a step")
    caption_dropout: float = Field(
        0.5, ge=0, le=1, description="share of the rows learned with no prompt, so that it reads the hint itself"
    )
    middle_attention: bool = Field(
        True, description="copy the middle block's attention too; without it the embedded base's file is a third less"
    )
    prior_weight: float = Field(0.0, ge=0, le=0, description="always 0: the base is locked and needs no prior")


class ControlNet(Method):
    """A copy of the denoiser's first part beside the locked base.

    y = F(x; locked) + Z(F(x + Z(c); copy)): the copy sees the noised latents and, after its first layer, the encoded
    hint c; it speaks to the base through 1x1 convolutions Z that start at zero, so that step 0 is the base, bit for
    bit. A zero convolution learns at once, because its gradient is its input.

    Of a U-Net the encoder and the middle block are copied, which speak to the skips; the hint encoder is that of the
    reference code (3x3 convolutions, the last one zero), not the paper's. Of a transformer some of the blocks are
    copied, which speak to all; their control images are encoded by the autoencoder.
    """

    name = "controlnet"
    title = "ControlNet"
    trains = "a copy of the denoiser's encoder half or first blocks and its zero convolutions; the base is locked"
    needs = ("control",)
    copies_encoder = True
    follows_control = True
    files = (f"{FOLDER}/",)
    Config = ControlNetConfig
    tiny = {"steps": 4000, "learning_rate": 1e-4, "batch_size": 8}
    needs_subject = False

    config: ControlNetConfig

    def __init__(self, config: MethodConfig, subject: Subject) -> None:
        super().__init__(config, subject)
        self._placed: tuple[str, PlacedControl] | None = None  # component name and what stands there
        self._form: Path | None = None  # the network that training starts from

    def control(self) -> str:
        return self.config.control

    def take_form(self, folder: Path) -> None:
        self._form = folder

    def attach(self, model: Family, seed: int) -> list[ParameterGroup]:
        with torch.random.fork_rng(devices=[]):
            torch.manual_seed(derived_seed(seed, self.name, "hint encoder"))
            net = self._new(model)
        name = self._place(model, net.float().requires_grad_(True))
        parameters = {f"{name}.{n}": p for n, p in net.named_parameters()}
        return [ParameterGroup(name, parameters, self.config.learning_rate, self.config.weight_decay)]

    def detach(self, model: Family) -> None:
        if self._placed is not None:
            del self._site(model).placed[self._placed[0]]
            self._placed = None
        model.remember_embeddings(False)

    def learned(self) -> Mapping[str, Tensor]:
        if self._placed is None:
            return {}
        name, placed = self._placed
        return {f"{name}.{n}": p for n, p in placed.net.named_parameters()}

    def write(self, model: Family, folder: Path) -> None:
        """The diffusers layout, as its class for this base reads it with `subfolder="controlnet"`."""
        if self._placed is None:
            raise ValueError("a ControlNet is written while it is attached")
        self._site(model).write(self._placed[1].net, folder / FOLDER)

    def restore(self, model: Family, folder: Path) -> None:
        self._place(model, self._site(model).read(folder / FOLDER).requires_grad_(False))

    def set_strength(self, strength: float) -> None:
        if self._placed is not None:
            self._placed[1].scale = float(strength)

    def _new(self, model: Family) -> nn.Module:
        if self._form is None:
            return self._site(model).copy(self.config.middle_attention)
        return self._site(model).read(self._form)

    def _site(self, model: Family) -> ControlSite:
        model.sites.require(self.title, model.title, self.needs)
        assert model.sites.control is not None
        return model.sites.control

    def _place(self, model: Family, net: nn.Module) -> str:
        """Put `net` beside the denoiser, after those that stand there already; its component name."""
        placed = self._site(model).placed
        name = next(n for n in (FOLDER, *(f"{FOLDER}_{i}" for i in range(2, 99))) if n not in placed)
        self._placed = name, PlacedControl(net, self.config.control)
        placed[name] = self._placed[1]
        model.remember_embeddings(False)
        return name
