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
    lines += [f"layers    {told}" for told in plan["layers"]]
    lines.append(f"memory    {plan['memory']['why']}")
    lines += [f"          {in_brief(p)}" for p in plan["memory"]["plans"]]
    cost = plan["estimate"]
    time = f"{duration(cost['seconds'])} ± {100 * cost['plus_minus']:.0f} %"
    lines.append(
        f"estimate  {time}, {size(cost['peak_memory_bytes'])} of memory, artefact {size(cost['artifact_bytes'])}"
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
        lines.append(f"          {_photo(photo)}")
    notes = [note for kind in ("masks", "resized", "skipped", "duplicates") for note in photos[kind]]
    return lines + [f"          {note}" for note in notes]


def _photo(photo: dict[str, Any]) -> str:
    """A photo, what of it is used, and how long its caption is."""
    told = [photo["file"], f"{photo['width']}x{photo['height']}"]
    told += [word for word in ("masked", "hinted") if photo[word]]
    if photo["bucket"]:
        told.append(f"bucket {photo['bucket'][0]}x{photo['bucket'][1]}")
    told.append(f"{photo['share']:.0%} used{', one flat colour' if photo['flat'] else ''}")
    if photo["tokens"] is not None:
        told.append(f"caption of {photo['tokens']} of {photo['tokens_read']} tokens")
    return ", ".join(told) + (f", which loses {photo['cut']!r}" if photo["cut"] else "")
