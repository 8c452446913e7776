"""OpenCV, which only some controls need."""

from __future__ import annotations

import importlib
from types import ModuleType

from booth.core.errors import NotAvailableError


def opencv(title: str) -> ModuleType:
    """The module; NotAvailableError with the line that installs it where it is not there."""
    try:
        return importlib.import_module("cv2")
    except ImportError as error:
        raise NotAvailableError(
            f"{title} hints need OpenCV, which is not installed.",
            "Run `pip install 'booth[control]'` (or `pip install "
            "opencv-python-headless`), or choose scribble or soft_edges, which need nothing.",
            code="package.missing",
            field="settings.control",
        ) from error
