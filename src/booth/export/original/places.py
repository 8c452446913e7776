"""The layers of a denoiser by its authors' names, and which of diffusers' modules have their rows."""

from __future__ import annotations

from collections.abc import Iterable, Mapping

from booth.export.original import (
    ernie_image,
    flux,
    flux_2,
    ideogram_4,
    krea_2,
    lumina_2,
    qwen_image_2_1,
    sana,
    stable_diffusion_3,
    unet,
    z_image,
)
from booth.export.original.place import Place

# How a transformer is told by its tensors. A new architecture is one file here, and one line. Of the first ones ComfyUI
# knows diffusers' names too.
IN_COMFYUI = (
    (flux.is_flux, flux.places),
    (flux.is_chroma, flux.places),  # whose authors took over FLUX.1's code and left out its modulation
    (flux_2.is_flux_2, flux_2.places),
    (stable_diffusion_3.is_stable_diffusion_3, stable_diffusion_3.places),
    (z_image.is_z_image, z_image.places),
    (krea_2.is_krea_2, krea_2.places),
    (qwen_image_2_1.is_qwen_image_2_1, qwen_image_2_1.places),
)
# Of these it knows the authors' names alone.
BY_AUTHORS = (
    *IN_COMFYUI,
    (lumina_2.is_lumina_2, lumina_2.places),
    (ideogram_4.is_ideogram_4, ideogram_4.places),
)
TRANSFORMERS = (*BY_AUTHORS, (sana.is_sana, sana.places))
# Where what has no other name is called so by both, and where ComfyUI takes that behind `transformer.` too.
SAME_BY_BOTH = (z_image.is_z_image, qwen_image_2_1.is_qwen_image_2_1, ernie_image.is_ernie_image)
KEPT = (*SAME_BY_BOTH, lumina_2.is_lumina_2, ideogram_4.is_ideogram_4)


def places(component: str, tensors: Iterable[str]) -> dict[str, Place]:
    """The authors' layers with the modules that have their rows; empty where diffusers' names are theirs."""
    names = list(tensors)
    if component == "unet":
        keys = unet.unet_keys(names)
        return {
            key.removesuffix(".weight"): Place((name.removesuffix(".weight"),))
            for name, key in keys.items()
            if key.endswith(".weight")
        }
    find = next((find for is_it, find in TRANSFORMERS if is_it(names)), None)
    modules = [name.removesuffix(".weight") for name in names if name.endswith(".weight")]
    return {} if find is None else _present(find(modules), set(modules))


def maps_diffusers(tensors: Iterable[str]) -> bool:
    """Whether ComfyUI knows diffusers' names for a transformer beside its authors'."""
    names = list(tensors)
    return any(is_it(names) for is_it, _ in IN_COMFYUI)


def in_comfyui(tensors: Iterable[str]) -> bool:
    """Whether ComfyUI builds a transformer under its authors' names."""
    names = list(tensors)
    return any(is_it(names) for is_it, _ in BY_AUTHORS)


def keeps_names(tensors: Iterable[str]) -> bool:
    """Whether what has no other name in the authors' code has diffusers' there."""
    names = list(tensors)
    return any(is_it(names) for is_it in KEPT)


def keeps_diffusers(tensors: Iterable[str]) -> bool:
    """Whether ComfyUI takes what has no other name behind diffusers' prefix too."""
    names = list(tensors)
    return any(is_it(names) for is_it in SAME_BY_BOTH)


def _present(found: Mapping[str, Place], known: set[str]) -> dict[str, Place]:
    """Without those of which a module is missing, as in bases that have fewer layers of a kind."""
    return {name: place for name, place in found.items() if all(module in known for module in place.modules)}
