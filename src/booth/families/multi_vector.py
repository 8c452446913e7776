"""Tokens of several vectors, written out in prompts as the rows of tokens that they are."""

from __future__ import annotations

from typing import Any

from diffusers.loaders import TextualInversionLoaderMixin


def written_out(prompt: Any, tokenizer: Any) -> Any:
    """A prompt, or a list of them, in which each token of several vectors stands as its row of tokens."""
    return TextualInversionLoaderMixin().maybe_convert_prompt(prompt, tokenizer)


def writing_out(kind: Any) -> Any:
    """The pipeline class, under its own name, made to write out tokens of several vectors if it does not."""
    if issubclass(kind, TextualInversionLoaderMixin):
        return kind

    class Written(kind):
        def encode_prompt(self, prompt: Any, *others: Any, **options: Any) -> Any:
            tokenizer = self.tokenizer if hasattr(self, "tokenizer") else self.processor.tokenizer
            if options.get("negative_prompt") is not None:
                options["negative_prompt"] = written_out(options["negative_prompt"], tokenizer)
            return super().encode_prompt(written_out(prompt, tokenizer), *others, **options)

    Written.__name__ = kind.__name__
    return Written
