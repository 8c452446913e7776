"""Every method to every format: it is written and drawn the same, or refused with what to do instead."""

from __future__ import annotations

from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest

from booth.concept import Concept
from booth.core.errors import UsageError
from booth.export.run import export
from booth.registry import EXPORTERS, METHODS
from harness import covering

# What takes a method whole; behind a colon what takes it with `lossy`. Everything else is refused.
LORA = "kohya diffusers checkpoint"
WHERE = {
    "dreambooth": "checkpoint : extracted",
    "textual_inversion": "embedding embedding-pt",
    "custom_diffusion": ": checkpoint embedding embedding-pt",
    "hypernetwork": "hypernetwork",
    "lora": LORA,
    "locon": LORA,
    "dora": "diffusers checkpoint : kohya",
    "rslora": LORA,
    "loha": "kohya checkpoint",
    "lokr": "kohya checkpoint",
    "oft": "checkpoint",
    "boft": "checkpoint",
    "ia3": "checkpoint",
    "vera": LORA,
    "t_lora": "",
    "ti_lora": "bundle : kohya diffusers checkpoint embedding embedding-pt",
    "pivotal_tuning": "bundle : kohya diffusers checkpoint embedding embedding-pt",
    "two_stage": ": checkpoint extracted bundle embedding embedding-pt",
    "controlnet": "",  # test_cldm.py has it, on a base whose autoencoder has four levels
}
SETTINGS: dict[str, dict[str, Any]] = {
    "dreambooth": {"class_pictures": 2, "learning_rate": 1e-3},
    "custom_diffusion": {"class_pictures": 2},
    "pivotal_tuning": {"token_steps": 1},
    "two_stage": {"token_steps": 1},
    "controlnet": {"control": "canny"},
}
FAMILY = "stable_diffusion"
FORMATS = [name for name in EXPORTERS if FAMILY in EXPORTERS[name].families]


@pytest.fixture(scope="module")
def taught(teach: Callable[..., Concept]) -> Callable[[str], Concept]:
    """A concept of each method, taught once."""
    known: dict[str, Concept] = {}

    def of(method: str) -> Concept:
        if method not in known:
            settings = {"steps": 1, "batch_size": 1, **SETTINGS.get(method, {})}
            known[method] = teach(method, token="mft", settings=settings)
        return known[method]

    return of


def test_the_table_has_every_method() -> None:
    assert sorted(WHERE) == sorted(METHODS.own)


@pytest.mark.parametrize(("method", "to"), covering([(m, f) for m in WHERE for f in FORMATS], 1, 2))
def test_a_method_goes_where_the_table_says(
    method: str, to: str, taught: Callable[[str], Concept], tmp_path: Path
) -> None:
    whole, _, partly = (part.split() for part in WHERE[method].partition(":"))
    concept, file = taught(method), tmp_path / f"x{EXPORTERS[to].suffix}"
    if to in whole:
        done = export(concept, to, file, rank=2, picture=EXPORTERS[to].suffix != ".pt")
        assert done.check.passed
        assert done.check.picture is None or done.check.picture <= 1  # of 255: one rounding
        return
    with pytest.raises(UsageError, match=r"[`.]") as refused:
        export(concept, to, file, rank=2)
    assert not file.exists()
    assert refused.value.advice
    if to not in partly:
        with pytest.raises(UsageError):
            export(concept, to, file, rank=2, lossy=True)
        assert refused.value.code != "export.lossy"
        return
    assert refused.value.code == "export.lossy"
    export(concept, to, file, rank=2, lossy=True)
    assert file.exists()
