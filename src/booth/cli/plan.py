"""What `booth train --dry-run` prints for people."""

from __future__ import annotations

from typing import Any

from booth.core.words import duration, size


def in_words(plan: dict[str, Any]) -> list[str]:
    """The plan for people."""
    base = plan["base"]
    lines = [
        f"concept   {plan['concept']}",
        f"base      {base['name']} ({base['hash'][:19]}), {plan['device']}, {plan['precision']}, seed {plan['seed']}",
    ]
    for taught in (plan, *plan["also"]):
        lines += _subject(taught["subject"], taught["photos"])
    for i, stage in enumerate(plan["stages"], 1):
        lines.append(f"stage {i}   {stage['name']}: {stage['values']:,} values receive the gradient")
        lines += [f"          {key} = {value}" for key, value in stage["settings"].items()]
        others = len(stage["prompts"]) - 1
        lines.append(f"          prompts: {stage['prompts'][0]!r}{f' and {others} more' if others else ''}")
    lines.append(f"memory    {plan['memory']['why']}")
    lines += [f"          {in_brief(p)}" for p in plan["memory"]["plans"]]
    cost = plan["quote"]
    time = f"{duration(cost['seconds'])} ± {100 * cost['plus_minus']:.0f} %"
    lines.append(
        f"quote     {time}, {size(cost['peak_memory_bytes'])} of memory, artefact {size(cost['artifact_bytes'])}"
    )
    return [*lines, *(f"warning   {warning}" for warning in plan["warnings"]), "Nothing was written."]


def in_brief(plan: dict[str, Any]) -> str:
    """A memory plan, and whether it can be taken."""
    verdict = "fits" if plan["fits"] else "too large"
    return f"{plan['name']}: {size(plan['bytes'])}, {verdict}{', ' + plan['missing'] if plan['missing'] else ''}"


def _subject(subject: dict[str, Any], photos: dict[str, Any]) -> list[str]:
    """A subject and its photos."""
    lines = [
        f"subject   {subject['token']} {subject['noun']}".rstrip(),
        f"photos    {len(photos['used'])}; {photos['layout']}",
    ]
    for photo in photos["used"]:
        beside = "".join(f", {word}" for word in ("masked", "hinted") if photo[word])
        shape = f", bucket {photo['bucket'][0]}x{photo['bucket'][1]}" if photo["bucket"] else ""
        lines.append(f"          {photo['file']}, {photo['width']}x{photo['height']}{beside}{shape}")
    notes = [note for kind in ("masks", "resized", "skipped", "duplicates") for note in photos[kind]]
    return lines + [f"          {note}" for note in notes]
