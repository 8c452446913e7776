"""Everything that can be chosen by name: the only file that names concrete classes.

Each entry is "module:Class" and is imported when it is first asked for, so that listing names costs nothing. Installed
packages add entries through entry points, a program or notebook through `register`, and "package.module:Class" may
stand wherever a name is taken.
"""

from __future__ import annotations

from typing import TYPE_CHECKING, Any, TypeVar

from booth.core.errors import UsageError
from booth.core.registry import Registry

if TYPE_CHECKING:
    from booth.core.control import Control
    from booth.core.encoder import Encoder
    from booth.core.family import Family
    from booth.core.method import Method
    from booth.core.metric import Metric
    from booth.core.objective import Loss, TimestepSampler, Weighting
    from booth.core.optimizer import OptimizerFactory, Schedule

T = TypeVar("T")

METHODS: Registry[Method] = Registry(
    "method",
    "booth.core.method:Method",
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
        "boft": "booth.methods.boft:BOFT",
        "ia3": "booth.methods.ia3:IA3",
        "vera": "booth.methods.vera:VeRA",
        "t_lora": "booth.methods.t_lora:TLoRA",
        "ti_lora": "booth.methods.ti_lora:TextualInversionLoRA",
        "pivotal_tuning": "booth.methods.pivotal_tuning:PivotalTuning",
        "two_stage": "booth.methods.two_stage:TwoStage",
        "controlnet": "booth.methods.controlnet:ControlNet",
    },
    "booth.methods",
)

CONTROLS: Registry[Control] = Registry(
    "control",
    "booth.core.control:Control",
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
    "Krea2Pipeline": "krea_2",
    "ErnieImagePipeline": "ernie_image",
    "Flux2Pipeline": "flux_2",
    "Ideogram4Pipeline": "ideogram_4",
    "QwenImage21Pipeline": "qwen_image_2_1",
}

FAMILIES: Registry[Family] = Registry(
    "model family",
    "booth.core.family:Family",
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
        "krea_2": "booth.families.krea_2:Krea2",
        "ernie_image": "booth.families.ernie_image:ErnieImage",
        "flux_2": "booth.families.flux_2:Flux2",
        "ideogram_4": "booth.families.ideogram_4:Ideogram4",
        "qwen_image_2_1": "booth.families.qwen_image_2_1:QwenImage21",
    },
    "booth.families",
)

EXPORTERS: Registry[Any] = Registry(
    "export format",
    "booth.export.exporter:Exporter",
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
    "booth.exporters",
)

# In the order in which their numbers are shown and, for verdicts, believed.
ENCODERS: Registry[Encoder] = Registry(
    "encoder",
    "booth.core.encoder:Encoder",
    {
        "world-judges": "booth.evaluate.encoders.world:WorldJudges",
        "world-identity": "booth.evaluate.encoders.world:WorldIdentity",
        "world-agreement": "booth.evaluate.encoders.world:WorldAgreement",
        "dino-vits16": "booth.evaluate.encoders.public:Dino",
        "clip-vit-base-patch32": "booth.evaluate.encoders.public:Clip",
        "dinov2-base": "booth.evaluate.encoders.public:DinoV2",
        "efficientnet-lite0": "booth.evaluate.encoders.efficientnet_lite0:EfficientNetLite0",
    },
    "booth.encoders",
)

METRICS: Registry[Metric[Any]] = Registry(
    "metric",
    "booth.core.metric:Metric",
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
    "booth.metrics",
)

OPTIMIZERS: Registry[OptimizerFactory] = Registry(
    "optimizer",
    "booth.core.optimizer:OptimizerFactory",
    {
        "adamw": "booth.train.optimizers.adamw:AdamW",
        "adamw8bit": "booth.train.optimizers.adamw8bit:AdamW8bit",
        "prodigy": "booth.train.optimizers.prodigy:Prodigy",
    },
    "booth.optimizers",
)

SCHEDULES: Registry[Schedule] = Registry(
    "schedule",
    "booth.core.optimizer:Schedule",
    {
        "constant": "booth.train.schedules.constant:Constant",
        "cosine": "booth.train.schedules.cosine:Cosine",
        "linear": "booth.train.schedules.linear:Linear",
    },
    "booth.schedules",
)

WEIGHTINGS: Registry[Weighting] = Registry(
    "loss weighting",
    "booth.core.objective:Weighting",
    {
        "constant": "booth.train.weightings.constant:Constant",
        "min_snr": "booth.train.weightings.min_snr:MinSNR",
        "p2": "booth.train.weightings.p2:P2",
        "edm": "booth.train.weightings.edm:EDM",
        "sigma_sqrt": "booth.train.weightings.sigma_sqrt:SigmaSqrt",
        "cosmap": "booth.train.weightings.cosmap:Cosmap",
    },
    "booth.weightings",
)

LOSSES: Registry[Loss] = Registry(
    "loss",
    "booth.core.objective:Loss",
    {"mse": "booth.train.losses.mse:MSE", "huber": "booth.train.losses.huber:Huber"},
    "booth.losses",
)

TIMESTEPS: Registry[TimestepSampler] = Registry(
    "timestep sampler",
    "booth.core.objective:TimestepSampler",
    {
        "uniform": "booth.train.timesteps.uniform:Uniform",
        "logit_normal": "booth.train.timesteps.logit_normal:LogitNormal",
        "mode": "booth.train.timesteps.mode:Mode",
    },
    "booth.timesteps",
)

JUDGES: Registry[Any] = Registry(
    "judge of a run", "builtins:object", {"checkpoints": "booth.evaluate.checkpoints:CheckpointJudge"}
)

REGISTRIES: tuple[Registry[Any], ...] = (
    METHODS,
    FAMILIES,
    OPTIMIZERS,
    SCHEDULES,
    WEIGHTINGS,
    LOSSES,
    TIMESTEPS,
    EXPORTERS,
    ENCODERS,
    METRICS,
    CONTROLS,
)


def register(kind: type[T]) -> type[T]:
    """Add a class under its own `name` to the registry of what it derives from; usable as a decorator.

    UsageError if it derives from nothing that is chosen by name, or if its name is taken.
    """
    bases = {f"{base.__module__}:{base.__qualname__}" for base in kind.__mro__}
    registry = next((r for r in REGISTRIES if r.base in bases), None)
    if registry is None:
        raise UsageError(
            f"{kind.__name__} is nothing that can be registered.",
            f"Derive it from one of: {', '.join(r.base.replace(':', '.') for r in REGISTRIES)}.",
            code="plugin.of_no_kind",
        )
    registry.register(kind)
    return kind


def family_of_pipeline(pipeline: str) -> str | None:
    """The family of bases whose model_index.json names this pipeline; a plug-in's family says so in `pipelines`."""
    known = PIPELINES.get(pipeline)
    others = {} if known else {n: kind for n, kind in FAMILIES.usable().items() if n not in FAMILIES.own}
    return known or next((n for n, kind in others.items() if pipeline in kind.pipelines), None)
