"""What the tests of methods share: fixed batches, a real training run in a few steps, and a picture."""

from __future__ import annotations

import json
import zlib
from collections import Counter
from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from pathlib import Path
from typing import Any

import diffusers
import pytest
import torch
from diffusers.models.attention_processor import Attention, CustomDiffusionAttnProcessor2_0
from peft import PeftModel
from peft.tuners.boft import layer as peft_boft
from safetensors import safe_open
from safetensors.torch import load_file
from torch import Tensor, nn

from bases import open_with_diffusers
from booth.core.method import Method, Subject
from booth.core.packing import packed
from booth.registry import METHODS
from booth.testing.steps import HINT, PROMPT, SUBJECT, attach, deal, detach, draw, freeze, steps, tensors, train, write

__all__ = [
    "ALONE",
    "HINT",
    "PROMPT",
    "SUBJECT",
    "attach",
    "computing_as_we_do",
    "covering",
    "deal",
    "detach",
    "draw",
    "freeze",
    "load_with_diffusers",
    "make_method",
    "read_controlnet",
    "same_picture",
    "shaken",
    "slow",
    "steps",
    "tensors",
    "train",
    "write",
]


ALONE = {"t_lora"}  # methods whose files nothing else reads
REORDERED = {"boft"}  # those that others' layers compute in another order, so that the last bits differ


def slow(*values: Any) -> Any:
    """A case of a test that is left out of the default run, as a quicker one has the same promise."""
    return pytest.param(*values, marks=pytest.mark.slow)


def covering(cases: Sequence[tuple[Any, ...]], *times: int, ids: Sequence[str] = ()) -> list[Any]:
    """Parameters of a test: of a product of many, those in which each value of a column comes `times`, and others slow.

    Values are told apart by their text. Which ones are picked looks scattered and is the same everywhere.
    """
    names = ids or ["-".join(map(str, case)) for case in cases]
    seen: Counter[tuple[int, str]] = Counter()
    picked: set[int] = set()
    for i in sorted(range(len(cases)), key=lambda i: zlib.crc32(names[i].encode())):
        values = [(column, str(value)) for column, value in enumerate(cases[i])]
        if any(seen[value] < wanted for value, wanted in zip(values, times, strict=True)):
            picked.add(i)
            seen.update(values)
    return [
        pytest.param(*case, id=names[i], marks=[] if i in picked else pytest.mark.slow) for i, case in enumerate(cases)
    ]


@contextmanager
def computing_as_we_do(pipe: Any) -> Iterator[None]:
    """Within this context a pipeline of diffusers draws to our last bit, whatever the machine.

    Its weights are frozen, as torch convolves by another algorithm for those that are trained, and its layers packed.
    """
    for part in pipe.components.values():
        if isinstance(part, nn.Module):
            part.requires_grad_(False)
    with packed([pipe.components.get("unet") or pipe.transformer, pipe.vae]):
        yield


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


def load_with_diffusers(base: Path, folder: Path) -> Any:
    """Open an artefact with loaders that are not ours, diffusers' and peft's, going by the files that it holds."""
    whole = (folder / "model_index.json").exists()
    pipe: Any = open_with_diffusers(folder if whole else base)
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
