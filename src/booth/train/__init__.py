"""One training loop for every method, and what happens between its steps: checkpoints, recovery, previews.

The package is itself callable: `booth.train(photos, noun=...)` is a whole run from Python. Importing a module of the
package sets `booth.train` to the package, so that a function of this name could not stay in its place.
"""

from __future__ import annotations

import sys
from collections.abc import Sequence
from pathlib import Path
from types import ModuleType
from typing import TYPE_CHECKING, Any

if TYPE_CHECKING:
    from booth.concept import Concept
    from booth.events import Listener


class CallablePackage(ModuleType):
    """This package, with a call."""

    def __call__(
        self,
        photos: Path | str | Sequence[Path | str],
        noun: str | None = None,
        *,
        config: Path | str | None = None,
        listeners: Sequence[Listener] = (),
        **options: Any,
    ) -> Concept:
        """Teach the subject in `photos` to a base and return the finished concept; kind="style" needs no noun.

        `noun` may be left out for a method that can do without a subject, such as ControlNet.

        `options` are the fields of booth.config.RunConfig, such as method="lora", base="embedded", token="sks",
        seed=0 and out="concepts/my-dog"; any other name is a setting of the method, such as steps=200 or rank=8.
        Raises a BoothError with what to do next.
        """
        from booth.config import RunConfig, load_run_config
        from booth.train.run import train

        sources = [photos] if isinstance(photos, str | Path) else photos
        run = {key: value for key, value in options.items() if key in RunConfig.model_fields}
        settings = {key: value for key, value in options.items() if key not in RunConfig.model_fields}
        run["settings"] = {**run.get("settings", {}), **settings}
        run |= {"photos": [Path(p) for p in sources]} | ({} if noun is None else {"noun": noun})
        return train(load_run_config(Path(config) if config else None, run), listeners=listeners)


sys.modules[__name__].__class__ = CallablePackage
