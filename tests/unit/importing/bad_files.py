"""Files that must not be imported, each with the exit code and the words that it is refused with."""

from __future__ import annotations

import io
import json
import os
import pickle
import struct
import zipfile
from collections.abc import Callable
from typing import Any

import torch
from safetensors.torch import save

UNSAFE, BAD, DAMAGED = 66, 65, 72


def raw(header: Any, body: bytes = b"", length: int | None = None) -> bytes:
    """A safetensors file as its parts say, right or wrong."""
    text = header if isinstance(header, bytes) else json.dumps(header).encode()
    return struct.pack("<Q", len(text) if length is None else length) + text + body


def entry(start: int, end: int, shape: list[int] | None = None, dtype: str = "F32") -> dict[str, Any]:
    """One line of a header."""
    return {"dtype": dtype, "shape": shape or [(end - start) // 4], "data_offsets": [start, end]}


class Payload:
    """What a pickle may do when it is read."""

    def __reduce__(self) -> Any:
        return os.mkdir, ("pwned",)


def torch_pickle(value: Any) -> bytes:
    """What torch.save writes."""
    stream = io.BytesIO()
    torch.save(value, stream)
    return stream.getvalue()


def zipped(name: str) -> bytes:
    """A zip archive with one entry."""
    stream = io.BytesIO()
    with zipfile.ZipFile(stream, "w") as archive:
        archive.writestr(name, "x")
    return stream.getvalue()


def tensors(**shapes: tuple[int, ...]) -> bytes:
    """A sound file with these tensors; __ stands for a dot."""
    return save({name.replace("__", "."): torch.ones(shape) for name, shape in shapes.items()})


def lora(out: int, inside: int, name: str = "lora_unet_down_blocks_0_attentions_0_transformer_blocks_0_attn2_to_k"):
    """A LoRA of one layer."""
    return save({f"{name}.lora_down.weight": torch.ones(1, inside), f"{name}.lora_up.weight": torch.ones(out, 1)})


def with_settings(text: str) -> bytes:
    """A LoRA in diffusers' layout whose header says this of its ranks."""
    made = {f"unet.conv_in.lora_{side}.weight": torch.ones(2, 2) for side in "AB"}
    return save(made, metadata={"lora_adapter_metadata": text})


GOOD = lora(16, 32)
ONE = entry(0, 4)

BAD_FILES: dict[str, tuple[Callable[[], bytes], int, str]] = {
    "empty.safetensors": (lambda: b"", DAMAGED, "is empty"),
    "three bytes.safetensors": (lambda: b"abc", UNSAFE, "no safetensors file"),
    "cut in the header.safetensors": (lambda: GOOD[:40], DAMAGED, "ends within its header"),
    "cut in the tensors.safetensors": (lambda: GOOD[:-7], DAMAGED, "is cut off: 7 of its"),
    "renamed pickle.safetensors": (lambda: pickle.dumps(Payload()), UNSAFE, "a pickle that calls itself .safetensors"),
    "renamed torch.safetensors": (lambda: torch_pickle({"a": torch.ones(1)}), UNSAFE, "calls itself .safetensors"),
    "old pickle.safetensors": (lambda: pickle.dumps({"a": 1}, protocol=2), UNSAFE, "is a pickle"),
    "type is a list.safetensors": (lambda: raw({"a": ONE | {"dtype": []}}, b"1234"), UNSAFE, "has the unknown type"),
    "embedding.pt": (lambda: torch_pickle({"string_to_param": {"*": torch.ones(1, 32)}}), UNSAFE, "--allow-pickle"),
    "archive.safetensors": (lambda: zipped("../../evil.py"), UNSAFE, "is a pickle"),
    "huge header.safetensors": (lambda: raw(b"{" + b" " * 99, length=100_000_000), UNSAFE, "100,000,000 bytes"),
    "endless header.safetensors": (lambda: raw(b"{}", length=2**63), UNSAFE, "9,223,372,036,854,775,808 bytes"),
    "real huge header.safetensors": (lambda: raw(b"{" + b" " * 17_000_000 + b"}"), UNSAFE, "no honest file"),
    "many entries.safetensors": (
        lambda: raw({f"{i}": {"dtype": "F32", "shape": [0], "data_offsets": [0, 0]} for i in range(50_001)}),
        UNSAFE, "lists 50,001 tensors"),
    "overlap.safetensors": (lambda: raw({"a": entry(0, 8), "b": entry(4, 12)}, b"\0" * 12), UNSAFE, "overlaps"),
    "same place.safetensors": (lambda: raw({"a": entry(0, 8), "b": entry(0, 8)}, b"\0" * 8), UNSAFE, "overlaps"),
    "gap.safetensors": (lambda: raw({"a": ONE, "b": entry(8, 12)}, b"\0" * 12), UNSAFE, "leaves a gap"),
    "stowaway.safetensors": (lambda: GOOD + b"#!/bin/sh", UNSAFE, "9 bytes follow that no tensor owns"),
    "not a number.safetensors": (lambda: save({"emb_params": torch.full((1, 32), torch.nan)}), BAD, "holds NaN"),
    "infinite.safetensors": (lambda: save({"emb_params": torch.full((1, 32), torch.inf)}), BAD, "holds NaN or inf"),
    "half infinite.safetensors": (
        lambda: save({"emb_params": torch.full((1, 32), torch.inf, dtype=torch.bfloat16)}), BAD, "holds NaN or inf"),
    "no json.safetensors": (lambda: raw(b'{"a": '), UNSAFE, "its header is no JSON"),
    "no unicode.safetensors": (lambda: raw(b'{"\xff": 1}'), UNSAFE, "its header is no JSON"),
    "deep.safetensors": (lambda: raw(b'{"a":' * 100_000), UNSAFE, "its header is no JSON"),
    "twice.safetensors": (lambda: raw(b'{"a":{},"a":{}}'), UNSAFE, "its header is no JSON"),
    "list.safetensors": (lambda: raw(b"[1, 2]"), UNSAFE, "no safetensors file"),
    "unknown type.safetensors": (lambda: raw({"a": entry(0, 4, dtype="F33")}, b"\0" * 4), UNSAFE, "unknown type"),
    "negative.safetensors": (lambda: raw({"a": entry(0, 4, [-1])}, b"\0" * 4), UNSAFE, "impossible shape"),
    "boolean shape.safetensors": (lambda: raw({"a": entry(0, 4, [True])}, b"\0" * 4), UNSAFE, "impossible shape"),
    "too large.safetensors": (lambda: raw({"a": entry(0, 4, [2**40])}, b"\0" * 4), UNSAFE, "another number of bytes"),
    "backwards.safetensors": (lambda: raw({"a": entry(4, 0, [1])}, b"\0" * 4), UNSAFE, "another number of bytes"),
    "beyond the end.safetensors": (lambda: raw({"a": entry(0, 400)}, b"\0" * 4), DAMAGED, "is cut off"),
    "extra field.safetensors": (lambda: raw({"a": ONE | {"code": "x"}}, b"\0" * 4), UNSAFE, "described wrongly"),
    "numbers as metadata.safetensors": (lambda: raw({"__metadata__": {"a": 1}}), UNSAFE, "no table of words"),
    "pointer.safetensors": (lambda: b"version https://git-lfs.github.com/spec/v1\noid", UNSAFE, "git lfs pull"),
    "page.safetensors": (lambda: b"<!DOCTYPE html><html>Sign in</html>", UNSAFE, "a web page"),
    "picture.safetensors": (lambda: b"\x89PNG\r\n\x1a\n" + b"\0" * 40, UNSAFE, "a PNG picture"),
    "model.gguf": (lambda: b"GGUF" + b"\0" * 40, UNSAFE, "a GGUF file"),
    "program.safetensors": (lambda: b"\x7fELF" + b"\0" * 40, UNSAFE, "a program"),
    "no tensors.safetensors": (lambda: raw({}), BAD, "holds no tensors"),
    "sdxl lora.safetensors": (lambda: lora(640, 2048), BAD, "another architecture"),
    "sdxl blocks.safetensors": (lambda: lora(640, 640, "lora_unet_input_blocks_4_1_proj_in"), BAD, "architecture"),
    "flux lora.safetensors": (
        lambda: tensors(transformer__blocks__0__attn__to_q__lora_A__weight=(4, 9),
                        transformer__blocks__0__attn__to_q__lora_B__weight=(9, 4)),
        BAD, "another architecture"),
    "ai-toolkit lora.safetensors": (
        lambda: tensors(diffusion_model__double_blocks__0__img_attn__qkv__lora_A__weight=(4, 9),
                        diffusion_model__double_blocks__0__img_attn__qkv__lora_B__weight=(9, 4)),
        BAD, "another architecture"),
    "bare transformer.safetensors": (lambda: tensors(joint_blocks__0__q=(2, 2)), BAD, "for a transformer"),
    "two alphas.safetensors": (
        lambda: tensors(lora_unet_conv_in__alpha=(2,), lora_unet_conv_in__lora_down__weight=(2, 4, 3, 3),
                        lora_unet_conv_in__lora_up__weight=(16, 2, 1, 1)),
        BAD, "has 2 values and not one"),
    **{
        f"{name} metadata.safetensors": (lambda text=text: with_settings(text), BAD, "no table of ranks and alphas")
        for name, text in {
            "torn": "{no json", "listed": "[1]", "worded": '{"unet.r": "x"}', "negative": '{"unet.r": -1}',
            "flat": '{"unet.rank_pattern": 3}', "nested": '{"unet.alpha_pattern": {"conv_in": []}}',
        }.items()
    },
    "half a lora.safetensors": (
        lambda: tensors(lora_unet_conv_in__lora_down__weight=(2, 4, 3, 3)), BAD, "one is missing"),
    "misfit factors.safetensors": (
        lambda: tensors(lora_unet_conv_in__lora_down__weight=(2, 4, 3, 3),
                        lora_unet_conv_in__lora_up__weight=(16, 3, 1, 1)),
        BAD, "do not fit each other"),
    "sd1 embedding.safetensors": (lambda: tensors(emb_params=(2, 768)), BAD, "wants 1 to 64 of width 32"),
    "many rows.safetensors": (lambda: tensors(emb_params=(65, 32)), BAD, "wants 1 to 64 of width 32"),
    "sdxl embedding.safetensors": (lambda: tensors(clip_l=(1, 32), clip_g=(1, 64)), BAD, "text_encoder_2"),
    "one of two encoders.safetensors": (lambda: tensors(clip_g=(1, 64)), BAD, "width 32"),
    "controlnet.safetensors": (lambda: tensors(control_model__zero_convs__0__0__weight=(3, 3)), BAD, "a ControlNet"),
    "autoencoder.safetensors": (lambda: tensors(first_stage_model__conv=(3, 3, 1), encoder__x=(1,)), BAD, "an autoenc"),
    "another checkpoint.safetensors": (
        lambda: tensors(model__diffusion_model__input_blocks__0__0__weight=(320, 4, 3, 3)), BAD, "architecture"),
    "unknown trainer.safetensors": (
        lambda: tensors(blocks__0__q=(2, 2), blocks__1__q=(2, 2)), BAD, "no trainer that booth knows"),
    "escape.safetensors": (
        lambda: save({"\x1b[2Jx" * 40: torch.ones(1), "b": torch.ones(1)}), BAD, r"\\x1b\[2Jx"),
}  # fmt: skip
