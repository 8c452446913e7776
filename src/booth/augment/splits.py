"""Splits by groups: outer folds, and the inner validation on which everything is chosen."""

from __future__ import annotations

from collections.abc import Iterable, Sequence
from dataclasses import dataclass, replace

from booth.augment.labelled_set import TEST, VALIDATION, LabelledSet
from booth.augment.leaks import require_disjoint
from booth.core.errors import BadDataError, NotAvailableError
from booth.core.rng import derived_seed

TRIES = 50  # shuffles, until one has every class on every side
INNER = 4  # the validation side is a quarter of the training side's groups


@dataclass(frozen=True)
class Fold:
    """One division of the set. No group is in two of its sides."""

    index: int
    train: LabelledSet  # what is learned from, by classifiers and generators alike
    validation: LabelledSet  # real pictures on which everything is chosen
    test: LabelledSet  # touched once

    def require_no_leak(self) -> None:
        """LeakError if a group or file is on two sides."""
        require_disjoint(self.train, self.test, f"The training and test side of fold {self.index}")
        require_disjoint(self.validation, self.test, f"The validation and test side of fold {self.index}")
        require_disjoint(self.train, self.validation, f"The training and validation side of fold {self.index}")


def outer_folds(
    found: LabelledSet, count: int, seed: int, scarce: Sequence[str] = (), shots: int | None = None
) -> list[Fold]:
    """`count` folds by groups, stratified; of a set with a given test side that one alone.

    With `shots` only so many real pictures of each scarce class stay outside the test side. Raises BadDataError for a
    class with too few groups.
    """
    if found.has_splits:
        _require_all_classes(found.side(TEST), found)
        parts = [(found.where(lambda p: p.split != TEST), found.side(TEST))]
    else:
        _require_groups(found, count, f"`folds={count}`")
        parts = _parts(found, count, seed)
    folds: list[Fold] = []
    for index, (outside, test) in enumerate(parts):
        outside = outside if shots is None else few(outside, scarce, shots, derived_seed(seed, "shots", index))
        train, validation = inner(outside, derived_seed(seed, "inner", index))
        folds.append(Fold(index, train, validation, test))
        folds[-1].require_no_leak()
    return folds


def inner(outside: LabelledSet, seed: int) -> tuple[LabelledSet, LabelledSet]:
    """Training and validation side of what is not for testing: as given, or a quarter of the groups."""
    if any(p.split == VALIDATION for p in outside.pictures):
        return outside.where(lambda p: p.split != VALIDATION), outside.side(VALIDATION)
    _require_groups(outside, 2, "an inner validation")
    chosen: set[str] = set()
    for label in sorted(outside.labels, key=lambda each: outside.counts[each]):
        own = outside.of(label)
        groups = sorted({p.group for p in own}, key=lambda g: derived_seed(seed, label, g))
        wanted = max(1, round(len(own) / INNER))
        for group in groups[:-1]:  # at least one stays to learn from
            if sum(p.group in chosen for p in own) < wanted:
                chosen.add(group)
    return outside.where(lambda p: p.group not in chosen), outside.where(lambda p: p.group in chosen)


def few(found: LabelledSet, labels: Sequence[str], shots: int, seed: int) -> LabelledSet:
    """The set with so many pictures of each of those classes, whole groups first, chosen at random."""
    kept: set[str] = set()
    for label in labels:
        groups = sorted({p.group for p in found.of(label)}, key=lambda g: derived_seed(seed, "group", g))
        taken = [p for g in groups for p in sorted(found.of(label), key=lambda p: p.name) if p.group == g][:shots]
        kept |= {p.name for p in taken}
    return replace(found, pictures=tuple(p for p in found.pictures if p.label not in labels or p.name in kept))


def cross_parts(found: LabelledSet, count: int, seed: int) -> list[tuple[LabelledSet, LabelledSet]]:
    """Parts by groups for cross-fitting; fewer where a class has fewer groups."""
    least = min(len({p.group for p in found.of(label)}) for label in found.labels)
    if least < 2:
        label = min(found.labels, key=lambda each: len({p.group for p in found.of(each)}))
        raise BadDataError(
            f"The class {label!r} has pictures of a single group, so that nothing can be held out of it.",
            "Name the "
            "scarce "
            "classes with `classes` and use `filters` likeness or none, or add pictures of other groups.",
            code="class.one_group",
            field="classes",
        )
    return _parts(found, min(count, least), seed)


def _parts(found: LabelledSet, count: int, seed: int) -> list[tuple[LabelledSet, LabelledSet]]:
    try:
        from sklearn.model_selection import StratifiedGroupKFold
    except ImportError as error:
        raise missing_extra() from error
    labels, groups = [p.label for p in found.pictures], [p.group for p in found.pictures]
    for attempt in range(TRIES):
        split = StratifiedGroupKFold(count, shuffle=True, random_state=derived_seed(seed, attempt) % 2**32)
        rows = list(split.split(labels, labels, groups))
        if all({labels[i] for i in side} == set(labels) for both in rows for side in both):
            return [(_only(found, train), _only(found, test)) for train, test in rows]
    raise BadDataError(
        f"No {count} folds were found that have every class on both sides: too few groups, or very uneven ones.",
        "Use fewer folds.",
        code="folds.impossible",
        field="folds",
    )


def _only(found: LabelledSet, rows: Iterable[int]) -> LabelledSet:
    return replace(found, pictures=tuple(found.pictures[i] for i in rows))


def missing_extra() -> NotAvailableError:
    """What is told where the extra is not installed."""
    return NotAvailableError(
        "scikit-learn and torchmetrics are missing. Install them with `pip install 'booth[augment]'`.",
        code="package.missing",
    )


def _require_groups(found: LabelledSet, count: int, what: str) -> None:
    few = {label: len({p.group for p in found.of(label)}) for label in found.labels}
    thin = {label: n for label, n in few.items() if n < count}
    if thin:
        label = min(thin, key=lambda each: thin[each])
        more = f" (and {len(thin) - 1} other classes have too few)" if len(thin) > 1 else ""
        raise BadDataError(
            f"The class {label!r} has {found.counts[label]} pictures of {thin[label]} groups{more}, and {what} needs "
            f"{count} groups of each class.",
            "Use fewer folds, add pictures, or leave the class out.",
            code="class.too_few_groups",
            field="folds",
        )


def _require_all_classes(test: LabelledSet, found: LabelledSet) -> None:
    missing = [label for label in found.labels if label not in test.labels]
    if missing:
        raise BadDataError(
            f"The given test side has {len(test.pictures)} pictures and none of {', '.join(missing[:5])}"
            f"{' ...' if len(missing) > 5 else ''}: nothing can be said of these classes.",
            "Move some groups there, or drop the split and let booth make folds.",
            code="class.none_in_test",
            field="split",
        )
