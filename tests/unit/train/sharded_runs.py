"""What each process does that `test_sharded.py` has a launcher start: one run after the other, given as JSON.

accelerate launch --use_fsdp sharded_runs.py RUNS.json
"""

from __future__ import annotations

import json
import os
import sys
from pathlib import Path
from typing import Any

from booth.config import RunConfig
from booth.core.errors import Cancelled
from booth.core.sharding import is_part
from booth.events import Event
from booth.families.layout import DiffusersFamily
from booth.train.distributed import Team, joined, learn

models: list[Any] = []


def run(team: Team, config: dict[str, Any], ask: bool) -> dict[str, Any]:
    """How much of the base's denoiser was held here when it was over; the first process may `ask` to stop at once."""

    def listen(event: Event) -> None:
        if ask and event.kind == "step":
            team.asked.cancel("Asked to stop.")

    models.clear()
    try:
        learn(team, RunConfig(**config), listeners=[listen])
    except Cancelled:
        ended = "stopped"
    else:
        ended = "done"
    base = [p for n, p in models[0].network.named_parameters() if "lora" not in n]
    held = sum(p.to_local().numel() if is_part(p) else p.numel() for p in base)
    return {"ended": ended, "values": sum(p.numel() for p in base), "held": held}


def main(runs: Path) -> None:
    shard = DiffusersFamily.shard

    def sharded(model: DiffusersFamily, *how: Any) -> None:
        shard(model, *how)
        models.append(model)

    DiffusersFamily.shard = sharded  # type: ignore[method-assign]
    with joined() as team:
        *others, last = json.loads(runs.read_text())
        found = [*(run(team, config, ask=False) for config in others), run(team, last, ask=True)]
    runs.with_name(f"process-{os.environ['RANK']}.json").write_text(json.dumps(found))


if __name__ == "__main__":
    main(Path(sys.argv[1]))
