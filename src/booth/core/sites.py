"""Where a method may train or insert something: a family declares its sites, a method asks for them by name."""

from __future__ import annotations

import re
from collections import Counter
from collections.abc import Callable, Iterable, Mapping
from dataclasses import dataclass, field, fields
from pathlib import Path
from typing import Any

from torch import Tensor, nn

from booth.core.errors import UsageError


@dataclass(frozen=True)
class TokenTable:
    """One tokenizer with the embedding table behind it.

    `embedding` and `tokenizer` are read and replaced through functions, because a method swaps in extended
    copies and puts the originals back when it is detached.
    """

    name: str  # "text_encoder", "text_encoder_2"
    dim: int  # width of a row
    embedding: Callable[[], nn.Module]
    set_embedding: Callable[[nn.Module], None]
    tokenizer: Callable[[], Any]
    set_tokenizer: Callable[[Any], None]
    key: str = ""  # what embedding files that serve several encoders call it: "clip_l"; empty = its name
    scale: float = 1.0  # what the encoder multiplies each row by that it looks up, as Gemma does


OTHER = "other"  # layers of no group
MATRICES = (nn.Linear, nn.Conv1d, nn.Conv2d, nn.Conv3d)
Coverage = Mapping[str, tuple[int, int]]  # how many layers of each group are adapted, and how many there are


@dataclass(frozen=True)
class LinearSite:
    """A component whose linear layers (and convolutions) can carry adapters, by groups of module-name suffixes."""

    module: nn.Module
    groups: Mapping[str, tuple[str, ...]]  # "attention" -> ("to_q", "to_k", ...), "feed_forward", "convolution" -> ...
    counts: Mapping[str, int] = field(init=False)  # layers of each group and of none, while nothing is attached

    def __post_init__(self) -> None:
        module: Any = self.module
        found = Counter(self.group_of(n) for n, m in module.named_modules() if isinstance(m, MATRICES))
        object.__setattr__(self, "counts", {group: found[group] for group in (*self.groups, OTHER)})

    def group_of(self, name: str) -> str:
        """The group of a layer by its full name; the first that names it."""
        ends = ((g, tuple(f".{s}" for s in suffixes)) for g, suffixes in self.groups.items())
        return next((group for group, end in ends if f".{name}".endswith(end)), OTHER)

    def coverage(self, names: Iterable[str]) -> Coverage:
        """What of each group is among these full names of layers."""
        found = Counter(map(self.group_of, names))
        return {group: (found[group], count) for group, count in self.counts.items() if count}

    def targets(self, groups: list[str]) -> list[str]:
        """Module-name suffixes of the named groups; an unknown group is a usage error."""
        unknown = [g for g in groups if g not in self.groups]
        if unknown:
            raise UsageError(
                f"No layer group {unknown[0]!r} here; there are: {', '.join(self.groups)}.",
                code="targets.unknown",
                field="settings.targets",
            )
        return [suffix for g in groups for suffix in self.groups[g]]

    def require(self, groups: Iterable[str], what: str) -> None:
        """UsageError for a group that matches nothing in `what`: a kind of layer that is missed is seen in no loss."""
        self.targets(list(groups))
        for group in groups:
            if not self.counts[group]:
                told = ", ".join(f"{g} ({n})" for g, n in self.counts.items() if n and g != OTHER)
                raise UsageError(
                    f"No layer of {what} is of the group {group!r}.",
                    f"It has: {told}.",
                    code="targets.empty",
                    field="settings.targets",
                )

    def layers(self, groups: list[str], blocks: str | None = None) -> list[str]:
        """Full names of the layers of the named groups in which, if it is given, the pattern `blocks` is found."""
        named = self._named(groups)
        return [n for n, m in named.items() if hasattr(m, "weight") and (blocks is None or re.search(blocks, n))]

    def suffices(self, groups: list[str]) -> bool:
        """Whether the suffixes alone tell the layers, because no list of layers or activation is called so too."""
        return len(self.layers(groups)) == len(self._named(groups))

    def _named(self, groups: list[str]) -> dict[str, Any]:
        suffixes = tuple(f".{suffix}" for suffix in self.targets(groups))
        module: Any = self.module
        return {name: m for name, m in module.named_modules() if f".{name}".endswith(suffixes)}


@dataclass(frozen=True)
class AttentionSite:
    """One attention of the denoiser, by the names of its parts inside the denoiser."""

    name: str
    key: str  # the linear layer that turns the context into keys
    value: str  # and the one that turns it into values
    width: int  # of a row of the context: the prompt's in cross-attention, the features' own in self-attention


@dataclass
class PlacedControl:
    """A ControlNet in its place beside the denoiser."""

    net: nn.Module
    kind: str  # what it follows: "canny"
    scale: float = 1.0  # conditioning scale: what its outputs are multiplied by


@dataclass(frozen=True)
class ControlSite:
    """Where ControlNets stand: copies of the denoiser's first part whose outputs are added to it (2302.05543)."""

    # With the base's weights, a new way in for the hint, and zero layers as the way out; True = with the attention of
    # the middle block. UsageError for False where there is no such block.
    copy: Callable[[bool], nn.Module]
    read: Callable[[Path], nn.Module]  # a folder in diffusers' layout; BadDataError if it does not fit the base
    write: Callable[[nn.Module, Path], None]
    placed: dict[str, PlacedControl]  # by component name, in the order in which their outputs are added
    for_pipeline: Callable[
        [Tensor], Tensor
    ]  # a control image (B, 3, H, W) in [0, 1] in the range that the pipeline takes


@dataclass(frozen=True)
class Sites:
    """All places of a family. An empty site means that the family has no such place."""

    token_tables: tuple[TokenTable, ...] = ()
    linears: Mapping[str, LinearSite] = field(default_factory=dict[str, LinearSite])  # by component name
    convolutions: tuple[str, ...] = ()  # names of the denoiser's convolutions that can carry adapters
    attention: tuple[AttentionSite, ...] = ()  # every attention of the denoiser
    cross_attention: tuple[str, ...] = ()  # names of those whose context is the prompt
    denoiser: nn.Module | None = None
    text_encoders: Mapping[str, nn.Module] = field(default_factory=dict[str, nn.Module])
    control: ControlSite | None = None

    def has(self, name: str) -> bool:
        """Whether the family offers the named site."""
        if name not in {f.name for f in fields(self)}:
            raise UsageError(
                f"There is no site called {name!r}; sites are {', '.join(f.name for f in fields(self))}.",
                code="site.unknown",
            )
        site = getattr(self, name)
        return site is not None and site not in ((), {})

    def require(self, method: str, family: str, names: tuple[str, ...]) -> None:
        """A clear error for the first site that `method` needs and the family lacks."""
        for name in names:
            if not self.has(name):
                raise UsageError(
                    f"{method} needs the site {name!r}, which {family} does not have.",
                    "Choose another method; `booth methods` shows which work where.",
                    code="method.site_missing",
                    field="method",
                )
