"""Run as a child process: which method is advised for some photos, and what each would cost on this machine.

`python -m booth.web.forecast BASE NOUN KIND TOKEN PHOTOS [METHOD...]` prints one JSON object a line as it finds them
out: the advice, a word on the token, then each method, from a few real steps that are taken back.
"""

from __future__ import annotations

import json
import sys
from pathlib import Path

import torch

from booth.compare.photo_facts import look_at
from booth.compare.recommend import Answers, recommend
from booth.config import RunConfig
from booth.core.errors import BoothError
from booth.core.method import Subject
from booth.data.photos import load_photos
from booth.data.tokens import advice_on_token
from booth.registry import METHODS
from booth.session import Session
from booth.train.setup import choose_device
from booth.train.trainer import Trainer


def tell(kind: str, **values: object) -> None:
    """One line."""
    print(json.dumps({"kind": kind, **values}), flush=True)


def forecast(base: str, noun: str, kind: str, token: str, photos: Path, methods: list[str]) -> None:
    """Tell all of it, the advice first."""
    loaded = load_photos([photos])
    facts = look_at(loaded)
    with Session(base, choose_device(None)) as session:
        with session.model(torch.float32) as model:  # as it is trained
            parts = model.components().values()
            held = sum(t.numel() * t.element_size() for part in parts for t in part.state_dict().values())
            wish = "style" if kind == "style" else "object"
            found = recommend(Answers(wish), facts, [photos], noun, base, held)
            tell("advice", **found.to_json())
            subject = Subject(token, noun, "style" if kind == "style" else "subject")
            method = METHODS[found.method](METHODS[found.method].Config.model_validate({}), subject)
            tell("token", token=token, warnings=advice_on_token(model, method))
        for name in methods:
            config = RunConfig.model_validate(
                {"photos": [photos], "noun": noun, "kind": kind, "token": token, "method": name, "base": base}
            )
            try:
                with Trainer(config, session=session, photos=[loaded], keep=False) as trainer:
                    cost, steps, scale = trainer.estimate(), trainer.plan_state.total, trainer.model.scale
            except BoothError as error:
                tell("cost", method=name, error=str(error))
                continue
            tell("cost", method=name, steps=steps, scale=scale, **cost.to_json())
    tell("done")


def main(words: list[str]) -> int:
    """The command line of the child."""
    base, noun, kind, token, photos, *methods = words
    try:
        forecast(base, noun, kind, token, Path(photos), methods)
    except BoothError as error:
        print(json.dumps({"error": str(error), "exit_code": error.exit_code}), flush=True)
        return error.exit_code
    return 0


if __name__ == "__main__":
    sys.exit(main(sys.argv[1:]))
