"""Run as a child process: what the registry holds, as JSON. To list it, the server would have to load all of torch.

`python -m booth.web.describe` tells of methods and formats, `python -m booth.web.describe encoders` of encoders.
"""

from __future__ import annotations

import json
import sys

from booth.catalogue import describe_encoders, describe_methods
from booth.choices import CHOICES
from booth.config.start import carried
from booth.core.method import Method
from booth.registry import EXPORTERS, METHODS


def describe() -> dict[str, object]:
    """Methods with their settings' schemas, what may be chosen by name, and the export formats."""
    methods: dict[str, dict[str, object]] = {entry["name"]: {**entry} for entry in describe_methods()}
    for name, entry in methods.items():
        kind = METHODS[name]
        entry["schema"] = kind.Config.model_json_schema()
        entry["teaches"] = not kind.follows_control
        entry["has_strength"] = kind.set_strength is not Method.set_strength
        entry["contains"] = list(kind.contains)
        entry["carried"] = {"same": carried(kind, same=True), "other": carried(kind, same=False)}
    chosen = {kind: sorted(registry) for kind, registry in CHOICES.items()}
    formats = [
        {
            "name": name, "title": kind.title, "holds": sorted(kind.accepts), "families": list(kind.families),
            "programs": list(kind.programs), "suffix": kind.suffix,
        }
        for name, kind in EXPORTERS.usable().items()
    ]  # fmt: skip
    return {"methods": methods, "chosen": chosen, "formats": formats}


if __name__ == "__main__":
    json.dump({"encoders": describe_encoders()} if "encoders" in sys.argv else describe(), sys.stdout, default=str)
