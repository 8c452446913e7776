"""Pictures of a subject before the world's judges: is it that individual, is it in the scene that was asked for?"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import asdict, dataclass

import numpy as np
from PIL.Image import Image

from booth.data.crops import square
from booth.world.judges import Judges

SIDE = 64  # pixels, what the judges take


@dataclass(frozen=True)
class Judged:
    """Means over pictures, each in [0, 1] but the similarity, a cosine in [-1, 1]."""

    identity: float  # share that the identity judge takes for the same individual as the references
    similarity: float  # mean cosine of identity vectors, all pictures x all references
    object: float  # share that shows the noun
    scene: float  # share in the scene asked for
    joint: float  # share with identity and scene together
    pictures: int

    def to_dict(self) -> dict[str, float]:
        """Plain numbers, rounded to four places."""
        return {k: round(v, 4) for k, v in asdict(self).items()}


def as_array(images: Sequence[Image]) -> np.ndarray:
    """Pictures as the judges take them: uint8 (N, 64, 64, 3), cropped to their centre square."""
    return np.stack([np.asarray(square(image.convert("RGB"), SIDE, "center")) for image in images])


def judge(
    judges: Judges, images: Sequence[Image], references: Sequence[Image], noun: str, scenes: Sequence[str]
) -> Judged:
    """Judge drawn `images` of a `noun` against its reference photos; `scenes` names the scene asked of each image."""
    drawn = as_array(images)
    cosine = judges.identities(drawn) @ judges.identities(as_array(references)).T  # (images, references)
    similarity = cosine.mean(1).numpy()
    same = similarity > judges.same_threshold
    verdicts = judges.look(drawn)
    right_scene = np.array([v.scene == scene for v, scene in zip(verdicts, scenes, strict=True)])
    right_object = np.array([v.objects[0] == noun for v in verdicts])
    return Judged(
        identity=float(same.mean()),
        similarity=float(similarity.mean()),
        object=float(right_object.mean()),
        scene=float(right_scene.mean()),
        joint=float((same & right_scene).mean()),
        pictures=len(images),
    )
