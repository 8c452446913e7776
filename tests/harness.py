"""What the tests of methods share: fixed batches, a real training run in a few steps, and a picture."""

from __future__ import annotations

import json
from collections.abc import Callable, Iterable
from pathlib import Path
from typing import Any

import diffusers
import torch
from diffusers import DiffusionPipeline
from diffusers.models.attention_processor import Attention, CustomDiffusionAttnProcessor2_0
from peft import PeftModel
from peft.tuners.boft import layer as peft_boft
from safetensors import safe_open
from safetensors.torch import load_file
from torch import Tensor, nn

from booth.core.batch import Batch
from booth.core.family import Family
from booth.core.method import Method, ParameterGroup, Stage, Subject
from booth.core.rng import Rng
from booth.registry import METHODS
from booth.train.loop import Step, training_steps
from booth.train.update import Update

SUBJECT = Subject("sks", "dog")
PROMPT = "a photo of sks dog"
HINT = torch.rand(1, 3, 32, 32, generator=torch.Generator().manual_seed(13))


ALONE = {"t_lora"}  # methods whose files nothing else reads
REORDERED = {"boft"}  # those that others' layers compute in another order, so that the last bits differ


def same_picture(method: str, one: Tensor, other: Tensor) -> bool:
    """Whether two pictures are equal, to the bit unless the method's numbers are added up in another order."""
    return torch.allclose(one, other, atol=1e-4) if method in REORDERED else torch.equal(one, other)


class BlockDiagonal:
    """What peft's compiled extension for BOFT does, without which peft takes one factor only."""

    @staticmethod
    def forward(blocks: Tensor) -> list[Tensor]:
        return [torch.stack([torch.block_diag(*factor) for factor in blocks])]


peft_boft._FBD_CUDA = BlockDiagonal


def make_method(name: str, subject: Subject = SUBJECT, **settings: Any) -> Method:
    """A method from the registry with the defaults of a tiny base."""
    kind = METHODS[name]
    return kind(kind.Config(**(kind.defaults("tiny") | settings)), subject)


def deal(rng: Rng) -> Batch:
    """Two photos and two class pictures with hints: random numbers that depend on the step alone."""
    latents = torch.randn(4, 4, 8, 8, generator=rng.generator("photos"))
    hints = torch.rand(4, 3, 32, 32, generator=rng.generator("hints"))
    return Batch([PROMPT, PROMPT, "a photo of a dog", "a photo of a dog"], latents, torch.full((4,), 0.5), hints)


def attach(model: Family, stage: Stage, seed: int = 0) -> Update:
    """Attach a stage and make its optimiser."""
    groups = stage.method.attach(model, seed)
    return Update(groups, stage.method.config, stage.method.constrain)


def steps(model: Family, update: Update, start: int, stop: int, deal: Callable[[Rng], Batch] = deal) -> list[Step]:
    """Run real training steps."""
    return list(training_steps(model, deal, update, seed=3, start=start, stop=stop))


def freeze(groups: Iterable[ParameterGroup]) -> None:
    """What the run does with a finished stage."""
    for group in groups:
        for parameter in group.parameters.values():
            parameter.requires_grad_(False)


def train(
    model: Family, method: Method, count: int = 3, deal: Callable[[Rng], Batch] = deal
) -> dict[str, nn.Parameter]:
    """Train all stages for `count` steps each; the trained tensors by stage and name."""
    trained: dict[str, nn.Parameter] = {}
    for stage in method.plan():
        update = attach(model, stage)
        steps(model, update, 0, count, deal)
        freeze(update.groups)
        trained |= {f"{stage.name}.{n}": p for n, p in update.parameters().items()}
    return trained


def detach(model: Family, method: Method) -> None:
    """Take the stages out again, the last one first."""
    for stage in reversed(method.plan()):
        stage.method.detach(model)


def write(model: Family, method: Method, folder: Path) -> Path:
    """Write all stages into one folder."""
    folder.mkdir(exist_ok=True)
    for stage in method.plan():
        stage.method.write(model, folder)
    return folder


def tensors(model: Family) -> dict[str, Tensor]:
    """Every parameter and buffer of every component, by component and name."""
    return {
        f"{component}.{name}": tensor
        for component, module in model.components().items()
        for name, tensor in (*module.named_parameters(), *module.named_buffers())
    }


def draw(pipe: Any, prompt: str = PROMPT) -> Tensor:
    """One picture in three steps, (1, 3, H, W); a ControlNet follows a fixed hint."""
    pipe.set_progress_bar_config(disable=True)
    generator = torch.Generator().manual_seed(11)
    options = {"num_inference_steps": 3, "guidance_scale": 5.0, "output_type": "pt"}
    if "controlnet" in pipe.components:
        options["image"] = HINT
    return pipe([prompt], generator=generator, **options).images


def load_with_diffusers(base: Path, folder: Path) -> Any:
    """Open an artefact with loaders that are not ours, diffusers' and peft's, going by the files that it holds."""
    whole = (folder / "model_index.json").exists()
    pipe: Any = DiffusionPipeline.from_pretrained(folder if whole else base)
    if (folder / "controlnet").exists():
        net = read_controlnet(folder)
        kind = getattr(diffusers, type(pipe).__name__.replace("Pipeline", "ControlNetPipeline"))
        pipe = kind.from_pretrained(base, controlnet=net)
    if (folder / "learned_embeds.safetensors").exists():
        rows = load_file(folder / "learned_embeds.safetensors")
        for part, key in [("", "clip_l"), ("_2", "clip_g"), ("_2", "t5xxl")]:
            if key in rows:  # a file for several encoders is loaded one at a time
                own = {name: getattr(pipe, name + part) for name in ("text_encoder", "tokenizer")}
                pipe.load_textual_inversion(rows[key], token=SUBJECT.token, **own)
        if SUBJECT.token in rows:
            pipe.load_textual_inversion(folder, weight_name="learned_embeds.safetensors")
    if (folder / "pytorch_lora_weights.safetensors").exists():
        pipe.load_lora_weights(folder, weight_name="pytorch_lora_weights.safetensors")
    for component in ("unet", "transformer", "text_encoder", "text_encoder_2"):
        if (folder / component / "adapter_config.json").exists():
            PeftModel.from_pretrained(getattr(pipe, component), folder / component)
    if (folder / CUSTOM_DIFFUSION).exists():
        pipe.unet.load_attn_procs(str(folder), weight_name=CUSTOM_DIFFUSION, _pipeline=pipe)
        pipe.unet.set_attn_processor({n: _scaled_dot_product(p) for n, p in pipe.unet.attn_processors.items()})
    if (folder / "hypernetwork.safetensors").exists():
        apply_hypernetwork(pipe.unet, folder / "hypernetwork.safetensors")
    return pipe


CUSTOM_DIFFUSION = "pytorch_custom_diffusion_weights.safetensors"


def _scaled_dot_product(loaded: Any) -> nn.Module:
    """diffusers loads the processors that multiply matrices one by one; these add up as every other attention does."""
    sizes = loaded.hidden_size, loaded.cross_attention_dim
    processor = CustomDiffusionAttnProcessor2_0(loaded.train_kv, loaded.train_q_out, *sizes)
    processor.load_state_dict(loaded.state_dict())
    return processor


def shaken(net: nn.Module, seed: int) -> nn.Module:
    """The network with no parameter left at zero."""
    generator = torch.Generator().manual_seed(seed)
    with torch.no_grad():
        for p in net.parameters():
            p.add_(0.1 * torch.randn(p.shape, generator=generator))
    return net


def read_controlnet(folder: Path) -> Any:
    """The ControlNet of an artefact, by the class that its own configuration names."""
    kind = getattr(diffusers, json.loads((folder / "controlnet/config.json").read_text())["_class_name"])
    net = kind.from_pretrained(folder, subfolder="controlnet")
    for p in net.parameters():
        p.data = p.data.clone()  # the last bit of a sum depends on how memory is aligned, and a file's is anyhow
    return net


def apply_hypernetwork(unet: nn.Module, file: Path) -> None:
    """A1111's `Hypernetwork.forward`, restated: no library reads these. The width of the context picks the pair."""
    with safe_open(file, "pt") as opened:
        header = json.loads(opened.metadata()["hypernetwork"])
        state = {name: opened.get_tensor(name) for name in opened.keys()}  # noqa: SIM118

    def network(width: int, part: str) -> nn.Sequential:
        layers: list[nn.Module] = []
        structure = header["layer_structure"]
        for i in range(len(structure) - 1):
            layers.append(nn.Linear(int(width * structure[i]), int(width * structure[i + 1])))
            if header["activation_func"] != "linear" and (i < len(structure) - 2 or header["activate_output"]):
                layers.append({"relu": nn.ReLU, "swish": nn.Hardswish, "tanh": nn.Tanh}[header["activation_func"]]())
            if header["is_layer_norm"]:
                layers.append(nn.LayerNorm(int(width * structure[i + 1])))
            if header["dropout_structure"][i + 1] > 0:
                layers.append(nn.Dropout(header["dropout_structure"][i + 1]))
        made, prefix = nn.Sequential(*layers).eval(), f"{width}.{part}.linear."
        made.load_state_dict({n.removeprefix(prefix): t for n, t in state.items() if n.startswith(prefix)})
        return made

    def change(layer: nn.Linear, net: nn.Sequential) -> None:
        forward = layer.forward
        layer.forward = lambda context: forward(context + net(context))  # type: ignore[method-assign]

    for module in unet.modules():
        if isinstance(module, Attention) and any(n.startswith(f"{module.to_k.in_features}.") for n in state):
            change(module.to_k, network(module.to_k.in_features, "k"))
            change(module.to_v, network(module.to_v.in_features, "v"))
