"""The two ways in which adapters are kept: diffusers' LoRA file, and peft's folders."""

from __future__ import annotations

import json
from collections.abc import Callable, Iterator, Sequence
from pathlib import Path
from typing import Any, ClassVar

from peft import LoraConfig, PeftConfig
from peft.tuners.lora import LoraLayer
from pydantic import Field
from safetensors.torch import load_file, save_file
from torch import Tensor

from booth.core.errors import BadDataError
from booth.core.family import Family
from booth.core.file_names import LORA as FILE
from booth.core.file_names import PEFT_ROOT as ROOT
from booth.core.file_names import PEFT_SETTINGS as SETTINGS
from booth.core.file_names import PEFT_WEIGHTS as WEIGHTS
from booth.core.method import Method, ParameterGroup
from booth.core.sites import LinearSite
from booth.methods.adapters import Adapter, RankedAdapter, RankedConfig
from booth.methods.dropout import GradientDropout
from booth.methods.low_rank_product import leave_apart, take_together
from booth.methods.routed import Factors, route


class LowRankConfig(RankedConfig):
    """Settings of the LoRA family."""

    dropout: float = Field(0.0, ge=0, lt=1, description="dropout before A, while training only")


class LowRank(RankedAdapter):
    """The LoRA family in peft's LoraLayer, written as diffusers' `load_lora_weights` reads it.

    A starts Kaiming-uniform (sqrt 5), B zero. What diffusers cannot tell from the tensors (rank, alpha, targets, the
    variant) stands in the file's header, where it looks for it.
    """

    files = (FILE,)
    layer = LoraLayer
    prefix = "lora_"
    over_quantised = True
    variant: ClassVar[dict[str, Any]] = {}  # options of LoraConfig that make the kind

    def peft_config(self, site: LinearSite) -> PeftConfig:
        return LoraConfig(**self.header(site))

    def header(self, site: LinearSite) -> dict[str, Any]:
        """What peft has to know about a component's adapter, and nothing that it assumes anyway."""
        return {
            "r": self.config.rank,
            "lora_alpha": self.alpha,
            "target_modules": self.target_modules(site),
            **self.patterns(site),
            **self.variant,
        }

    def inject(self, model: Family, seed: int) -> None:
        super().inject(model, seed)
        dropout = self.config.dropout if isinstance(self.config, LowRankConfig) else 0.0
        for module in self._modules.values() if dropout else ():
            for _, layer in self.layers(module):
                if self._adapter in layer.lora_dropout:
                    layer.lora_dropout[self._adapter] = GradientDropout(dropout)

    def attach(self, model: Family, seed: int) -> list[ParameterGroup]:
        groups = super().attach(model, seed)
        for module in self._modules.values():
            for _, layer in self.layers(module):
                if self._adapter in layer.lora_A:
                    take_together(layer, self._adapter)
        return groups

    def detach(self, model: Family) -> None:
        for module in self._modules.values():
            for _, layer in self.layers(module):
                leave_apart(layer)
        super().detach(model)

    def together(self) -> bool:
        plain = not self.variant.keys() - {"use_rslora"} and not self.trains_text_encoders
        return plain and "convolution" not in self.config.targets and not getattr(self.config, "dropout", 0)

    def join(self, model: Family, several: Sequence[Method]) -> Callable[[], None]:
        mine: list[dict[str, Any]] = [dict(one.adapted()) for one in several if isinstance(one, LowRank)]
        assert model.sites.denoiser is not None
        return route(model.sites.denoiser, mine)

    def adapted(self) -> Iterator[tuple[str, Factors]]:
        """What is trained beside each layer of the denoiser, by the layer's name."""
        for module in self._modules.values():
            for name, layer in self.layers(module):
                if self._adapter in layer.lora_A:
                    down, up = layer.lora_A[self._adapter].weight, layer.lora_B[self._adapter].weight
                    yield name, Factors(down, up, float(layer.scaling[self._adapter]))

    def write(self, model: Family, folder: Path) -> None:
        layers = {name: self.tensors(name) for name in self._modules}
        model.write_lora(folder, layers, {name: self.header(model.sites.linears[name]) for name in layers})

    def read(self, folder: Path, model: Family) -> dict[str, dict[str, Tensor]]:
        if not (folder / FILE).is_file():
            raise BadDataError(
                f"{folder / FILE} is missing: this folder holds no {self.title}.",
                "Train it again.",
                code="concept.weights_missing",
            )
        return model.read_lora(folder)


class PeftFolder(Adapter):
    """An adapter that diffusers has no file for: a folder a component, as `PeftModel.from_pretrained` opens it."""

    files = (f"unet/{WEIGHTS}", f"unet/{SETTINGS}", "text_encoder/ (if trained)")

    def write(self, model: Family, folder: Path) -> None:
        for name in self._modules:
            (folder / name).mkdir(exist_ok=True)
            tensors = {f"{ROOT}{n}": t for n, t in self.tensors(name).items()}
            save_file(tensors, folder / name / WEIGHTS, metadata={"format": "pt"})
            values = self.peft_config(model.sites.linears[name]).to_dict() | {"inference_mode": True}
            values = {key: sorted(v) if isinstance(v, set) else v for key, v in values.items()}
            (folder / name / SETTINGS).write_text(json.dumps(values, indent=2, sort_keys=True) + "\n")

    def read(self, folder: Path, model: Family) -> dict[str, dict[str, Tensor]]:
        saved: dict[str, dict[str, Tensor]] = {}
        for name in self.sites(model):
            file = folder / name / WEIGHTS
            if not file.is_file():
                raise BadDataError(
                    f"{file} is missing: this folder holds no such {self.title}.",
                    "Train it again.",
                    code="concept.weights_missing",
                )
            saved[name] = {n.removeprefix(ROOT): t for n, t in load_file(file).items()}
        return saved
