"""A session: a loaded base that is held through many trainings, drawings and evaluations."""

from __future__ import annotations

import threading
from collections.abc import Generator
from contextlib import contextmanager
from pathlib import Path
from typing import Any

import torch

from booth.core.errors import UsageError
from booth.core.family import Family
from booth.core.precision import DTYPES, allow_tf32, choose_precision
from booth.families.loading import base_hash, load_family, require_family, resolve_base
from booth.families.recognition import recognise


class Session:
    """Holds one base on one device, loaded when it is first asked for and until it is closed.

    Who borrows the model takes out again what they attached, and the base is bit-identical to before. One borrower at a
    time: other threads wait.
    """

    def __init__(
        self,
        base: str = "embedded",
        device: str = "cpu",
        family: str | None = None,
        precision: str | None = None,
        processes: int = 1,
    ) -> None:
        """`precision` is what is drawn in: fp32, bf16 or fp16; what suits the device if None.

        Of so many `processes`, all of which open one, each holds a part of the denoiser.
        Raises what finding the base raises: NotAvailableError, BadDataError.
        """
        self.base = base
        self.device = device
        self.family = family
        self.precision = precision
        self.processes = processes
        self.folder: Path = resolve_base(base)
        self.loads = 0  # how often the base was read from its files
        self._model: Family | None = None
        self._held: tuple[Any, ...] | None = None  # in which precision
        self._lock = threading.RLock()
        self._borrowers = 0

    @property
    def hash(self) -> str:
        """The content hash of the base."""
        return base_hash(self.folder)

    @contextmanager
    def model(self, dtype: torch.dtype | None = None, quantised: str | None = None) -> Generator[Family]:
        """The bare base, held in `dtype` (what is drawn in if None) or `quantised`; read again if held otherwise."""
        with self._lock:
            asked = (dtype or DTYPES[choose_precision(self.precision, self.device)], quantised)
            if self._borrowers and asked != self._held:
                raise UsageError(
                    f"The base {self.base!r} is in use in another precision.",
                    "Open a second session for this one.",
                    code="session.other_precision",
                    field="precision",
                )
            model = self._loaded(asked)
            side = model.resolution
            self._borrowers += 1
            try:
                yield model
            finally:
                self._borrowers -= 1
                model.resolution = side
                if not self._borrowers:
                    _settle(model)

    def twin(self) -> Session:
        """A session on the weights that this one holds, with modules of its own: see `Family.twin`."""
        return _Twin(self)

    def require(self, base: str, device: str, family: str | None = None) -> None:
        """UsageError unless this is the session for that base, of that family if one is named, on that device."""
        if resolve_base(base) != self.folder:
            raise UsageError(
                f"This session holds {self.base!r}, not {base!r}.",
                "Open one on that base.",
                code="session.other_base",
                field="base",
            )
        if device != self.device:
            raise UsageError(
                f"This session is on {self.device}, not on {device}.",
                "Open one on that device.",
                code="session.other_device",
                field="device",
            )
        require_family(base, recognise(self.folder), family)

    def close(self) -> None:
        """Let go of the base; it is read again if it is asked for."""
        with self._lock:
            self._model = self._held = None

    def __enter__(self) -> Session:
        return self

    def __exit__(self, *_: object) -> None:
        self.close()

    def _loaded(self, asked: tuple[Any, ...]) -> Family:
        if self._model is None or self._held != asked:
            self._model = None  # before another is read: both may not fit
            dtype, quantised = asked
            allow_tf32(self.device)
            sharded = self.processes > 1
            self._model = load_family(self.base, "cpu" if sharded else self.device, dtype, self.family, quantised)
            if sharded:
                self._model.shard(self.device, DTYPES[choose_precision(self.precision, self.device)])
            self._held = asked
            self.loads += 1
        return self._model


class _Twin(Session):
    """Borrows the weights of another session, and loads none."""

    def __init__(self, whole: Session) -> None:
        super().__init__(whole.base, whole.device, whole.family, whole.precision)
        self._whole = whole

    def _loaded(self, asked: tuple[Any, ...]) -> Family:
        if self._model is None or self._held != asked:
            with self._whole.model(*asked) as model:
                self._model, self._held = model.twin(), asked
        return self._model


@contextmanager
def borrowed(session: Session | None, base: str, device: str, dtype: torch.dtype | None = None) -> Generator[Family]:
    """The bare base of the session at hand, which has to hold it, or of one that is opened for this use alone."""
    if session is None:
        with Session(base, device) as own, own.model(dtype) as model:
            yield model
    else:
        session.require(base, session.device)
        with session.model(dtype) as model:
            yield model


_latest: list[Session] = []  # at most one


def latest(base: str, device: str = "cpu") -> Session:
    """The session of those who name none: the base that was drawn with last stays, until another one is."""
    if not _latest or _latest[0].folder != resolve_base(base) or _latest[0].device != device:
        _latest[:] = [Session(base, device)]
    return _latest[0]


def _settle(model: Family) -> None:
    """What a training sets beside weights, as it was."""
    model.recall()
    model.noising = model.make_noising()
    model.remember_embeddings(False)
    model.recompute_activations(False)
    model.compile_blocks(False)
    model.pack_layers(False)
