"""Writes docs/studies/studio.md from what was measured of the studio.

python benchmarks/studio_page.py --page docs/studies/studio.md
"""

from __future__ import annotations

import argparse
import json
from pathlib import Path
from typing import Any

ROOT = Path(__file__).parent.parent
FAULTS, SPEED = ROOT / "results" / "studio_faults.json", ROOT / "results" / "studio_speed.json"
NAMES = {
    "server": "the server killed (SIGKILL), and started again",
    "worker": "the process of a job killed (SIGKILL)",
    "disk": "the disk full to the last byte for a while",
    "vanished": "a file gone: index, state, log, lock, thumbnail, picture, checkpoint",
    "second": "a second server on the same folder",
}


def page(faults: dict[str, Any], speed: dict[str, Any] | None) -> str:
    """The page as Markdown; without what it costs where that was not measured."""
    ending = faults["ending"]
    lines = [
        f"# What the studio survives{'' if speed is None else ', and what it costs'}",
        "",
        f"{faults['faults']} faults were injected at random moments into a studio at work, in "
        f"{_counted(len(faults['campaigns']), 'campaign')}: trainings and drawings of a "
        "tiny random base, one after another. After each it was looked at whether the studio answers, whether every "
        "job that it calls active has its process and every process its job, and whether each photo, picture and "
        "checkpoint that had been there is still there, by SHA-256. What a fault took itself is not counted as lost.",
        "",
        "| fault | injected | false states | pictures lost | checkpoints lost | seconds until all was true |",
        "| --- | ---: | ---: | ---: | ---: | ---: |",
    ]
    for line in faults["table"]:
        lines.append(
            f"| {NAMES[line['fault']]} | {line['injected']} | {line['false_states']} | {line['pictures_lost']} | "
            f"{line['checkpoints_lost']} | median {line['median_seconds']}, most {line['most_seconds']} |"
        )
    lines += [
        "",
        f"In the end {ending['trainings_done']} trainings, an undisturbed one among them, and "
        f"{ending['drawings_done']} drawings were done, each after it was taken up again as often as a fault had ended "
        f"it; {_counted(ending['jobs_whose_record_vanished'], 'job')} went with its record, which a fault took. "
        f"The files of {ending['with_the_weights_of_the_undisturbed']} of the trainings are those of the undisturbed "
        "one, byte for "
        f"byte. Problems found: {'none' if not _problems(faults) else '; '.join(_problems(faults))}."
        + "".join(f" {c['note']}" for c in faults["campaigns"] if c.get("note")),
        "",
        f"It took {faults['seconds']} s on a machine that did other work too, and {faults['cpu_seconds']} s of one "
        f"core. The disk: {faults['disk']}. Servers and workers were forked from a process that had the libraries "
        "loaded, and are otherwise what `booth serve` and `python -m booth` are. To repeat it:",
        "",
        "```sh",
        "python benchmarks/studio_faults.py --out results/studio_faults.json",
        "```",
        "",
    ]
    return "\n".join(lines + (_costs(speed) if speed is not None else []))


def _counted(count: int, thing: str) -> str:
    return f"{count} {thing}{'' if count == 1 else 's'}"


def _problems(faults: dict[str, Any]) -> list[str]:
    return [*faults["problems"], *faults["ending"]["problems"]]


def _costs(speed: dict[str, Any]) -> list[str]:
    cost = speed["overhead"]
    low, high = cost["interval"]
    return [
        "## What it costs",
        "",
        "In one training on the embedded base the server that follows it, with a page's stream open, was stopped and "
        f"let go on in turns. {cost['steps']['watched']} steps with it took {cost['seconds_a_step']['watched']:.3f} s "
        f"each in the median, {cost['steps']['alone']} without it {cost['seconds_a_step']['alone']:.3f} s: "
        f"{cost['slower']:+.1%} [{low:+.1%}, {high:+.1%}]. While it followed, the server took "
        f"{cost['processor_share']:.1%} of one core.",
        "",
        f"First contentful paint in chromium, the median of {speed['opened']} openings with an empty cache, and what a "
        "page transfers without its pictures (limits: 1 s and 150 kB):",
        "",
        "| page | first paint | transferred |",
        "| --- | ---: | ---: |",
        *(f"| `{p['page']}` | {p['first_paint_ms']} ms | {p['bytes'] / 1000:.0f} kB |" for p in speed["pages"]),
        "",
        f"Machine: {speed['cores']} cores at a load of {speed['load'][0]}. To repeat it:",
        "",
        "```sh",
        "python benchmarks/studio_speed.py --out results/studio_speed.json",
        "python benchmarks/studio_page.py --page docs/studies/studio.md",
        "```",
        "",
    ]


def written() -> str:
    """The page of the results that are kept."""
    return page(json.loads(FAULTS.read_text()), json.loads(SPEED.read_text()) if SPEED.is_file() else None)


def main() -> None:
    """Write it."""
    parser = argparse.ArgumentParser(description="Write the page on what the studio survives and costs.")
    parser.add_argument("--page", type=Path, default=ROOT / "docs" / "studies" / "studio.md")
    parser.parse_args().page.write_text(written(), encoding="utf-8")


if __name__ == "__main__":
    main()
