"""booth teaches a text-to-image diffusion model a new subject, by every method, and shows which one worked.

Use it as::

    import booth

    concept = booth.train("photos/", noun="dog")
    concept.generate("a photo of sks dog on the beach", n=4, seed=7)
    same = booth.load(concept.folder)

`docs/reference/python.md` shows all of it. Nothing heavy is imported before a function is called.
"""

from __future__ import annotations

import importlib
import os
from typing import TYPE_CHECKING, Any

from booth.api.choices import families, methods, register
from booth.api.drawing import generate
from booth.api.evaluation import compare, evaluate, recommend
from booth.api.training import configure, load, open, train
from booth.core import errors
from booth.events import Event, Listener

if TYPE_CHECKING:
    from booth.concept import Concept
    from booth.config import RunConfig
    from booth.core.cancel import CancelToken
    from booth.session import Session
    from booth.train.trainer import Trainer

os.environ.setdefault("HF_HUB_DISABLE_TELEMETRY", "1")  # before the Hub's library, which reads it when it is imported

__version__ = "0.1.0"

__all__ = [
    "CancelToken",
    "Concept",
    "Event",
    "Listener",
    "RunConfig",
    "Session",
    "Trainer",
    "compare",
    "configure",
    "errors",
    "evaluate",
    "families",
    "generate",
    "load",
    "methods",
    "open",
    "recommend",
    "register",
    "train",
]

# Classes that are imported when they are asked for.
_CLASSES = {
    "CancelToken": "booth.core.cancel",
    "Concept": "booth.concept",
    "RunConfig": "booth.config",
    "Session": "booth.session",
    "Trainer": "booth.train.trainer",
}


def __getattr__(name: str) -> Any:
    if name in _CLASSES:
        return getattr(importlib.import_module(_CLASSES[name]), name)
    raise AttributeError(f"module 'booth' has no attribute {name!r}")
