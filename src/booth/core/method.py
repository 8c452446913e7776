"""A method: which tensors receive the gradient, and what is saved."""

from __future__ import annotations

from abc import ABC, abstractmethod
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
from enum import IntEnum
from pathlib import Path
from typing import Any, ClassVar, Literal

from pydantic import BaseModel, ConfigDict, Field
from torch import Tensor, nn

from booth.core.errors import UsageError
from booth.core.family import Family
from booth.core.sites import Coverage


@dataclass(frozen=True)
class Subject:
    """What is being taught: the rare token and the class noun that it stands beside. Both empty: no subject."""

    token: str  # "sks"
    noun: str  # "dog", or "style"
    kind: Literal["subject", "style"] = "subject"
    others: tuple[Subject, ...] = ()  # taught in the same run, each with a token of its own

    @property
    def name(self) -> str:
        """The words that name the subject in a prompt: "sks dog"."""
        return f"{self.token} {self.noun}".strip()

    @property
    def all(self) -> tuple[Subject, ...]:
        """This subject and the others of the run."""
        return (self, *self.others)

    @property
    def prompt(self) -> str:
        """The prompt that draws it: "a photo of sks dog", "a picture in sks style"; empty where there is no subject."""
        if not self.name:
            return ""
        return f"a picture in {self.name}" if self.kind == "style" else f"a photo of {self.name}"


@dataclass(frozen=True)
class ParameterGroup:
    """Named tensors that receive the gradient, with their own learning rate."""

    name: str
    parameters: dict[str, nn.Parameter]
    learning_rate: float
    weight_decay: float = 0.0


# The embedded base decides what a thing is at much noise, so that is where most of its few steps go.
NOISIER: dict[str, Any] = {"timesteps": "logit_normal", "options": {"timesteps": {"mean": 0.8}}}
# And it is soon led to draw every one of a kind as the one that it is taught, unless it is held to its own answers.
OWN_PRIOR: dict[str, Any] = {"prior_weight": 1.0, "prior": "prediction"}


class MethodConfig(BaseModel):
    """Settings that every method has; a method's own class adds to them. Unknown keys are errors."""

    model_config = ConfigDict(extra="forbid", frozen=True)

    steps: int = Field(400, ge=1, description="optimiser steps")
    learning_rate: float = Field(1e-4, gt=0, description="peak learning rate")
    batch_size: int = Field(1, ge=1, description="photos a step")
    accumulate: int = Field(1, ge=1, description="micro-batches a step")
    schedule: str = Field("constant", description="learning-rate schedule", json_schema_extra={"chosen": "schedule"})
    warmup: int = Field(0, ge=0, description="steps of linear warm-up")
    weight_decay: float = Field(1e-2, ge=0, description="AdamW weight decay")
    clip: float = Field(1.0, gt=0, description="largest gradient norm")
    optimizer: str = Field(
        "adamw",
        description="optimiser; with one that finds the rate itself, as prodigy, every learning rate is ignored",
        json_schema_extra={"chosen": "optimizer"},
    )
    ema: float | None = Field(None, gt=0, lt=1, description="decay of the weights' moving average; none = off")
    min_snr_gamma: float | None = Field(None, gt=0, description="min-SNR gamma (2303.09556); none = off")
    weighting: str | None = Field(
        None,
        description="how much each noise level counts; none = constant, or min_snr where min_snr_gamma is set",
        json_schema_extra={"chosen": "weighting"},
    )
    loss: str = Field("mse", description="how an error is measured", json_schema_extra={"chosen": "loss"})
    timesteps: str | None = Field(
        None,
        description="which noise levels are seen; none = as the base's own",
        json_schema_extra={"chosen": "timesteps"},
    )
    options: dict[str, dict[str, Any]] = Field(
        {},
        description="settings of what is chosen by name, such as optimizer.beta1=0.95 or timesteps.mean=0.5",
    )
    prior_weight: float = Field(0.0, ge=0, description="lambda of prior preservation; 0 = off")
    prior: Literal["pictures", "prediction"] = Field(
        "pictures", description="what the prior is: class pictures, or the base's own prediction at the noised photos"
    )
    class_pictures: int = Field(100, ge=1, description="class pictures drawn from the frozen base for the prior")
    caption_dropout: float = Field(0.0, ge=0, le=1, description="share of the rows that are learned with no prompt")
    gradient_checkpointing: bool = Field(False, description="trade time for memory")

    @property
    def asks_base(self) -> bool:
        """Whether the prior is what the untouched base predicts itself."""
        return self.prior_weight > 0 and self.prior == "prediction"


@dataclass(frozen=True)
class Stage:
    """One part of a plan: a method with its own settings. Earlier stages stay attached and frozen."""

    name: str
    method: Method


class Order(IntEnum):
    """When a method is attached that is drawn with others: what it stands on has to be there by then."""

    WEIGHTS = 0  # it replaces weights
    LAYERS = 1  # it adds to layers, or stands beside them
    INPUTS = 2  # it changes what layers are given


class Method(ABC):
    """Attach, train, write, detach. Never imports a family: it works on the sites that the family declares."""

    name: ClassVar[str]
    title: ClassVar[str]
    trains: ClassVar[str]  # one sentence: what receives the gradient
    needs: ClassVar[tuple[str, ...]]  # site names
    files: ClassVar[tuple[str, ...]]  # what it saves
    Config: ClassVar[type[MethodConfig]]
    tiny: ClassVar[dict[str, Any]] = {}  # defaults that differ on the embedded base
    needs_subject: ClassVar[bool] = True  # whether a class noun must be given
    over_quantised: ClassVar[bool] = False  # whether it can be trained over layers in 8 or 4 bits, never reading them
    reads_weights: ClassVar[bool] = False  # whether a step computes with the values of frozen weights, in float32
    order: ClassVar[Order] = Order.LAYERS
    trains_denoiser: ClassVar[bool] = False  # whether every weight of the denoiser receives the gradient
    copies_encoder: ClassVar[bool] = False  # whether a copy of the denoiser's first half is trained beside it
    follows_control: ClassVar[bool] = False  # whether its rows carry a control image
    learns_word: ClassVar[bool] = False  # whether the token becomes a word of its own, with rows that are trained
    contains: ClassVar[tuple[str, ...]] = ()  # other methods whose tensors are among its own and mean the same there

    def __init__(self, config: MethodConfig, subject: Subject) -> None:
        self.config = config
        self.subject = subject

    @classmethod
    def defaults(cls, scale: str) -> dict[str, Any]:
        """Default settings for a base of this scale ("tiny" or "full")."""
        values = cls.Config.model_validate({}).model_dump()
        return values | NOISIER | cls.tiny if scale == "tiny" else values

    def plan(self) -> list[Stage]:
        """The stages to run in order; most methods are a single one."""
        return [Stage(self.name, self)]

    def prompts(self) -> list[str]:
        """Prompts for a photo that has no caption."""
        return [self.subject.prompt]

    def coverage(self, model: Family) -> Mapping[str, Coverage]:
        """Of an adapter, which kinds of layers of each component that can carry one it adapts, and which it leaves.

        UsageError where a kind that the settings name is not there. Methods that put nothing on layers have none.
        """
        return {}

    @property
    def trains_text_encoders(self) -> bool:
        """Whether weights of the text encoders receive the gradient, or something on them, by the settings."""
        return False

    @property
    def reads_prompts(self) -> bool:
        """Whether the text encoders are needed at every step, because what they make of a prompt changes."""
        return self.learns_word or self.trains_text_encoders

    def control(self) -> str | None:
        """Which control its rows carry a control image of; most methods follow none."""
        return None

    def take_form(self, folder: Path) -> None:
        """Be of the form of the network in this folder, which training starts from; before `attach`.

        Only where settings do not say what a network is made of, as a ControlNet's do not say how many blocks it has.
        """
        return

    @abstractmethod
    def attach(self, model: Family, seed: int) -> list[ParameterGroup]:
        """Insert into the model what will be trained, and hand over the tensors that receive the gradient."""

    @abstractmethod
    def detach(self, model: Family) -> None:
        """Take everything out again: the base is bit-identical to before."""

    def penalty(self) -> Tensor | None:
        """What is added to the loss of each micro-batch while this method is trained, such as a distance; or nothing.

        A scalar that takes the gradient.
        """
        return None

    def together(self) -> bool:
        """Whether several of it, of one shape, can be trained in one forward pass of the denoiser."""
        return False

    def join(self, model: Family, several: Sequence[Method]) -> Callable[[], None]:
        """Have the rows of a batch go in equal shares, in their order, through what `several` of its kind train.

        Each of them is attached to a twin of `model`, which is bare. Returned is what makes it so again. What changes
        only how prompts are embedded needs nothing here.
        """
        return lambda: None

    def constrain(self) -> None:
        """Bring the tensors back into their allowed set after each update."""
        return

    @abstractmethod
    def write(self, model: Family, folder: Path) -> None:
        """Write the artefact, in the format that its ecosystem expects, into an existing folder."""

    @abstractmethod
    def restore(self, model: Family, folder: Path) -> None:
        """Attach what `write` wrote, ready for drawing."""

    def learned(self) -> Mapping[str, Tensor]:
        """What `write` writes, after `attach` or `restore`: live tensors, by the names under which `attach` gives them.

        Another run starts from them; from a method that gives none, no run does.
        """
        return {}

    @property
    def has_strength(self) -> bool:
        """Whether its effect can be scaled when drawing."""
        return type(self).set_strength is not Method.set_strength

    def set_strength(self, strength: float) -> None:
        """Scale the method's effect when drawing; 1 is as trained. UsageError for another one where it has none."""
        if strength != 1:
            raise UsageError(f"{self.title} has no strength to set; leave it out.", code="strength.unsupported")
