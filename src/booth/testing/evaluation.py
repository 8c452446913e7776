"""What every metric and every encoder holds to."""

from __future__ import annotations

import dataclasses
import hashlib
import json
import math
from collections.abc import Callable, Sequence
from typing import Any

import torch
from PIL import Image
from PIL.Image import Image as Picture
from torch import Tensor

from booth.core.encoder import Encoder
from booth.core.json_values import Json
from booth.core.metric import Drawn, Evidence, Metric, Refused, Shared
from booth.testing.steps import PROMPT, SUBJECT

Make = Callable[..., Any]
ROLES = ("subject", "prompt", "distribution", "judge")


def picture(seed: int, side: int = 64) -> Picture:
    """A square of noise with a coloured block, always the same for a seed."""
    generator = torch.Generator().manual_seed(seed)
    pixels = torch.randint(0, 256, (side, side, 3), generator=generator, dtype=torch.uint8)
    pixels[side // 4 : side // 2, side // 4 : side // 2] = torch.tensor([40 * (seed % 6), 90, 200], dtype=torch.uint8)
    return Image.fromarray(pixels.numpy())


def evidence() -> Evidence:
    """Something in every field, so that no metric lacks anything."""

    def drawn(first: int) -> list[Drawn]:
        places = ("on the beach", "in the snow")
        return [Drawn(picture(first + i), f"{PROMPT} {places[i % 2]}", f"a dog {places[i % 2]}", i) for i in range(4)]

    def some(first: int) -> list[Picture]:
        return [picture(first + i) for i in range(4)]

    together = [
        Shared(SUBJECT, some(0), drawn(10), drawn(20), drawn(30)),
        Shared(SUBJECT, some(5), drawn(40), [], drawn(50)),
    ]
    return Evidence(
        subject=SUBJECT,
        drawn=drawn(60),
        references=some(0),
        photos=some(0),
        untouched=drawn(70),
        class_drawn=some(80),
        class_base=some(90),
        unrelated_drawn=some(100),
        unrelated_base=some(110),
        lookalikes=some(120),
        cost={"seconds": 1.0, "bytes": 1000.0},
        subjects_together=together,
        drawn_together=drawn(130),
    )


class Planes(Encoder):
    """Serves as every role but the judge's: vectors are directions that depend on the pixels or the words alone."""

    name = "planes"
    title = "Planes"
    roles = ("subject", "prompt", "distribution")

    def embed(self, images: Sequence[Picture]) -> Tensor:
        return torch.stack([_direction(image.resize((8, 8)).tobytes()) for image in images])

    def read(self, prompts: Sequence[str]) -> Tensor:
        return torch.stack([_direction(prompt.encode()) for prompt in prompts])

    def weights_hash(self) -> str:
        return hashlib.sha256(self.name.encode()).hexdigest()

    def preprocessing(self) -> dict[str, Json]:
        return {"side": 8}


def _direction(content: bytes) -> Tensor:
    seed = int.from_bytes(hashlib.sha256(content).digest()[:7], "big")
    return torch.nn.functional.normalize(torch.randn(16, generator=torch.Generator().manual_seed(seed)), dim=0)


def describes_itself(make: Make) -> None:
    """Name, title, direction, range and source are there, and it needs what evidence has."""
    kind = type(make())
    assert kind.name, "name is empty"
    assert kind.title, "title is empty"
    assert kind.source, "source does not say where it is from"
    assert kind.better in ("higher", "lower"), f"better is {kind.better!r}"
    assert kind.range[0] < kind.range[1], f"its range {kind.range} is empty"
    assert kind.role is None or kind.role in ROLES, f"role is {kind.role!r}, not one of {', '.join(ROLES)}"
    unknown = set(kind.needs) - {field.name for field in dataclasses.fields(Evidence)}
    assert not unknown, f"it needs {', '.join(sorted(unknown))}, which evidence does not have"


def measures_within_its_range(make: Make) -> None:
    """On noise every score has its name, lies in its range and in its own interval, and is plain JSON."""
    for score in _scores(make()):
        low, high = type(make()).range
        assert score.metric == make().name, f"a score is called {score.metric!r}"
        assert low <= score.value <= high, f"{score.value:g} lies outside of the range {low:g} to {high:g}"
        assert math.isnan(score.low) or score.low <= score.value <= score.high, "a value lies outside of its interval"
        json.dumps(score.to_json(), allow_nan=False)
        assert type(make()).shown(score.value, score.part), "the number is shown as nothing"
        assert type(make()).titled(score.part), "the part has no title"


def measures_the_same_twice(make: Make) -> None:
    """The same pictures have the same number."""
    assert [s.value for s in _scores(make())] == [s.value for s in _scores(make())], "measured again, it differs"


def _scores(metric: Metric[Any]) -> list[Any]:
    if metric.role == "judge":
        return []  # what a judge says is its own
    try:
        return metric.measure(evidence(), Planes() if metric.role else None)
    except Refused:
        return []


def encoder_describes_itself(make: Make) -> None:
    """Name, title and roles are there, and all that is done to a picture is written down."""
    encoder: Encoder = make()
    assert encoder.name, "name is empty"
    assert encoder.title, "title is empty"
    assert encoder.roles, "roles is empty"
    assert set(encoder.roles) <= set(ROLES), f"roles are {encoder.roles}, of {', '.join(ROLES)}"
    json.dumps(encoder.about())
    assert len(encoder.weights_hash().removeprefix("sha256:")) == 64, "weights_hash is no sha256"


def gives_unit_vectors(make: Make) -> None:
    """One float32 unit vector on the CPU for each picture of any size, the same each time and in any company."""
    pictures = [picture(0), picture(1, 48), picture(2)]
    vectors = make().images(pictures)
    assert vectors.ndim == 2, f"vectors are of shape {tuple(vectors.shape)}, not (N, D)"
    assert len(vectors) == 3, f"three pictures give {len(vectors)} vectors"
    assert (vectors.dtype, vectors.device.type) == (torch.float32, "cpu"), "vectors are not in float32 on the CPU"
    assert torch.allclose(vectors.norm(dim=1), torch.ones(3), atol=1e-4), "a vector is not of length 1"
    assert torch.allclose(make().images(pictures[1:2]), vectors[1:2], atol=1e-4), "alone, a picture has another vector"


def reads_prompts_beside_pictures(make: Make) -> None:
    """One that serves to compare with prompts reads them into the same space."""
    encoder: Encoder = make()
    if "prompt" in encoder.roles:
        assert encoder.read(["a dog"]).shape[1] == encoder.images([picture(0)]).shape[1], "prompts have another width"


METRIC_CHECKS = (describes_itself, measures_within_its_range, measures_the_same_twice)
ENCODER_CHECKS = (encoder_describes_itself, gives_unit_vectors, reads_prompts_beside_pictures)
