"""Groups: pictures of one thing, which never stand on both sides of a split."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import replace

from booth.augment.labelled_set import TEST, TRAIN, VALIDATION, Picture
from booth.core.errors import BadDataError
from booth.data.duplicates import near_pairs


def grouped(pictures: Sequence[Picture], column: str | None) -> tuple[tuple[Picture, ...], list[str]]:
    """The pictures with a group each, and what is to be told about that.

    Groups are those of the column; files of the same bytes are one group in any case, and where there is no column near
    duplicates are. Raises BadDataError, which names it, for a group on both sides of a given split.
    """
    parent = list(range(len(pictures)))

    def root(i: int) -> int:
        while parent[i] != i:
            parent[i] = parent[parent[i]]
            i = parent[i]
        return i

    firsts: dict[str, int] = {}
    for i, picture in enumerate(pictures):
        for key in (f"file {picture.sha256}", *([f"group {picture.group}"] if picture.group else [])):
            parent[root(i)] = root(firsts.setdefault(key, i))
    notes: list[str] = []
    if column is None:
        pairs = near_pairs([picture.image() for picture in pictures])
        for i, j in pairs:
            parent[root(j)] = root(i)
    members: dict[int, list[int]] = {}
    for i in range(len(pictures)):
        members.setdefault(root(i), []).append(i)
    names = {top: _name(pictures, own) for top, own in members.items()}
    found = tuple(replace(p, group=names[root(i)]) for i, p in enumerate(pictures))
    notes.append(_told(column, len(found), members))
    require_whole_groups(found)
    return found, [*notes, *_several_labels(found)]


def _name(pictures: Sequence[Picture], members: Sequence[int]) -> str:
    """A group's own name, or its first picture's."""
    named = sorted({pictures[i].group for i in members} - {""})
    return "+".join(named) if named else min(pictures[i].name for i in members)


def _told(column: str | None, count: int, members: dict[int, list[int]]) -> str:
    merged = sum(len(m) for m in members.values() if len(m) > 1)
    if column is not None:
        return f"Groups by the column {column!r}: {len(members)} groups of {count} pictures."
    if not merged:
        return (
            "No column names groups, and no near duplicates were found: each picture is a group of its own. If several "
            "pictures show one thing, name the column that says so with `group`, or what is measured is too good."
        )
    return (
        f"No column names groups. {merged} pictures are near duplicates and were merged into "
        f"{sum(len(m) > 1 for m in members.values())} groups; {len(members)} groups of {count} pictures. Other "
        "views of "
        "one thing are not found so: name the column that says so with `group`."
    )


def require_whole_groups(pictures: Sequence[Picture]) -> None:
    """BadDataError if a group is on both sides of the given split."""
    sides: dict[str, set[str]] = {}
    for picture in pictures:
        sides.setdefault(picture.group, set()).add(picture.split or TRAIN)
    torn = sorted(group for group, several in sides.items() if len(several) > 1)
    if torn:
        named = ", ".join(torn[:3]) + (f" and {len(torn) - 3} more" if len(torn) > 3 else "")
        files = [p for p in pictures if p.group == torn[0]]
        order = (TRAIN, VALIDATION, TEST)
        shown = {
            side: next(p.name for p in files if (p.split or TRAIN) == side) for side in order if side in sides[torn[0]]
        }
        raise BadDataError(
            f"{len(torn)} groups are on both sides of the given split: {named}. For example "
            f"{' and '.join(f'{name} ({side})' for side, name in shown.items())} show the same.",
            "Move each group to one side, or drop the split and let booth make it.",
            code="split.torn_groups",
            field="split",
        )


def _several_labels(pictures: Sequence[Picture]) -> list[str]:
    labels: dict[str, set[str]] = {}
    for picture in pictures:
        labels.setdefault(picture.group, set()).add(picture.label)
    mixed = sorted(group for group, several in labels.items() if len(several) > 1)
    if not mixed:
        return []
    return [
        f"{len(mixed)} groups hold pictures of several classes, such as {mixed[0]} "
        f"({', '.join(sorted(labels[mixed[0]]))}): "
        "right where a group is a patient, wrong where it is one thing. Each stays on one side."
    ]
