"""What programs call the rows of a token: one tensor where there is one text encoder, and one for each of two."""

from __future__ import annotations

from collections.abc import Mapping

from torch import Tensor

from booth.core.errors import UsageError

# With one encoder all programs take a single tensor of any name, and sd-scripts this one.
ONE_ENCODER = {"text_encoder": "emb_params"}
TWO_ENCODERS = {"text_encoder": "clip_l", "text_encoder_2": "clip_g"}
TABLES = {name: table for table, name in TWO_ENCODERS.items()}


def names_for(rows: Mapping[str, Tensor]) -> dict[str, str]:
    """The name of each token table's tensor."""
    names = ONE_ENCODER if rows.keys() <= ONE_ENCODER.keys() else TWO_ENCODERS
    other = sorted(rows.keys() - names.keys())
    if other:
        raise UsageError(f"No program reads rows for {other[0]}.", code="export.no_place", field="to")
    return names
