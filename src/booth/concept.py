"""A concept: what a subject was taught as, ready to be put on a base and drawn."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass, replace
from pathlib import Path
from typing import TYPE_CHECKING

from booth.core.concept import ConceptRecord, read_record
from booth.core.places import at_home
from booth.registry import METHODS

if TYPE_CHECKING:
    from PIL.Image import Image

    from booth.core.method import Method
    from booth.session import Session


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
        self,
        prompts: str | Sequence[str],
        *,
        n: int = 1,
        seed: int = 0,
        strength: float | None = None,
        steps: int = 30,
        guidance: float | None = None,
        negative: str = "",
        scheduler: str | None = None,
        size: int | None = None,
        batch_size: int | None = None,
        session: Session | None = None,
    ) -> list[Image]:
        """Draw each prompt `n` times, with seeds from `seed` on; what is None is the base's own.

        Draws on the base that a `session` holds. Without one the base that was drawn with last is held, until another
        one is drawn with, so that it is not loaded for each call. `size` is the side in pixels.
        """
        from booth.generate.concepts import Applied, attached, require_base
        from booth.generate.draw import draw
        from booth.session import borrowed, latest

        base = self.record.base.name
        applied = [Applied(self, strength)]
        session = session or latest(base)
        require_base(applied, base, session.hash)
        wanted = [prompts] if isinstance(prompts, str) else prompts
        rows = [(prompt, seed + i) for prompt in wanted for i in range(n)]
        with borrowed(session, base, session.device) as model, attached(model, applied):
            return draw(
                model,
                [prompt for prompt, _ in rows],
                [own for _, own in rows],
                steps=steps,
                guidance=guidance,
                negative=negative,
                scheduler=scheduler,
                size=size,
                batch_size=batch_size,
            )
