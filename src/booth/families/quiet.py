"""Keeps the libraries below from drawing their own progress bars over ours."""

from __future__ import annotations

from diffusers.utils import logging as diffusers_logging
from huggingface_hub.utils import enable_progress_bars
from transformers.utils import logging as transformers_logging


def hush() -> None:
    """Switch their bars off in this process; downloads from the Hub keep theirs, because they can take long."""
    transformers_logging.disable_progress_bar()
    diffusers_logging.disable_progress_bar()
    enable_progress_bars()  # transformers has just switched them off as well
