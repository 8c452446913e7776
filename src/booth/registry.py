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

    def __contains__(self, name: object) -> bool:
        return name in self._entries

    def __iter__(self) -> Iterator[str]:
        return iter(self._entries)

    def __len__(self) -> int:
        return len(self._entries)


METHODS = Registry(
    "method",
    {
        "dreambooth": "booth.methods.dreambooth:DreamBooth",
        "textual_inversion": "booth.methods.textual_inversion:TextualInversion",
        "custom_diffusion": "booth.methods.custom_diffusion:CustomDiffusion",
        "hypernetwork": "booth.methods.hypernetwork:HyperNetwork",
        "lora": "booth.methods.lora:LoRA",
        "locon": "booth.methods.locon:LoCon",
        "dora": "booth.methods.dora:DoRA",
        "rslora": "booth.methods.rslora:RsLoRA",
        "loha": "booth.methods.loha:LoHa",
        "lokr": "booth.methods.lokr:LoKr",
        "oft": "booth.methods.oft:OFT",
        "ti_lora": "booth.methods.ti_lora:TextualInversionLoRA",
        "pivotal_tuning": "booth.methods.pivotal_tuning:PivotalTuning",
        "two_stage": "booth.methods.two_stage:TwoStage",
        "controlnet": "booth.methods.controlnet:ControlNet",
    },
)

CONTROLS = Registry(
    "control",
    {
        "canny": "booth.controls.canny:Canny",
        "scribble": "booth.controls.scribble:Scribble",
        "lines": "booth.controls.lines:Lines",
        "soft_edges": "booth.controls.soft_edges:SoftEdges",
        "depth": "booth.controls.depth:Depth",
        "normals": "booth.controls.normals:Normals",
    },
)

# What the model_index.json of a diffusers folder calls its pipeline: text to image or, as inpainting bases have it,
# the one that they were published for.
PIPELINES = {
    "StableDiffusionPipeline": "stable_diffusion",
    "StableDiffusionInpaintPipeline": "stable_diffusion",
    "StableDiffusionXLPipeline": "stable_diffusion_xl",
    "StableDiffusionXLInpaintPipeline": "stable_diffusion_xl",
    "StableDiffusion3Pipeline": "stable_diffusion_3",
    "FluxPipeline": "flux",
    "Flux2KleinPipeline": "flux_2_klein",
    "QwenImagePipeline": "qwen_image",
    "ZImagePipeline": "z_image",
    "Lumina2Pipeline": "lumina_2",
    "ChromaPipeline": "chroma",
    "SanaPipeline": "sana",
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
        "lumina_2": "booth.families.lumina_2:Lumina2",
        "chroma": "booth.families.chroma:Chroma",
        "sana": "booth.families.sana:Sana",
    },
)

EXPORTERS = Registry(
    "export format",
    {
        "diffusers": "booth.export.lora.diffusers:Diffusers",
        "kohya": "booth.export.lora.write:Kohya",
        "embedding": "booth.export.embedding.write:Embedding",
        "embedding-pt": "booth.export.embedding.write_pt:EmbeddingPt",
        "cldm": "booth.export.controlnet.write:Cldm",
        "checkpoint": "booth.export.checkpoint.write:Checkpoint",
        "extracted": "booth.export.lora.extracted:Extracted",
        "bundle": "booth.export.bundle.write:Bundle",
        "hypernetwork": "booth.export.hypernetwork.write:HypernetworkPt",
    },
)

# In the order in which their numbers are shown and, for verdicts, believed.
ENCODERS = Registry(
    "encoder",
    {
        "world-judges": "booth.evaluate.encoders.world:WorldJudges",
        "world-identity": "booth.evaluate.encoders.world:WorldIdentity",
        "world-agreement": "booth.evaluate.encoders.world:WorldAgreement",
        "dino-vits16": "booth.evaluate.encoders.public:Dino",
        "clip-vit-base-patch32": "booth.evaluate.encoders.public:Clip",
        "dinov2-base": "booth.evaluate.encoders.public:DinoV2",
    },
)

METRICS = Registry(
    "metric",
    {
        "joint": "booth.evaluate.metrics.joint:Joint",
        "identity": "booth.evaluate.metrics.identity:Identity",
        "subject_similarity": "booth.evaluate.metrics.subject_similarity:SubjectSimilarity",
        "masked_similarity": "booth.evaluate.metrics.masked_similarity:MaskedSimilarity",
        "lookalikes": "booth.evaluate.metrics.lookalikes:Lookalikes",
        "prompt_similarity": "booth.evaluate.metrics.prompt_similarity:PromptSimilarity",
        "accuracy": "booth.evaluate.metrics.accuracy:Accuracy",
        "preservation": "booth.evaluate.metrics.preservation:Preservation",
        "diversity": "booth.evaluate.metrics.diversity:Diversity",
        "lpips": "booth.evaluate.metrics.lpips:LpipsDiversity",
        "cmmd": "booth.evaluate.metrics.cmmd:Cmmd",
        "kid": "booth.evaluate.metrics.kid:Kid",
        "frechet": "booth.evaluate.metrics.frechet:Frechet",
        "copying": "booth.evaluate.metrics.copying:Copying",
        "scene_leak": "booth.evaluate.metrics.scene_leak:SceneLeak",
        "background": "booth.evaluate.metrics.background:Background",
        "bleeding": "booth.evaluate.metrics.bleeding:Bleeding",
        "cost": "booth.evaluate.metrics.cost:Cost",
    },
)

JUDGES = Registry("judge of a run", {"checkpoints": "booth.evaluate.checkpoints:CheckpointJudge"})
