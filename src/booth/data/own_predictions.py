"""Prior preservation without class pictures: class rows that the untouched base has answered itself."""

from __future__ import annotations

from collections import defaultdict
from collections.abc import Generator, Iterable, Sequence
from contextlib import contextmanager
from dataclasses import replace
from typing import NamedTuple, Protocol

import torch
from torch import Tensor

from booth.core.batch import Batch
from booth.core.errors import UsageError
from booth.core.family import Family
from booth.core.noising import Noising
from booth.core.rng import Rng, on_device

AHEAD = 500  # micro-batches that are asked about in advance, where the base's own weights have to be read for it
AHEAD_BYTES = 2**28  # of their answers, which wait in the machine's memory
VALUE = 4  # bytes of a value of an answer
TOGETHER = 32  # rows of one pass of a small base, whose layers take as long for a few as for several


class Untouched:
    """The base as it was before anything was attached to it, to be asked while a method is taught.

    It has modules of its own over the very weights of the base that is taught: they are frozen, and held once. Where a
    method trains weights of the base itself, those of that component are read again from the base's files whenever they
    are asked for, and let go afterwards: no copy lies beside gradients and activations.
    """

    def __init__(self, model: Family, prompts: Iterable[str], autocast: torch.dtype | None = None) -> None:
        """`prompts` are all that it will be asked with; `model` is bare, or a ValueError.

        UsageError for a family that has no twins.
        """
        if any(model.trainable_in(component) for component in model.components()):
            raise ValueError("only the frozen base can be asked, before a method is attached")
        self._model = _twin(model)
        self._model.resolution = model.resolution
        self._autocast = autocast
        self._apart: list[str] = []  # components whose weights it shares no more
        asked = list(dict.fromkeys(prompts))
        with self._computing(_device(model)):
            self._model.remember_embeddings(True, most=len(asked))
            self._model.embed_ahead(asked)
        self._model.free(["vae", *self._model.sites.text_encoders])
        # A pass of a few rows takes a small base hardly less time than one of several.
        self._is_small = self.asks_several = self._model.pack_layers(True) > 0

    def pack_layers(self, on: bool) -> None:
        """Have a small base compute with its layers packed and be asked about several steps at once, or neither."""
        self.asks_several = on and self._is_small
        self._model.pack_layers(self.asks_several and self.shares_weights)

    @property
    def shares_weights(self) -> bool:
        """Whether all of it lies in memory anyway, so that asking costs one pass and nothing else."""
        return not self._apart

    def leave(self, trained: Iterable[Tensor]) -> None:
        """Share no weights of the components that one of these tensors belongs to, which are about to change."""
        found = {id(tensor) for tensor in trained}
        names = [n for n, part in self._model.components().items() if any(id(p) in found for p in part.parameters())]
        if names:
            self._model.pack_layers(False)  # those that are there are let go
            self._model.stand_alone(names)
            self._apart += names

    @contextmanager
    def at_hand(self) -> Generator[None]:
        """Within this context all of its weights are in memory."""
        if self.shares_weights:
            yield
            return
        self._model.recall(self._apart)
        self._model.pack_layers(self.asks_several)
        try:
            yield
        finally:
            self._model.pack_layers(False)
            self._model.free(self._apart)

    def predict(self, x_t: Tensor, t: Tensor, prompts: list[str], sizes: Tensor | None) -> Tensor:
        """What it predicts there, with the shape of `x_t`, in float32; within `at_hand`."""
        with self._computing(x_t.device):
            return self._model.predict(x_t, t, self._model.embed(prompts, sizes=sizes)).float()

    @contextmanager
    def _computing(self, device: torch.device) -> Generator[None]:
        autocast = self._autocast
        with torch.no_grad(), torch.autocast(device.type, dtype=autocast, enabled=autocast is not None):
            yield


class ClassRows(Protocol):
    """A BatchSource whose last `batch_size` rows are class rows."""

    batch_size: int

    def __call__(self, rng: Rng) -> Batch: ...


class Question(NamedTuple):
    """Rows that the base is asked about: what `Untouched.predict` takes."""

    x_t: Tensor
    t: Tensor
    prompts: list[str]
    sizes: Tensor | None


class OwnPredictions:
    """A BatchSource whose class rows bring their own target: what the base predicts there before it is taught.

    Randomness is derived, so that rows are known in advance to the bit, timesteps and noise included. A small base is
    asked about those of several steps in one pass; `due` says so, and where weights have to be read for asking. A step
    asks for its own rows otherwise.
    """

    def __init__(self, batches: ClassRows, untouched: Untouched, noising: Noising) -> None:
        self.batches = batches
        self._untouched = untouched
        self._noising = noising
        self._parts = 1
        self._targets: dict[Rng, Tensor] = {}

    @property
    def parts(self) -> int:
        """In how many parts the rows of a batch are computed: no more of them are asked about at once.

        In other parts answers may be rounded otherwise, so that those that are there are forgotten.
        """
        return self._parts

    @parts.setter
    def parts(self, count: int) -> None:
        if count != self._parts:
            self._parts, self._targets = count, {}

    def __call__(self, rng: Rng) -> Batch:
        batch = self.batches(rng)
        self._targets = {known: t for known, t in self._targets.items() if known.step >= rng.step}
        if rng not in self._targets:
            with self._untouched.at_hand():
                self._targets |= self._answers(rng)
        target, device = self._targets[rng], batch.latents.device
        return replace(batch, target=target if target.device == device else on_device(target, device))

    @property
    def asks_at_once(self) -> bool:
        """Whether what is due is never more than a pass over weights that are there anyway."""
        return self._untouched.shares_weights

    def due(self, rng: Rng, steps: int, accumulate: int) -> list[Rng]:
        """The micro-batches to `ask` about before the one of `rng`, the first of its step, is dealt.

        None where a step may ask for itself; those of one pass where that is all it takes; otherwise those of as many
        of the `steps` of this stage as stay within AHEAD and AHEAD_BYTES. Always of whole passes, beyond `steps` too.
        """
        shared, together = self.asks_at_once, self._together
        if rng in self._targets or rng.step >= steps or (shared and together == 1):
            return []
        last = rng.step + 1 if shared else min(steps, rng.step + self.steps_ahead(accumulate))
        whole = range(rng.step // together * together, -(-last // together) * together)
        return [Rng(rng.seed, step, micro) for step in whole for micro in range(accumulate)]

    def steps_ahead(self, accumulate: int) -> int:
        """How many steps are asked about together, at rows of the size of the first ones."""
        row = self.batches(Rng(0)).latents[-1].numel() * VALUE
        return max(1, min(AHEAD, AHEAD_BYTES // (self.batches.batch_size * row)) // accumulate)

    def ask(self, rngs: Iterable[Rng]) -> None:
        """Write down the answers for these micro-batches, unless they are known."""
        with self._untouched.at_hand():
            for rng in rngs:
                if rng not in self._targets:
                    self._targets |= {known: target.cpu() for known, target in self._answers(rng).items()}

    @property
    def _together(self) -> int:
        """The micro-batches of how many steps are asked about in one pass."""
        alone = self._parts > 1 or not self._untouched.asks_several
        return 1 if alone else max(1, TOGETHER // self.batches.batch_size)

    def _answers(self, rng: Rng) -> dict[Rng, Tensor]:
        """What the base predicts for the class rows, (n, C, h, w), of this micro-batch and of those beside it.

        Which these are does not depend on where a run was resumed or ends: in other company answers may be rounded
        otherwise.
        """
        first = rng.step // self._together * self._together
        alike: defaultdict[object, dict[Rng, Question]] = defaultdict(dict)
        for step in range(first, first + self._together):
            beside = replace(rng, step=step)
            question = self._question(beside)
            alike[question.x_t.shape, question.sizes is None][beside] = question
        answers: dict[Rng, Tensor] = {}
        for asked in alike.values():
            answers |= zip(asked, self._predicted([*asked.values()]).split(self.batches.batch_size))
        return answers

    def _question(self, rng: Rng) -> Question:
        """The class rows of a micro-batch."""
        batch, last = self.batches(rng), slice(-self.batches.batch_size, None)
        noised = self._noising.sample(batch.latents, rng)
        sizes = None if batch.sizes is None else batch.sizes[last]
        return Question(noised.x_t[last], noised.t[last], batch.prompts[last], sizes)

    def _predicted(self, questions: Sequence[Question]) -> Tensor:
        """What the base predicts for rows of one shape, no more of them at once than a step computes or TOGETHER."""
        x_t, t = torch.cat([q.x_t for q in questions]), torch.cat([q.t for q in questions])
        prompts = [prompt for q in questions for prompt in q.prompts]
        sizes = [q.sizes for q in questions if q.sizes is not None]
        size = len(prompts) if self._parts == 1 else -(-2 * self.batches.batch_size // self._parts)
        parts = [slice(first, first + size) for first in range(0, len(prompts), size)]
        told = torch.cat(sizes) if sizes else None
        ask = self._untouched.predict
        return torch.cat([ask(x_t[p], t[p], prompts[p], None if told is None else told[p]) for p in parts])


def _twin(model: Family) -> Family:
    try:
        return model.twin()
    except UsageError as error:
        raise UsageError(
            f"{model.title} cannot be asked for its own predictions while it is taught: it has no twins.",
            "Set prior=pictures.",
            code="family.no_twin",
            field="settings.prior",
        ) from error


def _device(model: Family) -> torch.device:
    return next(next(iter(model.components().values())).parameters()).device
