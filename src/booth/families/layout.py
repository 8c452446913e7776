"""What families in diffusers' folder layout share: their parts, the pipeline over them, and where methods attach."""

from __future__ import annotations

import json
from collections.abc import Iterable, Mapping
from pathlib import Path
from typing import Any, ClassVar

import torch
from diffusers import AutoencoderKL
from torch import Tensor, nn

from booth.core.family import Family, Posterior
from booth.core.packing import pack, unpack
from booth.core.sites import LinearSite, Sites, TokenTable
from booth.families.autoencoder import config_of, keep_precision, needs_float32
from booth.families.compiling import compile_blocks, is_compiled, leave_as_they_are
from booth.families.components import copy_the_rest, prefers_channels_last, read_component, write_components
from booth.families.files import INDEX, tokenizer_of
from booth.families.freeing import Mark, let_go, mark, over_the_same_weights, take_back
from booth.families.lora_file import file_prefix, read_lora, write_lora
from booth.families.multi_vector import written_out
from booth.families.pipelines import most_tokens
from booth.families.quantised import quantise
from booth.families.recomputing import recompute_activations, recompute_in_encoders
from booth.families.schedulers import made_scheduler, own_sampler
from booth.families.sharding import shard
from booth.families.text_encoder import Encoder

TINY_PARAMETERS = 100_000_000  # below this the denoiser is the embedded base's kind and takes its defaults


class DiffusersFamily(Family):
    """Denoiser, text encoders, tokenizers, autoencoder and scheduler from a folder that diffusers wrote.

    A family names its classes and says how it predicts; prompts are embedded by its pipeline's own `encode_prompt`.
    """

    Pipeline: ClassVar[Any]
    Scheduler: ClassVar[Any]  # what the base was trained with; read, never stepped
    schedulers: ClassVar[Mapping[str, Any]]  # what can be drawn with, by name
    denoiser: ClassVar[tuple[str, Any]]  # folder and class
    linears: ClassVar[Mapping[str, tuple[str, ...]]]  # of the denoiser
    encoders: ClassVar[Mapping[str, Encoder]]
    Autoencoder: ClassVar[Any] = AutoencoderKL
    beside: ClassVar[Mapping[str, Any]] = {}  # further networks by folder, which are drawn with and never taught
    # Activations of the published denoiser that a row keeps for the backward pass: so many, and so many more a pixel,
    # by whether of gradient checkpointing. Counted on the meta device with every weight trained, which keeps the most.
    kept: ClassVar[Mapping[bool, tuple[float, float]]]
    channels_last: ClassVar[tuple[str, ...]] = ()  # parts whose convolutions are of pictures, for GPUs that prefer it
    latents: ClassVar[int] = 128  # a side, where the denoiser does not say: all such bases were made for 1024 pixels
    multiple = 8
    _whole: DiffusersFamily | None = None  # whose weights these are, of a twin
    _alone: frozenset[str] = frozenset()  # components of a twin with weights of its own

    def __init__(
        self, base: Path, device: str = "cpu", dtype: torch.dtype = torch.float32, quantised: str | None = None
    ) -> None:
        """`quantised` is what the linear layers of all parts but the autoencoder are in: int8 or nf4."""
        super().__init__()
        self.base = base
        self._how = (device, dtype, quantised)
        index = json.loads((base / INDEX).read_text())
        self._kinds = {
            name: kind
            for name, kind in (
                self.denoiser,
                *((name, encoder.kind) for name, encoder in self.encoders.items()),
                ("vae", self.Autoencoder),
                *self.beside.items(),
            )
            if (index.get(name) or [None])[0] is not None  # SD 3 without its T5, for one
        }
        modules = {name: self._load(name) for name in self._kinds}
        if needs_float32(self.Autoencoder, modules["vae"].config):
            keep_precision(modules["vae"])
        self.scheduler: Any = self.Scheduler.from_pretrained(base / "scheduler", local_files_only=True)
        parts: dict[str, Any] = {
            name: modules.get(name) for name in (self.denoiser[0], *self.encoders, "vae", *self.beside)
        }
        for name, encoder in self.encoders.items():
            folder = tokenizer_of(name, self)
            read = encoder.tokenizer.from_pretrained
            parts[folder] = self._around(name, read(base / folder, local_files_only=True)) if name in modules else None
        self._parts = parts
        self._options = self.options(index)
        self.sampler = own_sampler(index, self.schedulers, self.scheduler.config) or self.sampler
        self._pipe = self.pipeline()
        self.freeze()
        self._packed: list[Any] = []
        self._marks: dict[str, Mark] = {name: mark(module) for name, module in modules.items()}
        tiny = sum(p.numel() for p in self.network.parameters()) < TINY_PARAMETERS
        self.scale = "tiny" if tiny else "full"
        self.resolution = self.network.config.get("sample_size", self.latents) * self.vae_factor
        self.noising = self.make_noising()
        self.sites = self._sites()

    def options(self, index: Mapping[str, object]) -> dict[str, object]:
        """What the pipeline is made with beside its parts; `index` is the content of model_index.json."""
        return {}

    @classmethod
    def latent_side(cls, vae: Mapping[str, Any]) -> int:
        """How many pixels a side a latent stands for, by the configuration of the autoencoder."""
        return 2 ** (len(vae["block_out_channels"]) - 1)

    @property
    def network(self) -> Any:
        """The denoiser."""
        return self._parts[self.denoiser[0]]

    @property
    def vae(self) -> Any:
        """The autoencoder, back if it was let go."""
        self.recall(["vae"])
        return self._parts["vae"]

    @property
    def tokenizer(self) -> Any:
        """The first text encoder's tokenizer, as it is now."""
        return self._tokenizer(next(iter(self.encoders)))

    @property
    def device(self) -> torch.device:
        """Where the denoiser is. diffusers' own property looks through all modules for it, at every step."""
        return next(self.network.parameters()).device

    @property
    def dtype(self) -> torch.dtype:
        """What the denoiser's weights are in, but for those that it keeps in float32; diffusers' own is as slow."""
        kept = getattr(self.network, "_keep_in_fp32_modules", None) or ()
        named = ((n, p) for n, p in self.network.named_parameters() if p.is_floating_point())
        return next(p.dtype for n, p in named if not any(part in n for part in kept))

    @property
    def vae_factor(self) -> int:
        """Pixels a latent."""
        return self._pipe.vae_scale_factor

    def components(self) -> Mapping[str, nn.Module]:
        return {name: self._parts[name] for name in self._kinds}

    def pipeline(self, scheduler: str | None = None) -> Any:
        self.recall()
        drawing = made_scheduler(scheduler or self.sampler, self.schedulers, self.scheduler.config)
        pipe = self.Pipeline(**self._parts, **self._options, scheduler=drawing)
        pipe.set_progress_bar_config(disable=True)
        return pipe

    def expand(self, prompt: str) -> str:
        """A prompt in which each token of several vectors stands as its row of tokens, as the pipeline writes it."""
        return written_out(prompt, self.tokenizer)

    @property
    def prompt_limit(self) -> int | None:
        """How many tokens the pipeline's own `encode_prompt` reads at most; None where the tokenizer alone decides."""
        return most_tokens(self._pipe)

    def shard(self, device: str, dtype: torch.dtype) -> None:
        self.sharded, self._how = dtype, (device, *self._how[1:])
        shard(self.network, device, dtype)
        for name, module in self.components().items():
            self._marks[name] = mark(module if module is self.network else module.to(device))

    def twin(self) -> Family:
        if self.sharded is not None:  # over parts of weights no other modules can be made
            twin = type(self)(self.base, "cpu", *self._how[1:])
            twin.shard(self._how[0], self.sharded)
            return twin
        self.recall()
        twin = type(self).__new__(type(self))
        twin._whole = self
        twin.__init__(self.base, *self._how)
        return twin

    def stand_alone(self, names: Iterable[str]) -> None:
        if self._whole is None:
            return super().stand_alone(names)
        for name in {*names} - self._alone:
            self._alone |= {name}
            let_go(self._parts[name])
            self.freed.add(name)
        return None

    def free(self, names: Iterable[str]) -> None:
        wanted = set(names)
        wanted |= set(self.beside) if wanted else set()  # which no step of a training needs
        for name in wanted & {*self._kinds} - self.freed:
            if mark(self._parts[name]) == self._marks[name] and not self.trainable_in(name):
                let_go(self._parts[name])
                self.freed.add(name)

    def recall(self, names: Iterable[str] | None = None) -> None:
        for name in sorted(self.freed if names is None else self.freed & {*names}):
            take_back(self._parts[name], self._load(name))
            self._marks[name] = mark(self._parts[name])
            self.freed.remove(name)

    def encode(self, pixels: Tensor) -> Posterior:
        with torch.no_grad():
            dist = self.vae.encode(pixels.to(self.device, self.vae.dtype)).latent_dist
        shift = self.vae.config.shift_factor or 0.0
        factor = self.vae.config.scaling_factor
        return Posterior((dist.mean.float() - shift) * factor, dist.std.float() * factor)

    def recompute_activations(self, on: bool) -> None:
        recompute_activations(self.network, on)
        recompute_in_encoders(self.sites, on)

    def compile_blocks(self, on: bool) -> int:
        if on:
            return compile_blocks(self.network)
        leave_as_they_are(self.network)
        return 0

    def pack_layers(self, on: bool) -> int:
        unpack(self._packed)
        small = self.scale == "tiny" and self.sharded is None and not is_compiled(self.network)
        self._packed = pack([self.network, *self.sites.text_encoders.values()]) if on and small else []
        return len(self._packed)

    def write_lora(
        self, folder: Path, layers: Mapping[str, Mapping[str, Tensor]], metadata: Mapping[str, object]
    ) -> None:
        write_lora(self.Pipeline.save_lora_weights, folder, layers, metadata, self._file_prefixes())

    def read_lora(self, folder: Path) -> dict[str, dict[str, Tensor]]:
        return read_lora(folder, self._file_prefixes())

    def _file_prefixes(self) -> dict[str, str]:
        return {name: file_prefix(encoder.key, self._parts[name]) for name, encoder in self.encoders.items()}

    def write_components(self, folder: Path, changed: Iterable[str]) -> None:
        """Write changed components in their present precision; a tiny base's others are copied, which completes it."""
        written = {name: self.components()[name] for name in changed}
        write_components(folder, written)
        if self.scale == "tiny":
            copy_the_rest(folder, self.base, written)

    def read_component(self, folder: Path, name: str) -> dict[str, Tensor]:
        """In float32, under the names of the live module, whatever version of the libraries wrote the file."""
        return self._read(folder, name, torch.float32).state_dict()

    def _load(self, name: str) -> Any:
        """A part from the base's files, in its place; of a twin, one over the weights that are there already."""
        if self._whole is not None and name not in self._alone:
            self._whole.recall([name])
            return over_the_same_weights(self._whole.components()[name])
        device, dtype, quantised = self._how
        if name == "vae" and needs_float32(self.Autoencoder, config_of(self.base)):
            dtype = torch.float32
        module = self._read(self.base, name, dtype)
        if quantised and name != "vae":
            return quantise(module, quantised, device)
        if name in self.channels_last and prefers_channels_last(device):
            return module.to(device, memory_format=torch.channels_last)
        return module.to(device)

    def _read(self, folder: Path, name: str, dtype: torch.dtype) -> Any:
        return read_component(self._kinds[name], folder / name, dtype)

    def _sites(self) -> Sites:
        encoders = {name: self._parts[name] for name in self.encoders if name in self._kinds}
        adapted = {n: LinearSite(m, self.encoders[n].linears) for n, m in encoders.items() if self.encoders[n].linears}
        own = LinearSite(self.network, self.linears)
        return Sites(
            token_tables=tuple(self._token_table(name, encoder) for name, encoder in encoders.items()),
            linears={self.denoiser[0]: own, **adapted},
            convolutions=tuple(own.layers([group for group in own.groups if group == "convolution"])),
            denoiser=self.network,
            text_encoders=encoders,
        )

    def _around(self, name: str, tokenizer: Any) -> Any:
        """What the pipeline takes for an encoder's tokenizer."""
        around = self.encoders[name].around
        return around(tokenizer) if around else tokenizer

    def _tokenizer(self, name: str) -> Any:
        part = self._parts[tokenizer_of(name, self)]
        return part.tokenizer if self.encoders[name].around else part

    def _token_table(self, name: str, encoder: Any) -> TokenTable:
        folder = tokenizer_of(name, self)

        def set_tokenizer(tokenizer: Any) -> None:
            self._parts[folder] = self._around(name, tokenizer)
            setattr(self._pipe, folder, self._parts[folder])

        return TokenTable(
            name=name,
            dim=encoder.get_input_embeddings().embedding_dim,
            embedding=encoder.get_input_embeddings,
            set_embedding=encoder.set_input_embeddings,
            tokenizer=lambda: self._tokenizer(name),
            set_tokenizer=set_tokenizer,
            key=self.encoders[name].key,
            scale=float(getattr(encoder.get_input_embeddings(), "scalar_embed_scale", 1.0)),
        )
