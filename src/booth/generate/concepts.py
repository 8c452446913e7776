"""One or several concepts on one base, each with its strength."""

from __future__ import annotations

import math
from collections import Counter
from collections.abc import Generator, Sequence
from contextlib import ExitStack, contextmanager
from dataclasses import dataclass
from pathlib import Path

from booth.concept import Concept
from booth.core.errors import UsageError
from booth.core.family import Family
from booth.core.method import Order
from booth.core.places import at_home
from booth.families.loading import EMBEDDED, earlier_embedded
from booth.registry import METHODS


@dataclass(frozen=True)
class Applied:
    """A concept and how strongly it acts; None is as trained."""

    concept: Concept
    strength: float | None = None

    @property
    def title(self) -> str:
        """What stands in a picture's settings: "sks-dog-lora" or "sks-dog-lora (0.8)"."""
        return self.concept.record.name + (f" ({self.strength:g})" if self.strength is not None else "")


def parse_applied(text: str) -> Applied:
    """Read FOLDER or FOLDER:STRENGTH, such as concepts/sks-dog-lora:0.8."""
    folder, colon, strength = text.rpartition(":")
    if not colon or at_home(Path(text)).exists():
        return Applied(Concept.load(text))
    return Applied(Concept.load(folder), read_strength(strength, text, "FOLDER:0.8"))


def read_strength(strength: str, text: str, right: str) -> float:
    """The finite number at the end of `text`; UsageError, with how it is written `right`, if it is none."""
    try:
        scale = float(strength)
    except ValueError:
        scale = math.nan
    if not math.isfinite(scale):
        raise UsageError(
            f"{strength!r} in {text!r} is no strength.", f"Write {right}.", code="strength.invalid", field="concepts"
        )
    return scale


def common_base(applied: Sequence[Applied]) -> str:
    """The base that all concepts were taught to; UsageError if they differ."""
    bases = {a.concept.record.base.hash: a.concept.record.base.name for a in applied}
    if len(bases) > 1:
        bases = "; ".join(f"{a.concept.folder} to {a.concept.record.base.name}" for a in applied)
        raise UsageError(
            f"These concepts were taught to different bases ({bases}) and cannot be drawn together.",
            "Train them on the same base.",
            code="concept.other_bases",
            field="concepts",
        )
    return next(iter(bases.values()))


def require_base(applied: Sequence[Applied], base: str, hash_here: str) -> None:
    """UsageError if a concept was taught to a base with another content than the one at hand."""
    for a in applied:
        taught = a.concept.record.base
        if taught.hash == hash_here:
            continue
        if taught.name == base == EMBEDDED:
            raise earlier_embedded(a.concept.folder, taught.hash)
        raise UsageError(
            f"{a.concept.folder} was taught to another base than {base!r}: to {taught.name!r} with "
            f"{_short(taught.hash)}, and this one has {_short(hash_here)}.",
            "Give that base with `base`, or train the concept again.",
            code="base.other_content",
            field="base",
        )


def advice_on_chosen_base(applied: Sequence[Applied], base: str, family: str, hash_here: str) -> list[str]:
    """A warning for each concept that is drawn on another base than its own because the user named that one.

    UsageError for a base of another family. Whether the shapes fit is seen when the concept is put on it.
    """
    warnings: list[str] = []
    for a in applied:
        record = a.concept.record
        if record.family != family:
            raise UsageError(
                f"{a.concept.folder} was taught to {record.base.name!r} ({record.family}), and {base!r} is {family}.",
                "Name a base of the same family.",
                code="base.other_family",
                field="base",
            )
        if record.base.hash != hash_here:
            warnings.append(
                f"{a.concept.folder} was taught to {record.base.name!r} with {_short(record.base.hash)}, and "
                f"is drawn on {base!r} with {_short(hash_here)}, as `base` says. The closer the two are related, the "
                "better the subject comes out."
            )
    return warnings


@contextmanager
def attached(model: Family, applied: Sequence[Applied]) -> Generator[None]:
    """Within this context the model draws the concepts; afterwards it is the bare base again."""
    require_tokens(applied)
    with ExitStack() as stack:
        for a in sorted(applied, key=_place):
            for method in a.concept.methods():
                stack.callback(method.detach, model)
                method.restore(model, a.concept.folder)
                if a.strength is not None:
                    method.set_strength(a.strength)
        yield


def require_tokens(applied: Sequence[Applied]) -> None:
    """UsageError if two concepts answer to the same token."""
    own = [{s.token for s in a.concept.record.subject.all if s.token} for a in applied]
    tokens = Counter(token for several in own for token in several)
    token, count = tokens.most_common(1)[0] if tokens else ("", 0)
    if count > 1:
        owners = " and ".join(str(a.concept.folder) for a, several in zip(applied, own) if token in several)
        raise UsageError(
            f"{owners} share the token {token!r}, so no prompt could tell them apart.",
            "Train one of them with another `token`.",
            code="token.shared",
            field="token",
        )


def _place(applied: Applied) -> Order:
    return METHODS.recorded(applied.concept.record.method).order


def _short(content_hash: str) -> str:
    return content_hash[: len("sha256:") + 12]
