"""booth teaches a text-to-image diffusion model a new subject, by every method, and shows which one worked.

Use it as::

    import booth

    concept = booth.train("photos/", noun="dog")
    concept.generate("a photo of sks dog on the beach", n=4, seed=7)
    same = booth.load(concept.folder)
"""

from __future__ import annotations

import os
from pathlib import Path
from typing import TYPE_CHECKING

from booth.train import CallablePackage

if TYPE_CHECKING:
    from booth.concept import Concept

os.environ.setdefault("HF_HUB_DISABLE_TELEMETRY", "1")  # before the Hub's library, which reads it when it is imported

train: CallablePackage  # bound by the import above; the package's first lines say why it can be called

__all__ = ["load", "train"]

__version__ = "0.1.0"


def load(folder: Path | str) -> Concept:
    """Read a concept folder that `train` wrote, checking its hashes."""
    from booth.concept import Concept

    return Concept.load(folder)
