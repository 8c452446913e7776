"""Captions from an image-to-text model of the user's choice, through transformers."""

from __future__ import annotations

from typing import Any

import torch
from PIL.Image import Image
from transformers import CONFIG_MAPPING, AutoModelForImageTextToText, AutoProcessor, PretrainedConfig

from booth.core.errors import BadDataError, NotAvailableError, UnsafeFileError

QUESTION = "Describe this picture in one short sentence."  # for models that are talked to
LONGEST = 60  # tokens of a caption; a text encoder reads 77


class Captioner:
    """A loaded model that says what a picture shows: BLIP, BLIP-2, GIT, Florence-2, Qwen-VL and their like.

    It is taken from a folder or from the local cache of the Hub, never downloaded; no code of its own is run. Raises
    NotAvailableError, or UnsafeFileError for a model that only its own code can run.
    """

    def __init__(self, name: str, device: str = "cpu") -> None:
        try:
            values, _ = PretrainedConfig.get_config_dict(name, local_files_only=True)
            if values.get("model_type") not in CONFIG_MAPPING:
                raise UnsafeFileError(
                    f"{name} is of the kind {values.get('model_type')!r}, which the installed transformers does not "
                    "know, and booth runs no code from a model's repository.",
                    "Choose another model.",
                    code="model.unknown_kind",
                    field="model",
                )
            self._processor: Any = AutoProcessor.from_pretrained(name, local_files_only=True)
            self._model: Any = AutoModelForImageTextToText.from_pretrained(
                name, local_files_only=True, use_safetensors=True, dtype=torch.float32 if device == "cpu" else "auto"
            )
        except (OSError, ValueError, ImportError) as error:
            raise NotAvailableError(
                f"The image-to-text model {name!r} cannot be loaded: {str(error).splitlines()[0]}",
                f"Give a folder, or fetch it first with `hf download {name}`. A small one is "
                "Salesforce/blip-image-captioning-base.",
                code="model.not_here",
                field="model",
            ) from error
        self._model.to(device).eval()

    def __call__(self, image: Image, prompt: str | None = None) -> str:
        """What an RGB `image` shows, in one line; a `prompt` is continued, or answered by a model that is talked to."""
        talks = bool(getattr(self._processor, "chat_template", None))
        inputs = self._asked(image, prompt or QUESTION) if talks else self._shown(image, prompt)
        inputs = inputs.to(self._model.device, self._model.dtype)
        with torch.no_grad():
            ids = self._model.generate(**inputs, max_new_tokens=LONGEST, do_sample=False)
        if talks:
            ids = ids[:, inputs["input_ids"].shape[1] :]
        caption = " ".join(self._processor.batch_decode(ids, skip_special_tokens=True)[0].split())
        if not caption:
            raise BadDataError(
                "The model had nothing to say about a picture.",
                "Try another `model` or `prompt`.",
                code="caption.none",
                field="model",
            )
        return caption

    def _shown(self, image: Image, prompt: str | None) -> Any:
        return self._processor(images=image, return_tensors="pt", **({"text": prompt} if prompt else {}))

    def _asked(self, image: Image, question: str) -> Any:
        content = [{"type": "image", "image": image}, {"type": "text", "text": question}]
        return self._processor.apply_chat_template(
            [{"role": "user", "content": content}],
            add_generation_prompt=True,
            tokenize=True,
            return_dict=True,
            return_tensors="pt",
        )
