"""Every export format on every family that it is known for: written, read back by the target's rules, and imported."""

from __future__ import annotations

from collections.abc import Callable, Iterator
from pathlib import Path

import pytest
import torch
from safetensors.torch import load_file
from torch import Tensor

from bases import write_base
from booth.concept import Concept
from booth.core.method import Subject
from booth.export.base_files import BaseFiles, Shapes
from booth.export.component_files import component_tensors
from booth.export.exporter import TwoWay
from booth.export.hypernetwork.networks import Hypernetwork
from booth.export.layer import Layer
from booth.export.lora.read import read_layers
from booth.export.parts import Parts, parts_of
from booth.export.run import export
from booth.importing.fit import EMBEDDING
from booth.importing.new_concept import write_concept
from booth.importing.run import import_file
from booth.registry import EXPORTERS, FAMILIES
from harness import covering

ELSEWHERE = {("cldm", "stable_diffusion")}  # test_cldm.py has it, on a base whose autoencoder has four levels
CASES = [(f, family) for f in EXPORTERS for family in EXPORTERS[f].families if (f, family) not in ELSEWHERE]
RANK, WIDE = 3, 2
# Of which transformers a program has the names that a format writes, by its sources (docs/reference/exports.md).
FORGES = {"flux", "chroma", "stable_diffusion_3"}
BY_AUTHORS = FORGES | {"flux_2", "flux_2_klein", "z_image", "lumina_2", "qwen_image", "qwen_image_2_1", "krea_2",
                       "ideogram_4", "ernie_image"}  # fmt: skip
READERS: dict[tuple[str, str], dict[str, set[str]]] = {
    ("kohya", "transformer"): {"ComfyUI": BY_AUTHORS, "Forge": FORGES, "AUTOMATIC1111": set()},
    ("diffusers", "transformer"): {"diffusers": set(FAMILIES), "ComfyUI": BY_AUTHORS - {"lumina_2", "ideogram_4"}},
}

Bases = Callable[[str], Path]


@pytest.fixture(scope="module")
def bases(toy_base: Path, tmp_path_factory: pytest.TempPathFactory) -> Bases:
    """The folder of a family's tiny base, written once."""
    parent = tmp_path_factory.mktemp("families")

    def base(family: str) -> Path:
        if family == "stable_diffusion":
            return toy_base
        return parent / family if (parent / family).exists() else write_base(family, parent / family)

    return base


def numbers() -> Iterator[Callable[..., Tensor]]:
    generator = torch.Generator().manual_seed(0)
    while True:
        yield lambda *shape: 0.05 * torch.randn(shape, generator=generator)


def adapter(family: str, shapes: Shapes, draw: Callable[..., Tensor]) -> dict[str, dict[str, Layer]]:
    """A LoRA on every attention of the denoiser, and on the layers behind it."""
    component, groups = FAMILIES[family].denoiser[0], FAMILIES[family].linears
    ends = (*groups["attention"], *groups.get("feed_forward", ()))
    names = [name.removesuffix(".weight") for name in shapes[component] if name.endswith(".weight")]
    held = {name: shapes[component][f"{name}.weight"] for name in names if name.endswith(tuple(f".{e}" for e in ends))}
    layers = {n: Layer({"down": draw(RANK, s[1]), "up": draw(s[0], RANK)}, 2 / 3) for n, s in held.items()}
    return {component: layers}


def hypernetwork(shapes: Shapes, draw: Callable[..., Tensor]) -> Hypernetwork:
    """Networks for the width of the prompt's rows."""
    (width,) = {shape[1] for name, shape in shapes["unet"].items() if name.endswith("attn2.to_k.weight")}

    def net() -> dict[str, Tensor]:
        first = {"linear.0.weight": draw(WIDE * width, width), "linear.0.bias": draw(WIDE * width)}
        return first | {"linear.1.weight": draw(width, WIDE * width), "linear.1.bias": draw(width)}

    return Hypernetwork({width: (net(), net())}, (1, WIDE, 1))


def taught(base: Path, family: str, holds: frozenset[str], folder: Path) -> Concept:
    """A concept with random parts: all that a bundle has, or what a format takes first."""
    shapes, draw = BaseFiles(base).shapes, next(numbers())
    parts = Parts()
    if "layers" in holds:
        parts.layers = adapter(family, shapes, draw)
    if "rows" in holds:
        parts.rows = {t: draw(2, s[EMBEDDING][1]) for t, s in shapes.items() if EMBEDDING in s}
    if holds == {"weights"}:
        name = FAMILIES[family].denoiser[0]
        state = {n: t + draw(*t.shape) for n, t in component_tensors(base / name).items()}
        parts.weights = {name: lambda: state}
    if "hypernetwork" in holds:
        parts.hypernetwork = hypernetwork(shapes, draw)
    about = {"format": "none", "sha256": "none", "steps": 2}
    return write_concept(folder, str(base), Subject("ohwx", "dog"), parts, about, False)


def require_names(to: str, family: str, tensors: dict[str, Tensor], concept: Concept, shapes: Shapes) -> None:
    """What programs look for in an adapter's file, beside that booth finds it again."""
    component = FAMILIES[family].denoiser[0]
    if to in ("kohya", "bundle") and family == "stable_diffusion_xl":
        # A1111, sd-scripts and LyCORIS know no other names of XL's blocks than its authors'.
        ours = [name for name in tensors if not name.startswith("bundle_emb.")]
        assert ours
        assert all(name.startswith(("lora_unet_input_blocks_", "lora_unet_middle_block_", "lora_unet_output_blocks_"))
                   for name in ours)  # fmt: skip
    if to == "diffusers" and component == "transformer":
        # ComfyUI reads no scale from the header, so that it has to be in the factors.
        assert not any(name.endswith(".alpha") for name in tensors)
        bare = read_layers(tensors, {}, shapes)
        assert bare.unknown == []
        for module, layer in parts_of(concept.folder, concept.record).layers[component].items():
            weight = torch.zeros(shapes[component][f"{module}.weight"])
            change = layer.change(weight)
            assert change.abs().max() > 0
            torch.testing.assert_close(bare.layers[component][module].change(weight), change)


@pytest.mark.parametrize(("to", "family"), covering(CASES, 2, 1))
def test_a_format_holds_what_it_takes_on_every_family_it_is_known_for(
    bases: Bases, to: str, family: str, tmp_path: Path
) -> None:
    base, exporter = bases(family), EXPORTERS[to]
    concept = taught(base, family, exporter.accepts, tmp_path / "concept")
    done = export(concept, to, tmp_path / f"file{exporter.suffix}", rank=WIDE, lossy=to == "extracted")
    assert done.check.passed or to == "extracted"
    assert done.check.matched > 0
    assert not done.check.unmatched
    assert not done.check.missing
    if "layers" in exporter.accepts and to != "checkpoint":
        require_names(to, family, load_file(done.file), concept, BaseFiles(base).shapes)
    if (to, FAMILIES[family].denoiser[0]) in READERS:
        for program, known in READERS[to, FAMILIES[family].denoiser[0]].items():
            assert (program in done.programs) is (family in known), program
    if issubclass(exporter, TwoWay) and exporter.suffix != ".pt":  # a pickle's child process takes long; unit tests do
        again = import_file(done.file, base=str(base), out=tmp_path / "again", noun="dog", token="ohwx")
        assert again.record.family == family
        again = export(again, to, tmp_path / f"again{exporter.suffix}")
        assert again.check.matched == done.check.matched
