"""What an exported file says of itself: ModelSpec 1.0.1 and the `ss_` keys that drawing programs and model sites read.

Folder names, captions and paths stay out unless all metadata is asked for.
"""

from __future__ import annotations

import hashlib
import json
from pathlib import Path
from typing import Any

from booth import __version__
from booth.core.concept import ConceptRecord
from booth.core.safe_file import read_header
from booth.export.exporter import Exporter, Job
from booth.generate.prompt_card import read_prompt_card

ARCHITECTURES = {
    "stable_diffusion": "stable-diffusion-v1",
    "stable_diffusion_xl": "stable-diffusion-xl-v1-base",
    "flux": "flux-1-dev",
}
VERSIONS = {"stable_diffusion": "sd_v1", "stable_diffusion_xl": "sdxl_base_v1-0", "flux": "flux1"}
SPEC = "1.0.1"
IMPLEMENTATION = "https://github.com/Stability-AI/generative-models"  # ModelSpec's word for this layout
IMPLEMENTATIONS = {"flux": "https://github.com/black-forest-labs/flux"}


def header(job: Job, exporter: Exporter, *, full: bool = False) -> dict[str, str]:
    """The metadata of a file, without its hash and its stamp; all values are words, as the format wants."""
    record = job.record
    values = _model_spec(job, exporter) | _training(job) | _booth(record)
    card = read_prompt_card(job.folder)
    if card is not None:
        strength = f"strength {card.strength:g}, " if card.strength is not None else ""
        values["modelspec.usage_hint"] = f"{strength}guidance {card.guidance:g}; try: {'; '.join(card.prompts)}"
    if full:
        values["ss_sd_model_name"] = record.base.name
        values["booth.record"] = record.model_dump_json(exclude={"photo_files"})
    return {name: value if isinstance(value, str) else json.dumps(value) for name, value in values.items()}


def hashes(file: Path) -> dict[str, str]:
    """The hash of a file's tensors, under the names by which it is looked up."""
    begin = read_header(file).bytes
    with file.open("rb") as stream:
        stream.seek(begin)
        digest = hashlib.sha256()
        while block := stream.read(1 << 20):
            digest.update(block)
    return {"modelspec.hash_sha256": f"0x{digest.hexdigest()}", "sshs_model_hash": digest.hexdigest()}


def architecture(job: Job) -> str:
    """ModelSpec's name of the base's architecture; Stable Diffusion 2 is told by its text encoder's width.

    FLUX.1 schnell, which was distilled from dev, has no guidance embedding.
    """
    known = ARCHITECTURES.get(job.record.family, job.record.family)
    if job.record.family == "flux" and not any("guidance" in name for name in job.shapes.get("transformer", {})):
        return "flux-1-schnell"
    return "stable-diffusion-v2-512" if job.record.family == "stable_diffusion" and is_version_2(job) else known


def is_version_2(job: Job) -> bool:
    """Whether the cross-attention is 1024 wide, as in Stable Diffusion 2."""
    widths = {shape[1] for name, shape in job.shapes.get("unet", {}).items() if name.endswith("attn2.to_k.weight")}
    return widths == {1024}


def _model_spec(job: Job, exporter: Exporter) -> dict[str, Any]:
    record, kind = job.record, exporter.architecture
    subject, follows = _subject(record), record.settings.get("control", "nothing")
    values = {
        "modelspec.sai_model_spec": SPEC,
        "modelspec.architecture": architecture(job) + (f"/{kind}" if kind else ""),
        "modelspec.implementation": IMPLEMENTATIONS.get(record.family, IMPLEMENTATION),
        "modelspec.title": record.name,
        "modelspec.description": f"{subject or f'control by {follows}'}, taught by booth with {record.method}",
        "modelspec.date": record.created.removesuffix("+00:00"),
    }
    if subject:
        values["modelspec.trigger_phrase"] = subject
        values["modelspec.usage_hint"] = f"Write {subject!r} in the prompt, such as {record.prompt!r}."
    return values


def _subject(record: ConceptRecord) -> str:
    """The words that name it; empty for a ControlNet, which has none."""
    return f"{record.subject.token} {record.subject.noun}".strip()


def _training(job: Job) -> dict[str, Any]:
    record = job.record
    layers = [layer for modules in job.parts.layers.values() for layer in modules.values()]
    ranks = {layer.rank for layer in layers}
    alphas = {layer.scale * layer.rank for layer in layers if layer.rank is not None}
    values: dict[str, Any] = {
        "ss_output_name": record.name,
        "ss_base_model_version": "sd_v2" if is_version_2(job) else VERSIONS.get(record.family, record.family),
        "ss_v2": str(is_version_2(job)),
        "ss_steps": record.steps,
        "ss_seed": record.seed,
        "ss_num_train_images": len(record.photos),
    }
    if subject := _subject(record):
        # How programs suggest a trigger word: words with their counts in the captions. Only the trigger is told.
        values["ss_tag_frequency"] = {"photos": {subject: max(1, len(record.photos))}}
    if layers:
        own = "networks.lora_flux" if record.family == "flux" else "networks.lora"
        values["ss_network_module"] = own if layers[0].kind == "lora" else "lycoris.kohya"
        values["ss_network_dim"] = ranks.pop() if len(ranks) == 1 else "Dynamic"
        values["ss_network_alpha"] = alphas.pop() if len(alphas) == 1 else "Dynamic"
    if "learning_rate" in record.settings:
        values["ss_learning_rate"] = record.settings["learning_rate"]
    return values


def _booth(record: ConceptRecord) -> dict[str, Any]:
    values = {"booth.version": __version__, "booth.method": record.method, "booth.base_hash": record.base.hash}
    follows = {"booth.control": record.settings["control"]} if record.method == "controlnet" else {}
    return values | follows
