"""Gradient checkpointing: activations are computed again for the backward pass (Chen et al., 1604.06174)."""

from __future__ import annotations

from diffusers import ModelMixin

from booth.core.sites import Sites


def recompute_activations(network: ModelMixin, on: bool) -> None:
    """Turn it on or off in a network of diffusers."""
    if on:
        network.enable_gradient_checkpointing()
    elif network.is_gradient_checkpointing:
        network.disable_gradient_checkpointing()


def recompute_in_encoders(sites: Sites, on: bool) -> None:
    """Turn it on or off in the text encoders that can be adapted."""
    for name, encoder in sites.text_encoders.items():
        if name not in sites.linears:
            continue  # T5 and the language models have dropout, which the training mode below would wake
        if on:
            encoder.gradient_checkpointing_enable({"use_reentrant": False})  # type: ignore[operator]
        elif encoder.is_gradient_checkpointing:
            encoder.gradient_checkpointing_disable()  # type: ignore[operator]
        encoder.train(on)  # transformers recomputes in this mode only; CLIP has no dropout that it would wake
