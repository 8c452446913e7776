"""The world's judges as one score a picture: is it the subject of the photos, in what the prompt asks for?"""

from __future__ import annotations

from collections.abc import Callable, Sequence

from PIL.Image import Image

from booth.core.errors import NotAvailableError
from booth.evaluate.judge_input import as_array
from booth.world.judges import FOLDER, Judges

Judge = Callable[[Sequence[Image], Sequence[str]], list[float]]
NAME = "the embedded world's judges"


def subject_and_prompt(
    references: Sequence[Image], token: str
) -> Callable[[Sequence[Image], Sequence[str]], list[float]]:
    """The mean of two cosines: to the reference photos' identity, and to the prompt without the token."""
    if not (FOLDER / "judges.json").is_file():
        raise NotAvailableError(
            f"The embedded judges are not installed ({FOLDER} is missing).", "Reinstall booth.", code="judges.missing"
        )
    judges = Judges()
    known = judges.identities(as_array(references))

    def judge(pictures: Sequence[Image], prompts: Sequence[str]) -> list[float]:
        drawn = as_array(pictures)
        subject = (judges.identities(drawn) @ known.T).mean(1)
        plain = [" ".join(word for word in prompt.split() if word != token) for prompt in prompts]
        return ((subject + judges.agree(drawn, plain)) / 2).tolist()

    return judge
