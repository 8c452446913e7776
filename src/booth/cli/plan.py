"""What `booth train --dry-run` prints for people."""

from __future__ import annotations

from typing import Any

from booth.cli.output import size
from booth.core.words import duration


def in_words(plan: dict[str, Any]) -> list[str]:
    """The plan for people."""
    photos, base = plan["photos"], plan["base"]
    lines = [
        f"concept   {plan['concept']}",
        f"subject   {plan['subject']['token']} {plan['subject']['noun']}",
        f"base      {base['name']} ({base['hash'][:19]}), {plan['device']}, {plan['precision']}, seed {plan['seed']}",
        f"photos    {len(photos['used'])}; {photos['layout']}",
    ]
    lines += [f"          {photo['file']}, {photo['width']}x{photo['height']}" for photo in photos["used"]]
    lines += [f"          {sentence}" for sentence in photos["skipped"] + photos["duplicates"]]
    for i, stage in enumerate(plan["stages"], 1):
        lines.append(f"stage {i}   {stage['name']}: {stage['values']:,} values receive the gradient")
        lines += [f"          {key} = {value}" for key, value in stage["settings"].items()]
        others = len(stage["prompts"]) - 1
        lines.append(f"          prompts: {stage['prompts'][0]!r}{f' and {others} more' if others else ''}")
    cost = plan["quote"]
    time = f"{duration(cost['seconds'])} ± {100 * cost['plus_minus']:.0f} %"
    lines.append(
        f"quote     {time}, {size(cost['peak_memory_bytes'])} of memory, artefact {size(cost['artifact_bytes'])}"
    )
    return [*lines, *(f"warning   {warning}" for warning in plan["warnings"]), "Nothing was written."]
