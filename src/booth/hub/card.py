"""The model card: the Hub's front matter, how to draw, the sample pictures, what was measured, how it was trained."""

from __future__ import annotations

import json
import re
from collections.abc import Mapping
from pathlib import Path
from typing import Any

from PIL import Image

from booth import __version__
from booth.concept import Concept
from booth.core.concept import ConceptRecord
from booth.core.errors import BadDataError
from booth.families.loading import EMBEDDED
from booth.generate.prompt_card import PromptCard, read_prompt_card
from booth.registry import METRICS

# The Hub's words for each method; the last one picks the page's drawing widget.
TAGS = {
    "lora": ["lora", "template:sd-lora"],
    "textual_inversion": ["textual_inversion"],
    "dreambooth": ["dreambooth"],
    "two_stage": ["textual_inversion"],
    "hypernetwork": ["hypernetwork"],
}
FAMILIES = {"stable_diffusion": "stable-diffusion", "stable_diffusion_xl": "stable-diffusion-xl"}
CONTROL = "controlnet"  # the method without a subject
PRIVATE = ("captions", "repeats")  # of the data settings: words and folders of the user
Evaluation = Mapping[str, Any]  # the content of evaluation.json


def read_evaluation(file: Path, concept: Concept) -> Evaluation:
    """What `booth evaluate` wrote of this concept; BadDataError for another file or of another concept."""
    try:
        told = json.loads(file.read_text(encoding="utf-8"))
        kind, created = told["kind"], told["created"]
        _measured(told)
    except (OSError, ValueError, KeyError, TypeError) as error:
        raise BadDataError(
            f"{file} is not the evaluation.json that `booth evaluate` writes.",
            "Name that one.",
            code="evaluation.unreadable",
            field="evaluation",
        ) from error
    if kind != "evaluation" or created != concept.record.created:
        raise BadDataError(
            f"{file} tells of another concept.",
            f"Run `booth evaluate {concept.folder}` and name its file.",
            code="evaluation.other_concept",
            field="evaluation",
        )
    return told


def model_card(concept: Concept, evaluation: Evaluation | None = None) -> str:
    """README.md for the Hub, without a path of this machine, a caption or a photo."""
    record = concept.record
    found = sorted((concept.folder / "samples").glob("*.png"))
    samples = {p.relative_to(concept.folder).as_posix(): prompt_of(p) for p in found}
    card = read_prompt_card(concept.folder)
    parts = [_front_matter(record, samples, evaluation), f"# {record.name}", _what(record), _how(record, card)]
    if samples:
        parts.append("## Samples\n\n" + "\n".join(f"![{prompt}]({s})" for s, prompt in samples.items()))
    if evaluation is not None:
        parts.append(_measured(evaluation))
    parts.append("## Training\n\n" + _table(_facts(record)))
    parts.append("## Settings\n\n" + _table(sorted(record.settings.items())))
    return "\n\n".join(parts) + "\n"


def prompt_of(sample: Path) -> str:
    """What a picture was drawn from: the first line of the settings in it."""
    with Image.open(sample, formats=("PNG",)) as picture:
        return str(picture.info.get("parameters", "")).partition("\n")[0]


def public_base(record: ConceptRecord) -> str | None:
    """The base's name on the Hub, without a revision; a folder of this machine has none."""
    name = record.base.name.partition("@")[0]
    return name if name.count("/") == 1 and not name.startswith((".", "/", "~")) else None


def _front_matter(record: ConceptRecord, samples: dict[str, str], evaluation: Evaluation | None) -> str:
    """YAML in its JSON form, in which every word is quoted."""
    tags = ["text-to-image", "diffusers", "diffusers-training", FAMILIES.get(record.family, record.family)]
    values: dict[str, Any] = {
        "license": "other",
        "library_name": "diffusers",
        **({"instance_prompt": record.prompt} if record.prompt else {}),
        "tags": [*tags, *TAGS.get(record.method, [record.method]), "booth"],
    }
    base = public_base(record)
    if base is not None:
        values |= {
            "base_model": base,
            "base_model_relation": "finetune" if record.method == "dreambooth" else "adapter",
        }
    if samples:
        values["widget"] = [{"text": prompt, "output": {"url": s}} for s, prompt in samples.items()]
    if evaluation is not None:
        values["model-index"] = [{"name": record.name, "results": [_result(evaluation)]}]
    return "---\n" + "\n".join(f"{k}: {json.dumps(v, ensure_ascii=False)}" for k, v in values.items()) + "\n---"


def _result(evaluation: Evaluation) -> dict[str, Any]:
    """The numbers as the Hub's index of results has them."""
    suite = f"{len(evaluation['protocol']['templates'])} prompts x {len(evaluation['protocol']['seeds'])} seeds"
    found = evaluation["metrics"].items()
    metrics = [{"type": name, "name": score["label"], "value": score["value"]} for name, score in found]
    return {
        "task": {"type": "text-to-image"},
        "dataset": {"type": evaluation["protocol"]["suite"], "name": suite},
        "metrics": metrics,
    }


def _measured(evaluation: Evaluation) -> str:
    """Verdicts, and every number beside the untouched base's, with the encoder that it comes from."""
    rows = [
        f"| {score['label']} | {score['encoder']} | {_shown(score)} | {_shown(evaluation['base'].get(name))} |"
        for name, score in evaluation["metrics"].items()
    ]
    protocol = evaluation["protocol"]
    how = (
        f"{len(protocol['templates'])} prompts ({protocol['suite']}) x {len(protocol['seeds'])} seeds; the untouched "
        f"base drew the same. References: {evaluation['references']}. In brackets: 95 % bootstrap intervals over "
        "prompts."
    )
    head = ["| | encoder | concept | untouched base |", "| --- | --- | ---: | ---: |"]
    verdicts = [f"- {verdict['sentence']}" for verdict in evaluation["verdicts"]]
    return "\n\n".join(["## Measured", "\n".join(verdicts), "\n".join([*head, *rows]), how])


def _shown(score: Mapping[str, Any] | None) -> str:
    if score is None or score["value"] is None:
        return ""
    value = METRICS[score["metric"]].shown(score["value"], score["part"])
    certain = score["low"] is None or score["low"] == score["high"]
    return value if certain else f"{value} [{score['low']:.3f}, {score['high']:.3f}]"


def _what(record: ConceptRecord) -> str:
    base = "booth's embedded base" if record.base.name == EMBEDDED else public_base(record) or "a private base"
    if record.method == CONTROL:
        return f"A ControlNet that follows {record.settings['control']}, taught to {base} with booth {__version__}."
    return (
        f"`{record.subject.token} {record.subject.noun}`, taught to {base} by "
        f"{record.method} with booth {__version__}. Write the two words together: `{record.prompt}`."
    )


def _how(record: ConceptRecord, card: PromptCard | None) -> str:
    drawn = f'"{record.prompt}"'
    if record.method == CONTROL:
        drawn = f'"a photo of a dog" --control hint.png --control-type {record.settings["control"]}'
    lines = ["## Use", "", "```sh", f"booth generate {record.name} {drawn}", "```"]
    if card is not None:
        strength = f"strength {card.strength:g} and " if card.strength is not None else ""
        lines += ["", f"Best with {strength}guidance {card.guidance:g}, judged by {card.judge}. Prompts that work:", ""]
        lines += [f"- `{prompt}`" for prompt in card.prompts]
    return "\n".join(lines)


def _facts(record: ConceptRecord) -> list[tuple[str, Any]]:
    data = {key: value for key, value in record.data.items() if key not in PRIVATE and _says(value)}
    return [
        ("photos", len(record.photos)),
        ("steps", record.steps),
        ("final loss", "none" if record.final_loss is None else f"{record.final_loss:.4f}"),
        ("seconds", f"{record.seconds:.0f}"),
        ("device", record.device),
        ("precision", record.precision),
        ("seed", record.seed),
        ("base hash", record.base.hash),
        *sorted(data.items()),
    ]


def _says(value: Any) -> bool:
    """Whether it is more than nothing for every photo."""
    return value is not None and (not isinstance(value, list) or any(v is not None for v in value))


def _without_path(value: Any) -> Any:
    """The value with each path cut down to its last name: folders tell of people and machines."""
    if isinstance(value, Mapping):
        return {name: _without_path(inner) for name, inner in value.items()}
    if isinstance(value, list | tuple):
        return [_without_path(inner) for inner in value]
    return re.split(r"[/\\]", value.rstrip("/\\"))[-1] if isinstance(value, str) else value


def _table(rows: list[tuple[str, Any]]) -> str:
    cells = [f"| {name} | {str(_without_path(value)).replace('|', '/')} |" for name, value in rows]
    return "\n".join(["| | |", "| --- | --- |", *cells])
