"""Straight line segments by LSD (Grompone von Gioi et al., 2010; IPOL 2012), through OpenCV."""

from __future__ import annotations

import numpy as np
from PIL import Image

from booth.controls.opencv import opencv
from booth.core.control import Control


class Lines(Control):
    """The detected segments, drawn: buildings, rooms and products more than animals."""

    name = "lines"
    title = "Line segment"
    shows = "white straight lines, one pixel wide, on black"

    def __call__(self, picture: Image.Image) -> Image.Image:
        cv2 = opencv(self.title)
        found = cv2.createLineSegmentDetector().detect(np.asarray(picture.convert("L")))[0]
        drawn = np.zeros((picture.height, picture.width), np.uint8)
        for x0, y0, x1, y1 in [] if found is None else np.rint(found.reshape(-1, 4)).astype(int).tolist():
            cv2.line(drawn, (x0, y0), (x1, y1), 255, 1)
        return Image.fromarray(drawn).convert("RGB")
