"""How trainers spell the name of an adapter's tensor: prefix, infix and factor, each told apart on its own.

A key is PREFIX MODULE INFIX FACTOR in some order of the last two. Every prefix goes with every spelling of the factor
and with every spelling of the module, with dots or with underscores.
"""

from __future__ import annotations

import re
from collections.abc import Iterable, Iterator
from dataclasses import dataclass

DENOISER = "denoiser"  # unet or transformer, whichever the base has
# What keys begin with, and the component that is meant; none where the rest of the key tells.
PREFIXES: tuple[tuple[str, str | None], ...] = (
    ("base_model.model.", None),  # peft's wrapper
    ("base_model_model_", None),
    ("lora_unet__", DENOISER),
    ("lora_unet_", DENOISER),
    ("lora_transformer_", DENOISER),
    ("lora_prior_unet_", DENOISER),
    ("oft_unet_", DENOISER),
    ("lycoris_", None),  # LyCORIS's wrapper, which may be around any network
    ("lora_te1_", "text_encoder"),
    ("lora_te2_", "text_encoder_2"),
    ("lora_te3_", "text_encoder_3"),
    ("lora_te_", "text_encoder"),
    ("module.", None),  # torch's wrapper for several devices
    ("pipe.dit.", DENOISER),  # DiffSynth's
    ("dit.", DENOISER),
    ("oft_te1_", "text_encoder"),
    ("oft_te2_", "text_encoder_2"),
    ("oft_te_", "text_encoder"),
    ("unet.", DENOISER),
    ("transformer.", DENOISER),
    ("diffusion_model.", DENOISER),
    ("model.diffusion_model.", DENOISER),
    ("conditional_transformer.", DENOISER),  # Ideogram 4's, which has another one beside it
    ("text_encoder.", "text_encoder"),
    ("text_encoder_2.", "text_encoder_2"),
    ("text_encoder_3.", "text_encoder_3"),
    ("text_encoders.clip_l.transformer.", "text_encoder"),  # ComfyUI's own names
    ("text_encoders.clip_h.transformer.", "text_encoder"),
    ("text_encoders.clip_g.transformer.", "text_encoder_2"),
    ("text_encoders.t5xxl.transformer.", "text_encoder_3"),
)
# Diffusers' attention processors, up to 0.21, and what torch puts around compiled and sharded modules.
INFIX = re.compile(r"[._]processor(?=[._]|$)|(?:(?<=[._])|^)_(?:orig_mod|(?:fsdp|checkpoint)_wrapped_module)[._]")
BOOKS = "_aux."  # how tensors begin that some tools keep for themselves

_NAME = r"(?:\.(?!weight|bias)[^.]+)?"  # peft's name of the adapter, such as .default
# How the factor is spelled, and what it is; the first group is the rest of the key.
FACTORS: tuple[tuple[re.Pattern[str], str | None], ...] = tuple(
    (re.compile(rf"(.+?){pattern}"), factor)
    for pattern, factor in (
        (rf"\.lora_(?:A|down){_NAME}(?:\.weight)?", "down"),
        (rf"\.lora_(?:B|up){_NAME}(?:\.weight)?", "up"),
        (rf"\.lora_(?:B|up){_NAME}\.bias", "bias"),
        (r"\.lora_mid(?:\.weight)?", "mid"),
        (r"[._]lora\.down\.weight", "down"),
        (r"[._]lora\.up\.weight", "up"),
        (r"\.lora_linear_layer\.down\.weight", "down"),
        (r"\.lora_linear_layer\.up\.weight", "up"),
        (rf"\.lora_magnitude_vector{_NAME}(?:\.weight)?", "magnitude"),
        (r"\.magnitude", "magnitude"),  # ai-toolkit's
        (r"\.dora_scale", "dora_scale"),
        (rf"\.((?:hada_w[12]_[ab]|hada_t[12]|lokr_w[12](?:_[ab])?|lokr_t2)){_NAME}(?:\.weight)?", None),
        (r"\.([ab][12])(?:\.weight)", None),
        (r"\.(oft_blocks|oft_diag|rescale|on_input)", None),
        (rf"\.oft_R{_NAME}\.weight", "oft_r"),
        (rf"\.(boft_[Rs]|vera_lambda_[bd]|ia3_l){_NAME}", None),
        (r"\.(?:diff|w_norm)", "diff"),
        (r"\.(?:diff_b|b_norm)", "bias"),
        (r"\.(alpha|scale)", None),
    )
)
ON_INPUT = ".on_input"
# Kinds that are known and not read here, by the end of a key.
UNREAD = {
    ".reshape_weight": "layers that change shape", ".set_weight": "weights to be set", ".lora_A.bias": "biases",
    ".scaled_oft": "scaled OFT of OneTrainer's", ".lora_embedding_A": "a LoRA of an embedding",
}  # fmt: skip


@dataclass(frozen=True)
class Spelled:
    """A key without its factor: what is left of it, and which factor it was."""

    path: str
    factor: str


def split_factor(key: str) -> Spelled | None:
    """Cut the factor off a key; None where it ends as no factor does."""
    for pattern, factor in FACTORS:
        if found := pattern.fullmatch(key):
            return Spelled(found[1], factor or found[2])
    return None


def split_factors(keys: Iterable[str]) -> dict[str, Spelled | None]:
    """The factor of each key of a file. IA3's own is called `.weight`, and is known by the `.on_input` beside it."""
    keys = list(keys)
    scaled = {key.removesuffix(ON_INPUT) for key in keys if key.endswith(ON_INPUT)}
    found = {key: split_factor(key) for key in keys}
    return found | {f"{path}.weight": Spelled(path, "ia3") for path in scaled if f"{path}.weight" in found}


def without_prefix(path: str) -> Iterator[tuple[str | None, str]]:
    """What a path may mean: the component that its prefixes name, and the module; as it is first, then ever shorter."""
    plain = INFIX.sub("", path)
    yield None, plain
    component: str | None = None
    while True:
        found = next(((p, c) for p, c in PREFIXES if plain.startswith(p) and (c is None or component is None)), None)
        if found is None:
            return
        prefix, named = found
        plain, component = plain[len(prefix) :], component or named
        yield component, plain


def unread_kind(key: str) -> str | None:
    """What a key belongs to that is known and not read here."""
    return next((kind for ending, kind in UNREAD.items() if key.endswith(ending)), None)


SMALL = {"alpha", "scale", "rescale", "bias"}  # factors by whose names other tensors are called too
BUNDLED = "bundle_emb."


def is_adapter(names: Iterable[str]) -> bool:
    """Whether keys are those of an adapter, and no embedding is bundled with them."""
    found = [key for key in names if (s := split_factor(key)) is not None and s.factor not in SMALL]
    return bool(found) and not any(key.startswith(BUNDLED) for key in names)


def has_underscores(names: Iterable[str]) -> bool:
    """Whether the modules of an adapter are spelled as kohya's scripts do, without a dot."""
    spelled = [s for key in names if (s := split_factor(key)) is not None and s.factor not in SMALL]
    return sum("." not in s.path for s in spelled) * 2 > len(spelled)
