"""Adapters: LoRA and its relatives under the names of kohya's scripts and of diffusers."""
