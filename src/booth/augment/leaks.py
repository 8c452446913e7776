"""No picture and no group stands on two sides, and nothing that was taught saw what it is judged by."""

from __future__ import annotations

from collections.abc import Iterable

from booth.augment.labelled_set import LabelledSet
from booth.core.errors import BadDataError


class LeakError(BadDataError):
    """What is judged by pictures had seen them."""


def require_disjoint(one: LabelledSet, other: LabelledSet, what: str) -> None:
    """LeakError, which names it, for a group or file that is in both."""
    groups = sorted(one.groups & other.groups)
    if groups:
        raise LeakError(
            f"{what} share {len(groups)} groups, such as {groups[0]!r}: what is measured would be too good.",
            code="leak.groups",
        )
    hashes = one.hashes & other.hashes
    if hashes:
        twin = next(p for p in other.pictures if p.sha256 in hashes)
        raise LeakError(
            f"{what} share {len(hashes)} files, such as {twin.name}: what is measured would be too good.",
            code="leak.files",
        )


def require_seen_only(seen: Iterable[str], training: LabelledSet, what: str) -> None:
    """LeakError unless each hash that was seen is of the training side."""
    strange = set(seen) - training.hashes
    if strange:
        raise LeakError(
            f"{what} saw {len(strange)} pictures that are not of the training side, such as the one with the sha256 "
            f"{min(strange)[:16]}.",
            "Delete it, so that it is made again from the training side alone.",
            code="leak.strangers",
        )


def require_unseen(seen: Iterable[str], test: LabelledSet, what: str) -> None:
    """LeakError, which names one, if a picture of the test side was seen."""
    leaked = [p for p in test.pictures if p.sha256 in set(seen)]
    if leaked:
        raise LeakError(
            f"{what} saw {len(leaked)} pictures of the test side, such as {leaked[0].name}: every number would be too "
            "good.",
            "Make it again from the training side alone.",
            code="leak.test_side",
        )
