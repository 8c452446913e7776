"""A ControlNet in one file under the names of lllyasviel's code (cldm), as AUTOMATIC1111's extension wants it."""

from __future__ import annotations

from collections.abc import Mapping
from pathlib import Path

from torch import Tensor

from booth.core.errors import BadDataError, UsageError
from booth.core.safe_file import read_tensors, shown
from booth.export.base_files import Shapes
from booth.export.check import Check
from booth.export.controlnet import proof as control
from booth.export.exporter import Job, Loaded, TwoWay
from booth.export.original.unet import unet_keys
from booth.export.parts import Parts

PREFIX = "control_model."
HINT = "controlnet_cond_embedding."
# Channels between the eight convolutions of the hint encoder, the three of the picture in front; it halves the side
# three times, which fits latents eight times smaller than the picture and no others.
CHANNELS = (3, 16, 16, 32, 32, 96, 96, 256)
AUTOENCODER_LEVELS = 4


class Cldm(TwoWay):
    """The copy of the encoder under UNetModel's names, zero_convs, middle_block_out and input_hint_block.

    For Stable Diffusion 1.x and 2.x. ControlNets for XL have no such layout: programs read diffusers' own file of
    them, which lies in the concept's folder.
    """

    name = "cldm"
    title = "a ControlNet in the original layout"
    programs = ("AUTOMATIC1111 (sd-webui-controlnet)", "Forge", "ComfyUI", "diffusers (from_single_file)")
    accepts = frozenset({"control"})
    families = ("stable_diffusion",)
    architecture = "controlnet"

    def tensors(self, job: Job) -> dict[str, Tensor]:
        state = _state(job)
        if not any(name.startswith("mid_block.attentions.") for name in state):
            raise UsageError(
                f"The original layout has an attention in the middle block, and {job.folder} was trained without "
                "(middle_attention = false).",
                "Programs that read diffusers' layout can use the files in its folder controlnet/.",
                code="export.no_place",
                field="to",
            )
        hints = sorted({name.removeprefix(HINT).rpartition(".")[0] for name in state if name.startswith(HINT)})
        if hints != sorted(control.HINT):
            raise UsageError(
                f"The original layout has a hint encoder of eight convolutions, for latents an eighth of the picture's "
                f"side; the one in {job.folder} has {len(hints)}.",
                "Programs that read diffusers' layout can use the files in its folder controlnet/.",
                code="export.no_place",
                field="to",
            )
        keys = unet_keys(state)
        return {f"{PREFIX}{keys.get(name) or _beside(name)}": t.to(job.dtype) for name, t in state.items()}

    def check(self, job: Job, file: Path) -> Check:
        """Every weight, as the original code would assign it."""
        state = _state(job)
        reading = control.read(read_tensors(file)[0], {name: tuple(t.shape) for name, t in state.items()})
        check = Check(reader=control.RULES, unmatched=reading.unmatched, missing=reading.missing)
        check.against = "the trained ControlNet"
        for name, tensor in reading.states["controlnet"].items():
            check.matched += 1
            check.compare(tensor, state[name])
        return check

    def loaded(self, job: Job, file: Path) -> Loaded | None:
        shapes = {name: tuple(t.shape) for name, t in _state(job).items()}
        return Loaded(control.read(read_tensors(file)[0], shapes).states)

    def recognises(self, names: Mapping[str, Tensor]) -> bool:
        return any(name.startswith((PREFIX, "input_hint_block.")) for name in names)

    def read(
        self, tensors: Mapping[str, Tensor], metadata: Mapping[str, str], shapes: Shapes
    ) -> tuple[Parts, list[str]]:
        """The network alone: the first files of this kind hold a whole model beside it, which is passed over."""
        wanted = control_shapes(shapes)
        reading = control.read(tensors, wanted)
        state = reading.states["controlnet"]
        lacking = [name for name, shape in wanted.items() if name not in state or state[name].shape != shape]
        if lacking:
            raise BadDataError(
                f"This is a ControlNet for another architecture than the base, or incomplete: {len(lacking)} of its "
                f"weights are missing or of another shape, such as {shown(lacking[0])}.",
                "Name its own base with `base`.",
                code="base.other_architecture",
                field="base",
            )
        alone = not any(name.startswith(PREFIX) for name in tensors)
        unknown = [name for name in reading.unmatched if alone or name.startswith(PREFIX)]
        beside = len(reading.unmatched) - len(unknown)
        note = f"the file holds a whole model too, whose {beside} tensors are passed over: draw on that with `base`"
        told = [note] if beside else []
        return Parts(control=lambda: {name: tensor.float() for name, tensor in state.items()}, notes=told), unknown


def control_shapes(shapes: Shapes) -> dict[str, tuple[int, ...]]:
    """What the weights of a ControlNet for a base look like, by diffusers' names; BadDataError if there is no such."""
    unet = shapes.get("unet", {})
    levels = {name.split(".")[2] for name in shapes.get("vae", {}) if name.startswith("encoder.down_blocks.")}
    if not unet or "text_encoder_2" in shapes or len(levels) != AUTOENCODER_LEVELS:
        raise BadDataError(
            "This is a ControlNet in the original layout, which fits Stable Diffusion 1.x and 2.x with latents an "
            "eighth of the picture's side.",
            "Name such a base with `base`.",
            code="base.other_architecture",
            field="base",
        )
    copied = ("conv_in.", "time_embedding.", "down_blocks.", "mid_block.")
    found = {name: shape for name, shape in unet.items() if name.startswith(copied)}
    first = unet["conv_in.weight"][0]
    # Beside an inpainting denoiser, too, a ControlNet sees the noised latents alone.
    found["conv_in.weight"] = (first, unet["conv_out.weight"][0], 3, 3)
    for i, channels in enumerate(_skips(unet)):
        found |= {f"controlnet_down_blocks.{i}.weight": (channels, channels, 1, 1),
                  f"controlnet_down_blocks.{i}.bias": (channels,)}  # fmt: skip
    middle = unet["mid_block.resnets.1.conv2.weight"][0]
    found |= {"controlnet_mid_block.weight": (middle, middle, 1, 1), "controlnet_mid_block.bias": (middle,)}
    for hint, inside, out in zip(control.HINT, CHANNELS, (*CHANNELS[1:], first), strict=True):
        found |= {f"{HINT}{hint}.weight": (out, inside, 3, 3), f"{HINT}{hint}.bias": (out,)}
    return found


def _skips(unet: Mapping[str, tuple[int, ...]]) -> list[int]:
    """Channels of the encoder's outputs that the decoder is given, in their order."""
    channels = [unet["conv_in.weight"][0]]
    for level in range(len({name.split(".")[1] for name in unet if name.startswith("down_blocks.")})):
        resnets = sorted(name for name in unet if name.startswith(f"down_blocks.{level}.resnets."))
        channels += [unet[name][0] for name in resnets if name.endswith(".conv2.weight")]
        sampler = unet.get(f"down_blocks.{level}.downsamplers.0.conv.weight")
        channels += [] if sampler is None else [sampler[0]]
    return channels


def _beside(name: str) -> str:
    """The original key of a weight that no U-Net has."""
    module, _, kind = name.rpartition(".")
    if module == "controlnet_mid_block":
        return f"middle_block_out.0.{kind}"
    if module.startswith("controlnet_down_blocks."):
        return f"zero_convs.{module.rpartition('.')[2]}.0.{kind}"
    # An activation stands between two convolutions of the hint encoder, so that these have the even numbers.
    hint = module.removeprefix(HINT)
    place = {"conv_in": 0, "conv_out": 14}.get(hint)
    return f"input_hint_block.{2 + 2 * int(hint.rpartition('.')[2]) if place is None else place}.{kind}"


def _state(job: Job) -> dict[str, Tensor]:
    assert job.parts.control is not None, "what `require` asks for"
    return {name: tensor.float() for name, tensor in job.parts.control().items()}
