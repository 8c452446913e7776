"""Where each live glyph wears things: read off the glyphs, and for faces derived from their silhouettes."""

from dataclasses import dataclass
from functools import cache

import numpy as np

from booth.world.sprites import GLYPH, sprite


@dataclass(frozen=True)
class Anchors:
    """Places in fractions of the glyph's box (x right, y down); widths in fractions of the box's width."""

    hat: tuple[float, float, float]  # x, y of the brim's middle, width of the head there
    eyes: tuple[float, float, float]  # x, y, width of the face
    neck: tuple[float, float, float]  # x, y, width
    torso: tuple[float, float, float, float] | None  # left, top, right, bottom; a face has none


# Percent of the box: hat x y width | eyes x y width | neck x y width | torso left top right bottom.
_BODIES = {
    "dog": (46, 9, 44, 43, 30, 42, 46, 57, 52, 24, 58, 80, 86),
    "dog@noto-v1": (42, 6, 52, 39, 43, 46, 42, 72, 50, 20, 72, 84, 90),
    "dog@twemoji": (22, 6, 28, 18, 12, 30, 30, 36, 26, 28, 36, 94, 66),
    "dog@emojione": (53, 6, 54, 53, 37, 62, 53, 75, 60, 28, 76, 80, 94),
    "dog@fxemoji": (15, 14, 26, 14, 28, 28, 24, 48, 26, 24, 38, 96, 66),
    "poodle": (55, 6, 30, 44, 24, 34, 52, 42, 34, 24, 46, 88, 72),
    "poodle@noto-v1": (36, 8, 50, 27, 32, 38, 42, 60, 44, 20, 58, 80, 82),
    "poodle@twemoji": (30, 7, 34, 20, 19, 34, 38, 46, 40, 16, 44, 72, 74),
    "poodle@emojione": (38, 12, 52, 38, 37, 50, 38, 72, 56, 12, 66, 96, 80),
    "poodle@fxemoji": (26, 6, 28, 18, 18, 32, 28, 46, 26, 16, 38, 84, 66),
    "cat": (36, 18, 36, 24, 29, 40, 40, 54, 36, 24, 54, 86, 82),
    "cat@noto-v1": (44, 9, 42, 42, 38, 46, 44, 59, 52, 24, 59, 78, 90),
    "cat@twemoji": (18, 17, 24, 11, 31, 26, 20, 47, 28, 18, 40, 92, 72),
    "cat@emojione": (61, 10, 44, 62, 41, 48, 61, 68, 52, 34, 70, 88, 96),
    "cat@fxemoji": (14, 24, 22, 10, 37, 24, 20, 52, 20, 16, 44, 90, 74),
    "bird": (29, 5, 40, 20, 23, 34, 30, 44, 50, 12, 42, 74, 80),
    "bird@noto-v1": (28, 5, 40, 22, 24, 34, 30, 44, 52, 8, 42, 72, 80),
    "bird@twemoji": (34, 7, 40, 30, 20, 36, 36, 46, 50, 20, 44, 92, 80),
    "bird@emojione": (30, 13, 38, 22, 28, 36, 34, 50, 52, 10, 48, 86, 80),
    "horse": (22, 9, 26, 14, 24, 28, 32, 46, 30, 26, 40, 86, 68),
    "horse@noto-v1": (22, 9, 28, 26, 25, 34, 34, 50, 34, 20, 48, 86, 74),
    "horse@twemoji": (16, 6, 22, 11, 14, 24, 24, 30, 26, 24, 28, 92, 60),
    "horse@emojione": (20, 9, 24, 14, 21, 28, 24, 40, 28, 18, 38, 84, 68),
    "horse@fxemoji": (20, 8, 26, 13, 19, 26, 26, 40, 26, 24, 34, 90, 66),
    "rabbit": (34, 38, 30, 36, 46, 36, 36, 69, 38, 24, 68, 88, 94),
    "rabbit@noto-v1": (44, 33, 38, 42, 58, 44, 44, 78, 44, 28, 78, 76, 96),
    "rabbit@twemoji": (16, 38, 26, 14, 50, 26, 22, 70, 30, 22, 42, 86, 84),
    "rabbit@emojione": (45, 36, 40, 45, 50, 46, 45, 80, 48, 22, 80, 70, 96),
    "elephant": (24, 8, 34, 27, 37, 34, 45, 58, 50, 34, 46, 86, 78),
    "elephant@noto-v1": (40, 6, 44, 36, 42, 42, 38, 64, 48, 30, 62, 92, 80),
    "elephant@twemoji": (26, 7, 34, 20, 33, 32, 34, 58, 46, 52, 14, 98, 76),
    "elephant@emojione": (38, 8, 38, 26, 30, 36, 42, 60, 44, 36, 56, 96, 80),
    "elephant@fxemoji": (26, 8, 36, 18, 29, 32, 34, 54, 40, 38, 24, 98, 74),
    "turtle": (22, 25, 34, 25, 44, 38, 30, 72, 42, 42, 4, 94, 68),
    "turtle@noto-v1": (24, 21, 38, 24, 42, 40, 28, 66, 42, 44, 2, 94, 74),
    "turtle@twemoji": (13, 5, 22, 13, 14, 24, 18, 36, 24, 24, 4, 88, 76),
    "turtle@emojione": (22, 6, 28, 20, 10, 30, 24, 36, 24, 24, 30, 94, 76),
    "turtle@fxemoji": (14, 7, 22, 15, 20, 24, 18, 44, 24, 20, 2, 92, 84),
    "owl": (50, 10, 48, 50, 29, 58, 50, 53, 62, 12, 50, 88, 90),
    "owl@noto-v1": (50, 9, 54, 50, 32, 58, 50, 52, 74, 4, 52, 96, 90),
    "owl@twemoji": (50, 5, 46, 50, 22, 60, 50, 44, 66, 4, 44, 96, 90),
    "owl@emojione": (50, 10, 48, 50, 35, 66, 50, 64, 66, 12, 62, 88, 90),
    "penguin": (44, 6, 36, 40, 14, 36, 42, 34, 54, 4, 32, 96, 90),
    "penguin@noto-v1": (44, 6, 36, 40, 15, 38, 46, 36, 44, 4, 36, 96, 90),
    "penguin@twemoji": (48, 6, 36, 46, 11, 36, 50, 26, 44, 12, 26, 88, 92),
    "penguin@emojione": (50, 7, 44, 50, 25, 40, 50, 42, 50, 12, 42, 88, 92),
    "penguin@fxemoji": (50, 6, 40, 50, 18, 38, 50, 37, 50, 8, 36, 92, 90),
    "sauropod": (25, 4, 22, 25, 12, 24, 10, 38, 18, 22, 52, 80, 84),
    "sauropod@twemoji": (28, 6, 26, 30, 7, 28, 14, 36, 24, 8, 46, 78, 86),
    "tyrannosaur": (24, 6, 28, 22, 9, 30, 38, 34, 30, 34, 24, 76, 66),
    "tyrannosaur@twemoji": (24, 8, 26, 22, 13, 30, 44, 34, 30, 32, 30, 80, 78),
    "duck": (42, 5, 28, 36, 13, 32, 42, 37, 26, 16, 38, 94, 78),
    "duck@noto-v1": (30, 5, 22, 28, 9, 26, 32, 33, 22, 16, 36, 90, 76),
    "duck@twemoji": (30, 6, 26, 26, 13, 30, 24, 44, 26, 12, 46, 98, 98),
    "tiger": (26, 12, 30, 16, 27, 32, 32, 50, 32, 26, 34, 88, 74),
    "tiger@noto-v1": (32, 9, 36, 26, 24, 40, 36, 56, 44, 24, 52, 88, 82),
    "tiger@twemoji": (16, 8, 24, 12, 22, 26, 24, 46, 26, 26, 14, 96, 68),
    "tiger@emojione": (56, 7, 50, 56, 32, 52, 57, 72, 54, 26, 70, 90, 96),
    "tiger@fxemoji": (14, 10, 22, 9, 26, 24, 22, 42, 22, 20, 10, 84, 64),
    "cow": (26, 9, 24, 18, 22, 30, 34, 42, 28, 32, 24, 94, 68),
    "cow@noto-v1": (26, 8, 32, 24, 28, 36, 34, 58, 36, 40, 24, 90, 78),
    "cow@twemoji": (22, 8, 24, 22, 22, 28, 36, 50, 32, 34, 16, 98, 80),
    "cow@emojione": (38, 7, 30, 38, 35, 50, 38, 76, 50, 16, 76, 88, 92),
    "cow@fxemoji": (22, 9, 24, 16, 24, 26, 32, 42, 26, 26, 16, 98, 80),
    "pig": (34, 8, 40, 26, 46, 40, 32, 76, 52, 50, 12, 94, 80),
    "pig@noto-v1": (30, 8, 40, 26, 39, 40, 30, 70, 50, 40, 12, 90, 84),
    "pig@twemoji": (36, 8, 34, 24, 28, 32, 36, 66, 44, 44, 8, 94, 80),
    "pig@emojione": (42, 8, 44, 40, 40, 54, 42, 74, 60, 14, 74, 94, 90),
    "pig@fxemoji": (26, 8, 28, 16, 31, 28, 30, 58, 34, 36, 8, 92, 76),
    "sheep": (28, 14, 36, 28, 35, 38, 30, 63, 40, 14, 62, 94, 90),
    "sheep@noto-v1": (34, 26, 36, 35, 42, 36, 36, 65, 40, 16, 62, 92, 84),
    "sheep@twemoji": (18, 28, 26, 12, 38, 28, 24, 60, 30, 34, 30, 96, 78),
    "sheep@emojione": (43, 22, 44, 43, 44, 52, 43, 75, 52, 14, 70, 90, 86),
    "monkey": (32, 11, 36, 32, 34, 38, 34, 60, 36, 22, 62, 66, 90),
    "monkey@noto-v1": (54, 9, 42, 55, 34, 42, 55, 63, 44, 32, 62, 78, 86),
    "monkey@twemoji": (24, 8, 30, 16, 21, 32, 38, 46, 38, 40, 44, 82, 82),
    "monkey@emojione": (35, 8, 38, 36, 30, 40, 36, 60, 40, 20, 60, 84, 88),
    "monkey@fxemoji": (54, 10, 38, 53, 32, 38, 54, 54, 40, 34, 56, 74, 82),
}  # fmt: skip

# Height of the eyes in a face, in percent of its box, where it is not the usual.
_EYES = 44
_EYES_OF: dict[str, int] = {
    "rabbit_face": 62, "pig_face": 44, "frog_face": 22, "cow_face": 40, "monkey_face": 40, "bear_face": 44,
}  # fmt: skip
# Where a head begins and how wide a hat is there, where the silhouette does not tell: ears that touch, eyes on top.
_HATS_OF: dict[str, tuple[float, float]] = {"rabbit_face@fxemoji": (0.42, 0.56), "frog_face": (0.10, 0.42)}
FACE = "_face"


@cache
def anchors(glyph: str) -> Anchors:
    """Return a live glyph's anchors; raises KeyError for a glyph that wears nothing."""
    if glyph.partition("@")[0].endswith(FACE):
        return _of_face(glyph)
    p = [number / 100 for number in _BODIES[glyph]]
    # On the small heads of whole bodies things are worn a little large, so that they are seen.
    least = GLYPH / sprite(glyph).width
    hat, eyes, neck = (max(1.14 * p[2], 0.30 * least), max(1.1 * p[5], 0.28 * least), max(p[8], 0.26 * least))
    return Anchors((p[0], p[1], hat), (p[3], p[4], eyes), (p[6], p[7], neck), (p[9], p[10], p[11], p[12]))


def _of_face(glyph: str) -> Anchors:
    """A hat sits where the head begins between the ears, glasses at the eyes, a scarf under the chin."""
    alpha = sprite(glyph).silhouette  # (h, w) of the box
    height, width = alpha.shape
    middle = alpha[:, int(0.44 * width) : int(0.56 * width)].min(axis=1)
    top = int(np.argmax(middle > 0.5)) / height
    hat: tuple[float, float] = _HATS_OF.get(glyph) or _HATS_OF.get(glyph.partition("@")[0]) or (top + 0.06, 0.56)
    eyes = _EYES_OF.get(glyph.partition("@")[0], _EYES) / 100
    low = alpha[int(0.8 * height)] > 0.5
    columns = np.flatnonzero(low)
    chin = (columns[-1] - columns[0] + 1) / width if columns.size else 0.6
    return Anchors((0.5, *hat), (0.5, eyes, 0.66), (0.5, 0.95, min(0.95 * chin, 0.72)), None)
