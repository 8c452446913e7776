"""Writes docs/studies/time-to-subject.md from what benchmarks/time_to_subject.py measured.

python benchmarks/time_to_subject_page.py
"""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any

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
At its checkpoint of 250 steps the script at booth's settings has what booth has at the same second; there it stays,
and booth goes on. What differs beside rank, rate and batch: booth draws timesteps that lean to noise on this base
([why](../decisions/small-base-defaults.md)), adapts the feed-forward layers as well as attention, and holds the class
by as many class rows. Which of them makes the difference was not taken apart. booth's seconds hold four samples and a
whole concept; the script draws nothing.

Read first: these are two subjects with one training seed and ten drawings each, so that .05 of the mean is one drawing;
a cat is hard for this base whatever teaches it. Ten subjects would say more: the same command with `--subjects 10`
goes on with what is there, six to seven minutes a subject on such cores.
"""


def page(measured: dict[str, Any]) -> str:
    """The page as Markdown."""
    about, mean, subjects = measured["about"], measured["mean"], measured["subjects"]
    settings = {arm: ", ".join(f"{k} {v}" for k, v in values.items()) for arm, values in about["settings"].items()}
    target = mean["target"]
    lines = [
        "# How soon is a subject learned?",
        "",
        f"diffusers' LoRA script and `booth train` teach the same {len(subjects)} held-out subjects to the embedded "
        f"base from the same five photos each, in turns, on {about['cores']} cores that do nothing else "
        "(`benchmarks/time_to_subject.py`, [results](../../results/time_to_subject.json)). What was learned by a "
        f"checkpoint is drawn in {about['drawings']} scenes; joint success is the share of drawings with the same "
        "individual in the scene asked for. Seconds are from the command to its end, had that been the last step.",
        "",
        f"The script's documented settings are {settings['script']}; after {_last(mean['script'])[0]} steps they have "
        f"a joint success of {_last(mean['script'])[2]:.2f}. {settings[OURS]}, as booth has them, have "
        f"{_last(mean[OURS])[2]:.2f}. What the better of both reaches in {target['script']:.0f} s "
        + (
            f"booth has after {target['booth']:.0f} s, {target['steps']} steps: **{target['ratio']:.2f} of the time**."
            if target["booth"]
            else "booth does not reach in the steps that were measured."
        ),
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


def _last(arm: dict[str, Any]) -> list[float]:
    return arm["curve"][-1]


def main() -> None:
    PAGE.write_text(page(json.loads(MEASURED.read_text(encoding="utf-8"))), encoding="utf-8")


if __name__ == "__main__":
    main()
