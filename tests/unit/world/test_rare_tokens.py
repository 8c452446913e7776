"""A rare token has to be heeded: otherwise what is taught to "a sks dog" is taught to "a dog"."""

from __future__ import annotations

from pathlib import Path

import pytest
import torch
from torch import Tensor
from transformers import CLIPTextModel, CLIPTokenizer

from booth.core.tokens import RARE_TOKENS
from booth.families.loading import EMBEDDED_FOLDER
from booth.world.pretrain import tokenizer_for
from booth.world.text_encoder import heed_rare_tokens, new_text_encoder
from booth.world.vocabulary import COLOURS


def test_only_their_rows_move_and_each_becomes_another_mixture(tmp_path: Path) -> None:
    tokenizer = tokenizer_for([" ".join((*COLOURS, "dog"))], tmp_path / "tokenizer")
    torch.manual_seed(0)
    text = new_text_encoder(tokenizer, width=64, layers=1)
    before = text.get_input_embeddings().weight.detach().clone()
    heed_rare_tokens(text, tokenizer)
    after = text.get_input_embeddings().weight.detach()
    rare = [tokenizer(token, add_special_tokens=False).input_ids[0] for token in RARE_TOKENS]
    assert torch.nonzero((after != before).any(1)).flatten().tolist() == sorted(rare)
    colours = before[[tokenizer(c, add_special_tokens=False).input_ids[0] for c in COLOURS]]
    for row in after[rare]:  # shares of the colours, all of them positive, that add up to the whole
        shares = torch.linalg.lstsq(colours.T, row).solution
        assert torch.allclose(shares @ colours, row, atol=1e-5)
        assert shares.min() > 0
        assert abs(shares.sum() - 1) < 1e-4
    assert torch.cdist(after[rare], after[rare]).fill_diagonal_(1).min() > 0.01  # its rows are of length 0.16


@pytest.mark.parametrize("noun", ["dog", "teapot", "toy", "backpack"])
def test_the_shipped_encoder_heeds_them_as_it_does_a_colour(noun: str) -> None:
    tokenizer = CLIPTokenizer.from_pretrained(EMBEDDED_FOLDER / "tokenizer")
    text = CLIPTextModel.from_pretrained(EMBEDDED_FOLDER / "text_encoder", dtype=torch.float32).eval()

    @torch.no_grad()
    def at_noun(prompt: str) -> Tensor:
        """The hidden state (width,) at the noun, which stands at the same place in every prompt."""
        return text(**tokenizer(prompt, return_tensors="pt")).last_hidden_state[0, 5]

    plain = at_noun(f"a photo of a {noun}")
    colour = (at_noun(f"a photo of red {noun}") - plain).norm()
    for token in RARE_TOKENS:
        assert (at_noun(f"a photo of {token} {noun}") - plain).norm() > 0.5 * colour, token
