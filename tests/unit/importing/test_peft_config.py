"""The rank and alpha that peft writes beside an adapter's weights."""

from __future__ import annotations

import json
import math
from pathlib import Path
from typing import Any

import pytest
import torch
from safetensors.torch import save_file

from booth.core.errors import BadDataError
from booth.export.lora.read import read_layers
from booth.importing.run import open_content

SHAPES = {"transformer": {"blocks.0.to_q.weight": (6, 4), "blocks.1.to_q.weight": (6, 4)}}


def scales(folder: Path, config: Any, name: str = "adapter_model.safetensors", prefix: str = "") -> list[float]:
    """The scales of two layers of rank 4 that lie beside a configuration."""
    tensors = {
        f"{prefix}blocks.{i}.to_q.lora_{x}.weight": torch.ones(*(4, 4) if x == "A" else (6, 4))
        for i in (0, 1)
        for x in "AB"
    }
    save_file(tensors, folder / name)
    (folder / "adapter_config.json").write_text(config if isinstance(config, str) else json.dumps(config))
    content = open_content(folder / name, pickles=False)
    layers = read_layers(content.plain or {}, content.metadata, SHAPES).layers["transformer"]
    return [layers[f"blocks.{i}.to_q"].scale for i in (0, 1)]


@pytest.mark.parametrize(
    ("config", "wanted"),
    [
        ({"r": 4, "lora_alpha": 8}, [2, 2]),
        ({"r": 4, "lora_alpha": 8, "use_rslora": True}, [4, 4]),
        ({"r": 16, "lora_alpha": 8, "rank_pattern": {"to_q": 4}}, [2, 2]),
        ({"r": 4, "lora_alpha": 8, "alpha_pattern": {"blocks.1.to_q": 2}}, [2, 0.5]),
        ({"r": 4, "alpha": 2}, [0.5, 0.5]),
        ({"r": 4, "lora_alpha": None, "target_modules": ["to_q"]}, [1, 1]),
    ],
)
def test_the_scale_is_what_the_configuration_says(tmp_path: Path, config: dict[str, Any], wanted: list[float]) -> None:
    assert all(map(math.isclose, scales(tmp_path, config), wanted))


def test_a_file_of_another_name_is_pefts_by_its_keys(tmp_path: Path) -> None:
    config = {"r": 4, "lora_alpha": 8}
    assert scales(tmp_path, config, "mine.safetensors", "base_model.model.") == [2, 2]
    assert scales(tmp_path, config, "other.safetensors") == [1, 1]


@pytest.mark.parametrize("config", ["{", "[1]", '{"r": "four"}', '{"lora_alpha": 1e300}', '{"rank_pattern": 3}'])
def test_a_broken_configuration_is_told(tmp_path: Path, config: str) -> None:
    with pytest.raises(BadDataError, match=r"no JSON table|no table of ranks and alphas"):
        scales(tmp_path, config)
