"""A model family: how it embeds a prompt, encodes a picture, predicts, and where methods may attach."""

from __future__ import annotations

from abc import ABC, abstractmethod
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass, replace
from pathlib import Path
from typing import Any, ClassVar, cast

import torch
from torch import Tensor, nn
from torch.nn.utils.rnn import pad_sequence

from booth.core.errors import UsageError
from booth.core.noising import Noising
from booth.core.sites import Sites

REMEMBERED = 1000  # prompt embeddings: shuffled tags make endless prompts, and one of Stable Diffusion takes 240 kB


@dataclass(frozen=True)
class Condition:
    """An embedded prompt batch, with whatever else the denoiser is told."""

    tokens: Tensor  # (B, L, D) hidden states for cross-attention
    pooled: Tensor | None = None  # (B, P)
    control_image: Tensor | None = None  # (B, 3, H, W) in [0, 1], what the ControlNets in place follow
    mask: Tensor | None = None  # (B, L) true where there is a token; none = everywhere
    sizes: Tensor | None = None  # (B, 6) what was done to each picture, for a base that is told; none = nothing

    @staticmethod
    def stack(rows: list[Condition]) -> Condition:
        """Join single-prompt conditions into one batch; those with a mask may differ in length."""
        pooled = [r.pooled for r in rows if r.pooled is not None]
        masks = [r.mask[0] for r in rows if r.mask is not None]
        tokens = pad_sequence([r.tokens[0] for r in rows], batch_first=True)
        mask = pad_sequence(masks, batch_first=True) if masks else None
        return Condition(tokens, torch.cat(pooled) if pooled else None, mask=mask)

    @staticmethod
    def join(batches: Sequence[Condition]) -> Condition:
        """One batch of several, in their order; what none of them has stays away. Those with a mask may differ in L."""
        first = batches[0]
        values: dict[str, Tensor] = {}
        for name in ("pooled", "control_image", "sizes"):
            if getattr(first, name) is not None:
                values[name] = torch.cat([getattr(batch, name) for batch in batches])
        if first.mask is None:
            return Condition(torch.cat([batch.tokens for batch in batches]), **values)
        tokens = pad_sequence([row for batch in batches for row in batch.tokens], batch_first=True)
        masks = [row for batch in batches for row in cast(Tensor, batch.mask)]
        return Condition(tokens, mask=pad_sequence(masks, batch_first=True), **values)


@dataclass(frozen=True)
class Posterior:
    """The autoencoder's Gaussian over scaled latents; cached, so that each step can still draw a fresh latent."""

    mean: Tensor  # (B, C, h, w)
    std: Tensor  # (B, C, h, w)

    def sample(self, noise: Tensor) -> Tensor:
        """One latent a row from standard normal `noise` of the same shape."""
        return self.mean + self.std * noise


class Family(ABC):
    """One loaded base model. Holds the modules, never the training state."""

    name: ClassVar[str]
    title: ClassVar[str]
    pipelines: ClassVar[tuple[str, ...]] = ()  # what model_index.json calls its bases, for a family that is a plug-in
    offers: ClassVar[tuple[str, ...]]  # names of the sites that are not empty, known before any weights are loaded
    sampler: str  # the scheduler that pictures are drawn with unless another is named; a base may bring its own
    guidance: ClassVar[float] = 5.0  # guidance scale, likewise
    multiple: int  # a side of a picture is a multiple of this many pixels
    largest: int = 16_384  # pixels a side that it can draw; where the base sets no limit, more is a slip of the finger
    largest_area: int | None = None  # pixels of a picture that it draws over; None is as many as of any other
    sequence_first: ClassVar[tuple[str, ...]] = ()  # ends of names of the denoiser's layers that take (L, B, D)
    most_steps: int | None = None  # to draw in; None where noise levels are continuous
    bucket_step: int  # the sides of buckets are multiples of this many pixels
    noising: Noising
    sites: Sites
    base: Path  # the folder that the weights came from
    resolution: int  # native side of a picture in pixels
    scale: str  # "tiny" for the embedded base, "full" for the real ones: which defaults a method takes
    inpaints: bool = False  # whether the denoiser is told a mask and the masked picture beside the noised one

    def __init__(self) -> None:
        self.freed: set[str] = set()  # components whose weights are let go
        self.sharded: torch.dtype | None = None  # what it computes in, where a process holds but a part of the denoiser
        self._memo: dict[str, Condition] | None = None
        self._most = REMEMBERED

    @abstractmethod
    def components(self) -> Mapping[str, nn.Module]:
        """Every module by its diffusers folder name, e.g. "unet", "text_encoder", "vae"."""

    @abstractmethod
    def embed_prompts(self, prompts: list[str]) -> Condition:
        """Run the text encoders on `prompts`."""

    @abstractmethod
    def encode(self, pixels: Tensor) -> Posterior:
        """Encode `pixels` (B, 3, H, W) in [-1, 1]."""

    @abstractmethod
    def predict(self, x_t: Tensor, t: Tensor, condition: Condition) -> Tensor:
        """The denoiser's prediction, with the shape of `x_t`."""

    @abstractmethod
    def noise_level(self, told: Mapping[str, Any]) -> Tensor:
        """How much of what the denoiser was called with is noise, (B,) or one for all, from 0 to 1.

        `told` are the arguments of its forward pass by name, in training as in drawing.
        """

    @abstractmethod
    def make_noising(self) -> Noising:
        """The noising that this base was trained with."""

    @abstractmethod
    def pipeline(self, scheduler: str | None = None) -> Any:
        """The diffusers pipeline over the very modules held here, methods attached included."""

    def guided(self, guidance: float, negative: str, count: int) -> dict[str, object]:
        """What the pipeline is called with to draw `count` pictures with this guidance scale, 1 being none."""
        return {"guidance_scale": guidance, "negative_prompt": [negative] * count}

    def steps_taken(self, steps: int, strength: float) -> int:
        """How many of `steps` are taken over a picture of which this share is drawn anew, as its pipelines round."""
        return int(steps * strength)

    @abstractmethod
    def write_lora(
        self, folder: Path, layers: Mapping[str, Mapping[str, Tensor]], metadata: Mapping[str, object]
    ) -> None:
        """Write adapter tensors (component -> peft state dict) in the diffusers LoRA layout."""

    @abstractmethod
    def read_lora(self, folder: Path) -> dict[str, dict[str, Tensor]]:
        """Read what `write_lora` wrote back: component -> peft state dict."""

    @abstractmethod
    def write_components(self, folder: Path, changed: Iterable[str]) -> None:
        """Write changed components as a diffusers pipeline folder."""

    @abstractmethod
    def read_component(self, folder: Path, name: str) -> dict[str, Tensor]:
        """The state dict of one component in a diffusers folder."""

    @abstractmethod
    def free(self, names: Iterable[str]) -> None:
        """Let go of the weights of components until they are needed to encode, to embed or to draw.

        A component that is trained, or is not as the base's files have it, stays.
        """

    @abstractmethod
    def recall(self, names: Iterable[str] | None = None) -> None:
        """Read again what of these components, or of all, was let go, as it was to the bit."""

    def embed(self, prompts: list[str], control: Tensor | None = None, sizes: Tensor | None = None) -> Condition:
        """Step 1 of the loop. Embeddings are remembered while no trainable tensor lies in a text encoder.

        The hint `control` and the size ids are taken along: what is told them sees the noised latents too, and so is
        part of step 3.
        """
        if self._memo is None:
            self.recall(self.sites.text_encoders)
            return replace(self.embed_prompts(prompts), control_image=control, sizes=sizes)
        self._remember(prompts)
        stacked = Condition.stack([self._memo[p] for p in prompts])
        while len(self._memo) > self._most:
            self._memo.pop(next(iter(self._memo)))
        return replace(stacked, control_image=control, sizes=sizes)

    def embed_ahead(self, prompts: list[str]) -> bool:
        """Embed what is going to be asked for; whether all of it is remembered from now on."""
        if self._memo is None or len(prompts) > self._most:
            return False
        self._remember(prompts)
        return len(self._memo) <= self._most

    def _remember(self, prompts: list[str]) -> None:
        assert self._memo is not None
        for prompt in dict.fromkeys(prompts):
            if prompt not in self._memo:
                self.recall(self.sites.text_encoders)
                with torch.no_grad():
                    self._memo[prompt] = self.embed_prompts([prompt])

    def remember_embeddings(self, on: bool, most: int = REMEMBERED) -> None:
        """Start with an empty memory of at most so many prompt embeddings, the oldest going first; or stop it."""
        self._memo = {} if on else None
        self._most = most

    def recompute_activations(self, on: bool) -> None:
        """Gradient checkpointing: keep fewer activations, and compute them again for the backward pass."""
        if on:
            raise UsageError(
                f"{self.title} has no gradient checkpointing.",
                "Leave gradient_checkpointing out.",
                code="setting.unsupported",
                field="settings.gradient_checkpointing",
            )

    def compile_blocks(self, on: bool) -> int:
        """Compile the blocks that the denoiser repeats when they are next computed, or no more; how many there are."""
        return 0

    def pack_layers(self, on: bool) -> int:
        """Lay out the weights of the frozen layers that steps go through as the device reads them fastest, or no more.

        How many there are: none where it does not pay. Nobody may change the weights meanwhile.
        """
        return 0

    def shard(self, device: str, dtype: torch.dtype) -> None:
        """Of a base on the CPU, as all processes of a run do: bring to the device what this one holds of the denoiser.

        The other components go there whole; `dtype` is what the denoiser computes in. UsageError where that cannot be.
        """
        raise UsageError(
            f"{self.title} cannot be sharded over several processes.",
            "Have each of them hold all of it.",
            code="family.not_sharded",
            field="base",
        )

    def twin(self) -> Family:
        """The same base in modules of its own over the very weights of this one, which neither may change.

        What is attached to one is not on the other. UsageError for a family that cannot.
        """
        raise UsageError(
            f"{self.title} cannot be taught several things at once.",
            "Teach them one after the other.",
            code="family.no_twin",
            field="together",
        )

    def stand_alone(self, names: Iterable[str]) -> None:
        """Of a twin: share the weights of these components no more, because those of the other are going to change.

        They are let go, and `recall` reads this one's own from the base's files.
        """
        if any(names):
            raise ValueError("only a twin shares weights")

    def trainable_in(self, name: str) -> bool:
        """Whether any tensor in a component receives the gradient: then nothing downstream of it can be cached."""
        return any(p.requires_grad for p in self.components()[name].parameters())

    def freeze(self) -> None:
        """No tensor of the base receives the gradient until a method asks for it."""
        for module in self.components().values():
            module.requires_grad_(False)
            module.eval()
