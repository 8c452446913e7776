"""Writes docs/studies/time-to-subject.md from what benchmarks/time_to_subject.py measured.

python benchmarks/time_to_subject_page.py
"""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any

from booth.compare.study_page import of_an_earlier_base
from booth.families.loading import EMBEDDED_FOLDER, base_hash

ROOT = Path(__file__).parent.parent
MEASURED = ROOT / "results" / "time_to_subject.json"
PAGE = ROOT / "docs" / "studies" / "time-to-subject.md"
OURS = "script at booth's settings"
ARMS = {
    "script": "diffusers' script, its documented settings",
    "booth": "`booth train`, its defaults",
    OURS: "diffusers' script, booth's rank, rate and batch",
}
FOUND = """
At the settings that it documents the script has learned next to nothing in 500 steps: three drawings of eighty. At
booth's rank, rate and batch it learns, and booth has passed its end by the second when its first checkpoint is written:
what differs then is that booth draws timesteps that lean to noise on this base
([why](../decisions/small-base-defaults.md)), adapts the feed-forward layers as well as attention, and holds the class
by as many class rows. Which of them makes the difference was not taken apart. A step of booth's, class rows and all,
took a tenth longer than one of the script's at these settings; booth's seconds hold four samples and a whole concept,
the script draws nothing.

Not everything is better: with 500 steps at booth's settings the script draws the boot rightly four times of ten more
often than booth does with 200, and the clock once more; dog, boot and sneaker were drawn better by booth after 150 or
100 steps than after 200, and the cat hardly by anyone, because the base itself hardly draws one.

Read first: these are eight subjects with one training seed and ten drawings each, so that .0125 of the mean is one
drawing. The same command with `--subjects 10` goes on with what is there, seven minutes a subject on such cores. The
machine's own speed moves: the same 500 steps at booth's settings took from 115 to 142 s, subject by subject.
"""


def page(measured: dict[str, Any]) -> str:
    """The page as Markdown."""
    about, mean, subjects = measured["about"], measured["mean"], measured["subjects"]
    settings = {arm: ", ".join(f"{k} {v}" for k, v in values.items()) for arm, values in about["settings"].items()}
    lines = [
        "# How soon is a subject learned?",
        "",
        *([of_an_earlier_base("All of it was"), ""] if about["base"] != base_hash(EMBEDDED_FOLDER) else []),
        f"diffusers' LoRA script and `booth train` teach the same {len(subjects)} held-out subjects to the embedded "
        f"base from the same five photos each, in turns, on {about['cores']} cores that do nothing else "
        "(`benchmarks/time_to_subject.py`, [results](../../results/time_to_subject.json)). What was learned by a "
        f"checkpoint is drawn in {about['drawings']} scenes; joint success is the share of drawings with the same "
        "individual in the scene asked for. Seconds are from the command to its end, had that been the last step.",
        "",
        f"The script's documented settings are {settings['script']}; after {_last(mean['script'])[0]} steps they have "
        f"a joint success of {_last(mean['script'])[2]:.3f}, in {mean['documented']['script']:.0f} s. "
        + _reached(mean["documented"])
        + f" {settings[OURS]}, as booth has them, have {_last(mean[OURS])[2]:.3f}, in {_last(mean[OURS])[1]:.0f} s. "
        + _reached(mean["target"]),
        "",
        "| | subjects | steps | seconds | joint success |",
        "| --- | ---: | ---: | ---: | ---: |",
    ]
    for arm, title in ARMS.items():
        if arm in mean:
            lines += [
                f"| {title} | {mean[arm]['subjects']} | {step} | {seconds:.1f} | {joint:.2f} |"
                for step, seconds, joint in mean[arm]["curve"]
            ]
    lines += ["", "Subject by subject, the joint success of the last checkpoint:", ""]
    lines += [f"| | {' | '.join(ARMS.values())} |", "| --- | ---: | ---: | ---: |"]
    for name, arms in subjects.items():
        lines.append(f"| {name} | {' | '.join(f'{_last(arms[arm])[2]:.1f}' for arm in ARMS)} |")
    return "\n".join([*lines, "", FOUND.strip(), ""])


def _reached(target: dict[str, Any]) -> str:
    if target["booth"] is None:
        return "booth does not reach that in the steps that were measured."
    when = f"after {target['booth']:.0f} s, {target['steps']} steps"
    return f"booth has as much {when}: **{target['ratio']:.2f} of the time**."


def _last(arm: dict[str, Any]) -> list[float]:
    return arm["curve"][-1]


def main() -> None:
    PAGE.write_text(page(json.loads(MEASURED.read_text(encoding="utf-8"))), encoding="utf-8")


if __name__ == "__main__":
    main()
