"""Draw what was taught, or an untouched base."""

from __future__ import annotations

from collections.abc import Sequence
from pathlib import Path
from typing import TYPE_CHECKING

from booth.core import errors
from booth.events import Listener

if TYPE_CHECKING:
    from booth.concept import Concept
    from booth.core.cancel import CancelToken
    from booth.generate.run import Drawn
    from booth.session import Session


def generate(
    concepts: Concept | Path | str | Sequence[Concept | Path | str] = (),
    prompts: str | Sequence[str] = (),
    *,
    out: Path | str = "pictures",
    base: str | None = None,
    n: int = 1,
    seed: int = 0,
    steps: int = 30,
    guidance: float | None = None,
    negative: str = "",
    scheduler: str | None = None,
    size: int | None = None,
    batch_size: int | None = None,
    upscale: int = 1,
    device: str | None = None,
    sheet: bool = False,
    session: Session | None = None,
    listeners: Sequence[Listener] = (),
    cancel: CancelToken | None = None,
) -> Drawn:
    """Draw concepts together, or the untouched `base`, into the folder `out`: PNG files with their settings in them.

    A concept is a `Concept`, its folder, or "FOLDER:0.8" with a strength. Each prompt is drawn `n` times. `cancel` is
    looked at between denoising steps.
    """
    from booth.concept import Concept
    from booth.generate.concepts import Applied, parse_applied
    from booth.generate.run import Request
    from booth.generate.run import generate as draw
    from booth.train.setup import choose_device

    several = [concepts] if isinstance(concepts, Concept | Path | str) else concepts
    applied = [Applied(c) if isinstance(c, Concept) else parse_applied(str(c)) for c in several]
    asked = [prompts] if isinstance(prompts, str) else list(prompts)
    asked = asked or [a.concept.record.prompt for a in applied[:1] if a.concept.record.prompt]
    if not asked:
        raise errors.UsageError("A prompt is missing: say what is to be drawn.", code="prompt.missing", field="prompts")
    if not applied and base is None:
        base = session.base if session is not None else "embedded"
    request = Request(
        asked,
        applied,
        base,
        count=n,
        seed=seed,
        steps=steps,
        guidance=guidance,
        negative=negative,
        scheduler=scheduler,
        size=size,
        batch_size=batch_size,
        upscale=upscale,
        device=choose_device(device),
    )
    return draw(request, Path(out), sheet=sheet, session=session, listeners=listeners, cancel=cancel)
