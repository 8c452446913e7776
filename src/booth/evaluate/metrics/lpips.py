"""DIV as DreamBooth has it, where the weights of LPIPS are at hand."""

from __future__ import annotations

from statistics import fmean

from PIL.Image import Image

from booth.core.metric import Evidence, Metric, Refused, Score
from booth.evaluate.lpips import Lpips, advice, cached_lpips, file_of


class LpipsDiversity(Metric[None]):
    """Mean LPIPS between pictures of the subject at one prompt (2208.12242, table 3); the part is the network."""

    name = "lpips"
    title = "DIV by LPIPS"
    better = "higher"
    range = (0.0, float("inf"))
    needs = ("drawn",)
    role = None
    source = "2208.12242, 1801.03924"

    def measure(self, evidence: Evidence, encoder: None) -> list[Score]:
        networks = cached_lpips()
        if not networks:
            raise Refused(f"there is no {file_of('alex')}. {advice('alex')}")
        if any(picture.reference is not None for picture in evidence.drawn):
            raise Refused("photos are no drawings of one prompt")
        by_text: dict[str, list[Image]] = {}
        for picture in evidence.drawn:
            by_text.setdefault(picture.prompt, []).append(picture.image)
        several = [images for images in by_text.values() if len(images) > 1]
        if not several:
            raise Refused("there is one picture a prompt; draw at two seeds or more")
        return [self._of(network, several) for network in networks]

    def _of(self, network: Lpips, several: list[list[Image]]) -> Score:
        units = [fmean(network.distances(images)) for images in several]
        return self.score(units, None, network.net, weights=network.weights_hash)
