"""A concept: what a subject was taught as, ready to be put on a base and drawn."""

from __future__ import annotations

from dataclasses import dataclass, replace
from pathlib import Path
from typing import TYPE_CHECKING, Any

from booth.core.concept import ConceptRecord, read_record
from booth.core.places import at_home
from booth.registry import METHODS

if TYPE_CHECKING:
    from PIL.Image import Image

    from booth.core.method import Method


@dataclass(frozen=True)
class Concept:
    """A folder with weights in their ecosystem's format, and the record of how they came about."""

    folder: Path
    record: ConceptRecord

    @classmethod
    def load(cls, folder: Path | str) -> Concept:
        """Read a concept and check every file against its hash.

        Raises BadDataError for a folder that is no concept, DamagedFileError for a changed or damaged file.
        """
        folder = at_home(Path(folder))
        return cls(folder, read_record(folder))

    def methods(self) -> list[Method]:
        """The method with its settings as trained, not yet attached to anything."""
        from booth.core.method import Subject

        kind = METHODS.recorded(self.record.method)
        first, *others = (Subject(s.token, s.noun, s.kind) for s in self.record.subject.all)
        subject = replace(first, others=tuple(others))
        return [kind(kind.Config.model_validate(self.record.settings), subject)]

    def generate(
        self, prompts: str | list[str], *, n: int = 1, seed: int = 0, strength: float | None = None, **how: Any
    ) -> list[Image]:
        """Draw each prompt `n` times, with seeds from `seed` on; `how` is as in `booth.generate.draw.draw`.

        Loads the base anew; to draw often, hold a family and use `booth.generate.concepts.attached`.
        """
        from booth.families.loading import base_hash, load_family
        from booth.generate.concepts import Applied, attached, require_base
        from booth.generate.draw import draw

        base = self.record.base.name
        applied = [Applied(self, strength)]
        model = load_family(base)
        require_base(applied, base, base_hash(model.base))
        wanted = [prompts] if isinstance(prompts, str) else prompts
        rows = [(prompt, seed + i) for prompt in wanted for i in range(n)]
        with attached(model, applied):
            return draw(model, [p for p, _ in rows], [s for _, s in rows], **how)
