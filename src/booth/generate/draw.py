"""From prompts and seeds to pictures, through the diffusers pipeline over the very modules that were trained."""

from __future__ import annotations

import inspect
import math
from collections.abc import Callable, Generator, Sequence
from contextlib import AbstractContextManager, contextmanager, nullcontext
from dataclasses import dataclass
from functools import partial, wraps
from itertools import chain
from threading import Lock
from typing import Any

import numpy as np
import torch
from PIL import Image as Images
from PIL.Image import Image

from booth.core.cancel import check_cancelled
from booth.core.family import Family
from booth.core.packing import packed
from booth.core.workers import available, side_by_side
from booth.families.autoencoder import decoding_in_tiles
from booth.families.compiling import as_they_are
from booth.families.offload import offloaded
from booth.families.pipelines import starting_from_picture, told_as_usual
from booth.generate.checks import check_canvas, check_control_images, check_settings, check_size, not_finite
from booth.generate.start import Start

STEPS = 30
ALIKE = 4  # pictures in one pass, at most, where nobody says how many
PROOF_STEPS = 2  # after which pictures drawn together are compared with such as are drawn alone
TILED = 2  # from more than so many times the pixels of the base's own pictures on, a GPU decodes in tiles


def draw(
    model: Family,
    prompts: list[str],
    seeds: list[int],
    *,
    steps: int = STEPS,
    guidance: float | None = None,
    negative: str = "",
    scheduler: str | None = None,
    size: int | None = None,
    starts: Sequence[Start] | None = None,
    control_images: Sequence[Sequence[Image]] = (),
    batch_size: int | None = None,
    offload: tuple[str, str] = ("none", "cpu"),
    require_finite: bool = True,
    on_picture: Callable[[int], None] | None = None,
) -> list[Image]:
    """Draw picture i from prompt i and seed i, with one CPU generator a picture.

    `guidance` and `scheduler` are the model's own where they are None. By default pictures are drawn one at a time on
    the CPU, so that the bytes of each depend on its own prompt and seed alone, and four at once on another device. A
    small base draws each by one core, so that they do not depend on the cores either, and on as many cores as there
    are; a core draws up to four in one pass where a first look shows that they come out as they do alone, to the bit.
    With a larger `batch_size` the last bit of a value may depend on the batch, and what a pipeline takes from torch's
    global generator, which is seeded with the batch's first seed, does. `on_picture` hears how many are finished.
    With `starts` picture i is drawn over start i, whose shorter side becomes `size`; all are of one kind and size.
    What lies outside a mask is the start's own, to the bit. `control_images` holds for each ControlNet in place, in
    their order, what it follows to each picture. `offload` is how the parts of a model on the CPU take turns on which
    device.
    NotFiniteError for a picture with values that are no numbers, which without `require_finite` becomes black there.
    """
    check_settings(model, prompts, seeds, steps, guidance)
    check_size(model, size)
    check_control_images(model, control_images, len(prompts))
    side = size or model.resolution
    canvases = _canvases(model, starts, len(prompts), side)
    pipe = _pipe(model, scheduler, canvases)
    if canvases:
        check_canvas(model, canvases[0], steps, pipe.vae_scale_factor)
    scale = model.guidance if guidance is None else guidance
    asked = _Asked(model, prompts, seeds, steps, scale, negative, scheduler, side, canvases, control_images)
    on_cpu = pipe.device.type == "cpu"
    small = model.scale == "tiny" and on_cpu and offload[0] == "none"
    # Hints may be encoded with the global generator, whose numbers have an order.
    by_cores = small and batch_size in (None, 1) and not control_images
    workers = available() if by_cores else 1
    pipes = [pipe, *(_pipe(model, scheduler, canvases) for _ in range(workers - 1))]  # each counts its own steps
    if workers > 1:
        _take_turns_in_encoding(pipes)
    at_once = batch_size or (1 if on_cpu else ALIKE)
    images: list[Image] = []
    pixels = canvases[0].image.width * canvases[0].image.height if canvases else side**2
    large = _on_gpu(pipe, offload) and pixels > TILED * model.resolution**2
    plainly, quickly = as_they_are(model.sites.denoiser), _quickly(model) if small else nullcontext()
    heeding = _cancelled_between_steps(model.sites.denoiser)
    with offloaded(pipe, *offload), told_as_usual(pipe), decoding_in_tiles(pipe.vae, large), plainly, quickly, heeding:
        if by_cores and batch_size is None:
            at_once = _evenly(len(prompts), workers)
            sizes = {at_once, len(prompts) % at_once} - {0, 1}
            if not all(asked.come_out_alike(size, pipes) for size in sorted(sizes)):
                at_once = 1
        for first in range(0, len(prompts), at_once * workers):
            check_cancelled()
            starting = range(first, len(prompts), at_once)
            tasks = [
                partial(asked.drawn, slice(i, i + at_once), pipe, require_finite)
                for pipe, i in zip(pipes, starting, strict=False)
            ]
            with _seeded(seeds[first], pipe.device):
                drawn = side_by_side(tasks) if workers > 1 else [tasks[0]()]
            for picture in chain.from_iterable(drawn):
                images.append(picture)
                if on_picture is not None:
                    on_picture(len(images))
    return images


@dataclass(frozen=True)
class _Asked:
    """Everything that pictures depend on but the pipeline that draws them."""

    model: Family
    prompts: list[str]
    seeds: list[int]
    steps: int
    guidance: float
    negative: str
    scheduler: str | None
    side: int
    canvases: list[Start]
    control_images: Sequence[Sequence[Image]]

    def pixels(self, rows: slice, pipe: Any, steps: int) -> np.ndarray:
        """Pictures (n, H, W, C) of these prompts, in one pass a step."""
        model, canvases, count = self.model, self.canvases[rows], len(self.prompts[rows])
        hints = [of_net[rows] for of_net in self.control_images]
        return pipe(
            prompt=self.prompts[rows],
            **(_inputs(canvases) if canvases else {"height": self.side, "width": self.side}),
            num_inference_steps=steps,
            output_type="np",
            generator=[torch.Generator().manual_seed(seed) for seed in self.seeds[rows]],
            **model.guided(self.guidance, self.negative, count),
            **(_following(model, pipe, hints) if hints else {}),
        ).images

    def drawn(self, rows: slice, pipe: Any, require_finite: bool) -> list[Image]:
        """Pictures of these prompts."""
        pixels = self.pixels(rows, pipe, self.steps)
        if require_finite and not np.isfinite(pixels).all():
            raise not_finite(self.scheduler or self.model.sampler, self.steps)
        pictures = [_opaque(p) for p in pipe.image_processor.numpy_to_pil(pixels)]
        return list(map(_kept_outside, pictures, self.canvases[rows]) if self.canvases else pictures)

    def come_out_alike(self, count: int, pipes: list[Any]) -> bool:
        """Whether the first and last of `count` pictures drawn together for some steps are to the bit as alone."""
        strength = self.canvases[0].strength if self.canvases else 1.0
        steps = min(self.steps, math.ceil(PROOF_STEPS / strength))

        def look(pipe: Any, *rows: slice) -> list[np.ndarray]:
            return [self.pixels(each, pipe, steps) for each in rows]

        looks = [
            partial(look, pipes[0], slice(count)),
            partial(look, pipes[-1], slice(1), slice(count - 1, count)),
        ]
        with _seeded(self.seeds[0], pipes[0].device):
            (together,), alone = side_by_side(looks) if len(pipes) > 1 else [each() for each in looks]
        return np.array_equal(together[[0, -1]], np.concatenate(alone))


def _evenly(count: int, workers: int) -> int:
    """How many pictures each worker draws in one pass, at most `ALIKE`, so that all have about as many to draw."""
    rounds = math.ceil(count / (workers * ALIKE))
    return math.ceil(count / (workers * rounds)) if rounds else 1


def drawn_at_once(model: Family, count: int) -> int:
    """How many of `count` pictures `draw` makes at a time, of a model that is wholly where it computes."""
    if next(next(iter(model.components().values())).parameters()).device.type != "cpu":
        return min(count, ALIKE)
    workers = available()
    return min(count, workers * _evenly(count, workers)) if model.scale == "tiny" else 1


@contextmanager
def _cancelled_between_steps(denoiser: torch.nn.Module | None) -> Generator[None]:
    """Within this context the cancel token is looked at before each use of a denoiser: a picture may take minutes."""
    hook = None if denoiser is None else denoiser.register_forward_pre_hook(lambda *_: check_cancelled())
    try:
        yield
    finally:
        if hook is not None:
            hook.remove()


def _quickly(model: Family) -> AbstractContextManager[None]:
    """Within this context a small base draws with packed layers, and computes a prompt's keys and values once."""
    denoiser: Any = model.sites.denoiser
    attentions = [denoiser.get_submodule(name) for name in model.sites.cross_attention]
    of_prompt = [getattr(layer, "base_layer", layer) for each in attentions for layer in (each.to_k, each.to_v)]
    return packed([denoiser, model.components()["vae"]], of_prompt)


def _on_gpu(pipe: Any, offload: tuple[str, str]) -> bool:
    """Whether the autoencoder decodes on a GPU."""
    return pipe.device.type == "cuda" or (offload[0] != "none" and offload[1].startswith("cuda"))


def _pipe(model: Family, scheduler: str | None, canvases: list[Start]) -> Any:
    """A pipeline that starts from noise or, with `canvases`, from pictures."""
    pipe = model.pipeline(scheduler)
    return starting_from_picture(pipe, masked=canvases[0].mask is not None) if canvases else pipe


def _take_turns_in_encoding(pipes: list[Any]) -> None:
    """Have pipelines that share a tokenizer use it one after the other: it serves one thread at a time."""
    lock = Lock()

    def in_turn(encode: Callable[..., Any]) -> Callable[..., Any]:
        @wraps(encode)
        def encoded(*args: Any, **options: Any) -> Any:
            with lock:
                return encode(*args, **options)

        return encoded

    for pipe in pipes:
        pipe.encode_prompt = in_turn(pipe.encode_prompt)


def _canvases(model: Family, starts: Sequence[Start] | None, count: int, side: int) -> list[Start]:
    """What each picture is drawn over, at its final size; nothing where pictures come from noise alone."""
    if starts is None:
        return [Start.blank(side)] * count if model.inpaints else []
    fitted = [start.fitted(side, model.multiple) for start in starts]
    return [start.masked() for start in fitted] if model.inpaints else fitted


def _inputs(canvases: list[Start]) -> dict[str, Any]:
    """What a pipeline that starts from pictures takes beside the prompt: one picture a row, so that none is shared."""
    first = canvases[0]
    inputs = {
        "image": [c.image for c in canvases],
        "strength": first.strength,
        "height": first.image.height,
        "width": first.image.width,
    }
    return inputs if first.mask is None else inputs | {"mask_image": [c.mask for c in canvases]}


def _kept_outside(image: Image, canvas: Start) -> Image:
    """The drawn picture with the start's own pixels outside the mask, which the autoencoder has blurred."""
    return image if canvas.mask is None else Images.composite(image, canvas.image, canvas.mask)


def _following(model: Family, pipe: Any, control_images: list[Sequence[Image]]) -> dict[str, Any]:
    """What a ControlNet pipeline takes beside the prompt, for one ControlNet or for several."""
    site = model.sites.control
    assert site is not None
    stacks = [
        site.for_pipeline(torch.stack([_unit(control_image) for control_image in of_net])) for of_net in control_images
    ]
    scales = [control.scale for control in site.placed.values()]
    known = inspect.signature(pipe.__call__).parameters
    name = "control_image" if "control_image" in known else "image"  # which elsewhere is the picture to start from
    if len(stacks) == 1:
        return {name: stacks[0], "controlnet_conditioning_scale": scales[0]}
    # FLUX's pipelines that start from a picture count the ControlNets by their modes, which only union ones have.
    modes = {"control_mode": [None] * len(stacks)} if "control_mode" in known else {}
    return {name: stacks, "controlnet_conditioning_scale": scales, **modes}


@contextmanager
def _seeded(seed: int, device: torch.device) -> Generator[None]:
    """A global generator that repeats itself: Stable Diffusion 3's pipeline encodes control images with it."""
    with torch.random.fork_rng(devices=[device] if device.type == "cuda" else []):
        torch.manual_seed(seed)
        yield


def _unit(control_image: Image) -> torch.Tensor:
    """(3, H, W) in [0, 1]."""
    return torch.from_numpy(np.array(control_image.convert("RGB"), dtype=np.float32) / 255).permute(2, 0, 1)


def _opaque(picture: Image) -> Image:
    """A picture whose base draws how opaque it is, on white, as such a base looks at one itself."""
    if picture.mode != "RGBA":
        return picture
    white = Images.new("RGB", picture.size, "white")
    white.paste(picture, mask=picture.getchannel("A"))
    return white
