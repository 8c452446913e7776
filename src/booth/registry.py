"""Everything that can be chosen by name: the only file that names concrete classes.

Each entry is "module:Class" and is imported when it is first asked for, so that listing names costs nothing.
"""

from __future__ import annotations

import importlib
from collections.abc import Iterator, Mapping
from difflib import get_close_matches
from typing import Any

from booth.core.errors import UsageError


class Registry(Mapping[str, Any]):
    """Names to classes, imported lazily."""

    def __init__(self, kind: str, entries: dict[str, str]) -> None:
        self.kind = kind
        self._entries = entries

    def __getitem__(self, name: str) -> Any:
        if name not in self._entries:
            near = get_close_matches(name, self._entries, n=1)
            hint = f" Did you mean {near[0]!r}?" if near else ""
            raise UsageError(f"There is no {self.kind} called {name!r}.{hint} There are: {', '.join(self)}.")
        module, _, attribute = self._entries[name].partition(":")
        return getattr(importlib.import_module(module), attribute)

    def __iter__(self) -> Iterator[str]:
        return iter(self._entries)

    def __len__(self) -> int:
        return len(self._entries)


METHODS = Registry(
    "method",
    {
        "dreambooth": "booth.methods.dreambooth:DreamBooth",
        "textual_inversion": "booth.methods.textual_inversion:TextualInversion",
        "lora": "booth.methods.lora:LoRA",
        "two_stage": "booth.methods.two_stage:TwoStage",
    },
)

# What the model_index.json of a diffusers folder calls its pipeline.
PIPELINES = {
    "StableDiffusionPipeline": "stable_diffusion",
    "StableDiffusionXLPipeline": "stable_diffusion_xl",
    "StableDiffusion3Pipeline": "stable_diffusion_3",
    "FluxPipeline": "flux",
    "Flux2KleinPipeline": "flux_2_klein",
    "QwenImagePipeline": "qwen_image",
    "ZImagePipeline": "z_image",
}

FAMILIES = Registry(
    "model family",
    {
        "stable_diffusion": "booth.families.stable_diffusion:StableDiffusion",
        "stable_diffusion_xl": "booth.families.stable_diffusion_xl:StableDiffusionXL",
        "stable_diffusion_3": "booth.families.stable_diffusion_3:StableDiffusion3",
        "flux": "booth.families.flux:Flux",
        "flux_2_klein": "booth.families.flux_2_klein:Flux2Klein",
        "qwen_image": "booth.families.qwen_image:QwenImage",
        "z_image": "booth.families.z_image:ZImage",
    },
)
