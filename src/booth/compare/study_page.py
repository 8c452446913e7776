"""A study as a page: what was asked and expected, its tables from the runs, and what was found."""

from __future__ import annotations

import json
import math
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from booth.compare.experiment import ARMS, PHOTOGRAPHS, UNTOUCHED, Setting, Study, run_file, runs_of
from booth.compare.study_run import encoders_of
from booth.core.statistics import Difference, interval, paired_t
from booth.evaluate.measure import label_of
from booth.evaluate.report.files import write_whole
from booth.families.loading import EMBEDDED, base_hash, resolve_base
from booth.registry import ENCODERS, METRICS

MEGABYTE = 1_000_000
SHEETS = "sheets"  # folder of contact sheets beside the pages
EARLIER = "earlier-base"  # folder beside the runs, of those on an embedded base before this one
# What a run tells beside its metrics: heading, key, divisor, decimals.
COSTS = (("seconds", "seconds", 1, 0), ("peak MB", "peak_memory_bytes", MEGABYTE, 0))
SIZE = ("file MB", "artifact_bytes", MEGABYTE, 3)

Run = dict[str, Any]


@dataclass(frozen=True)
class Figures:
    """What the runs of a study say, subject by subject."""

    study: Study
    runs: Sequence[Run]

    def of(self, arm: str, metric: str, guidance: float) -> dict[str, float]:
        """Means over seeds, by subject."""
        found: dict[str, list[float]] = {}
        for run in self.runs:
            value = value_of(run, metric, guidance) if run["arm"]["name"] == arm else None
            if value is not None:
                found.setdefault(run["subject"], []).append(value)
        return {subject: math.fsum(values) / len(values) for subject, values in found.items()}

    def paired(self, first: str, second: str, metric: str, guidance: float) -> Difference | None:
        """first - second over the subjects that both were taught; None for fewer than two."""
        a, b = self.of(first, metric, guidance), self.of(second, metric, guidance)
        both = [s for s in a if s in b]
        return paired_t([a[s] for s in both], [b[s] for s in both]) if len(both) > 1 else None

    def count(self, arm: str) -> int:
        """Finished runs of an arm."""
        return sum(run["arm"]["name"] == arm and run["status"] == "done" for run in self.runs)


def read_figures(study: Study, results: Path) -> Figures:
    """The runs of the subjects that every arm with runs has been taught, so that means are over the same.

    Runs on two bases are never mixed: until every arm has been run again, those on the earlier one stand.
    """
    runs, earlier = _runs_in(results, study), _runs_in(results / EARLIER, study)
    if not _arms_of(earlier) <= _arms_of(runs):
        runs = earlier
    taught: dict[str, set[str]] = {}
    for run in runs:
        if run["status"] == "done":
            taught.setdefault(run["arm"]["name"], set()).add(run["subject"])
    shared = set[str].intersection(*taught.values()) if taught else set[str]()
    return Figures(study, [run for run in runs if run["status"] == "failed" or run["subject"] in shared])


def _runs_in(results: Path, study: Study) -> list[Run]:
    seeds = [0, *study.seeds]
    files = {run_file(results, s, arm, seed) for s in study.subjects for arm in study.arms for seed in seeds}
    return [json.loads(f.read_text()) for f in sorted(files) if f.is_file()]


def _arms_of(runs: Sequence[Run]) -> set[str]:
    return {run["arm"]["name"] for run in runs if run["status"] == "done"}


def value_of(run: Run, metric: str, guidance: float) -> float | None:
    """A metric, or a cost such as seconds; of several encoders the one that is named, else the first."""
    if metric in run:
        return None if run[metric] is None else float(run[metric])
    scores: Mapping[str, Any] = run.get("metrics", {}).get(f"{guidance:g}", {})
    return next((s["value"] for name, s in scores.items() if metric in (name, name.rpartition("/")[0])), None)


def study_page(study: Study, setting: Setting, results: Path, folder: Path) -> str:
    """The page in Markdown, to lie in `folder`; contact sheets that are there are shown."""
    figures = read_figures(study, results)
    parts = [
        f"# {study.title}",
        *_of_an_earlier_base(figures, setting),
        f"**Asked.** {study.question}\n\n**Expected.** {study.expected}",
        f"**Found.** {study.found or 'Not run yet.'}",
        f"**What would change the conclusion.** {study.would_change}",
    ]
    for guidance in study.guidance:
        at = f" at guidance {guidance:g}" if len(study.guidance) > 1 else ""
        parts += [f"## The arms{at}\n\n{_arms(figures, guidance)}"]
        if study.pairs:
            parts += [f"## Paired differences{at}\n\n{_pairs(figures, guidance)}"]
    sheets = sorted((folder / SHEETS).glob(f"{study.name}-*.jpg"))
    parts += ["## Drawings\n\n" + "\n\n".join(f"![{s.stem}]({SHEETS}/{s.name})" for s in sheets)] if sheets else []
    parts += [f"## How it was done\n\n{_how(figures, setting)}"]
    return "\n\n".join(parts) + "\n"


def on_an_earlier_base(figures: Figures, setting: Setting) -> int:
    """How many of the runs are on an embedded base that has been replaced since."""
    if setting.base != EMBEDDED:
        return 0
    now = base_hash(resolve_base(EMBEDDED))
    return sum(run["base"] != now for run in figures.runs)


def _of_an_earlier_base(figures: Figures, setting: Setting) -> list[str]:
    """What a reader has to know first, where runs are of an embedded base that has been replaced since."""
    earlier = on_an_earlier_base(figures, setting)
    if not earlier:
        return []
    which = "All of it was" if earlier == len(figures.runs) else f"{earlier} of the {len(figures.runs)} runs were"
    return [of_an_earlier_base(which)]


def of_an_earlier_base(which: str) -> str:
    """What heads a page of figures on an embedded base that has been replaced; `which` is "All of it was", say."""
    return f"**Of an earlier base.** {which} measured on an embedded base that has been replaced since."


def _arms(figures: Figures, guidance: float) -> str:
    study = figures.study
    costs = [*COSTS, SIZE]
    head = ["arm", "runs", *map(heading, study.columns), *(c[0] for c in costs)]
    rows: list[list[str]] = []
    for arm in study.arms:
        cells = [_with_interval(list(figures.of(arm, m, guidance).values())) for m in study.columns]
        if any(cells):
            rows.append([f"`{arm}`", str(figures.count(arm)), *cells, *(_cost(figures, arm, *c[1:]) for c in costs)])
    return _table(head, rows)


def _pairs(figures: Figures, guidance: float) -> str:
    study = figures.study
    rows: list[list[str]] = []
    for first, second in study.pairs:
        found = [figures.paired(first, second, m, guidance) for m in study.columns]
        if any(found):
            rows.append([f"`{first}` - `{second}`", *(_shown(d) for d in found)])
    return _table(["difference", *map(heading, study.columns)], rows)


def heading(metric: str) -> str:
    """What the field calls a metric, with an arrow to the better side."""
    name, *rest = metric.split("/")
    if name not in METRICS:
        return metric
    by = f", by {rest.pop()}" if rest and rest[-1] in ENCODERS else ""
    return f"{label_of(name, '/'.join(rest), {})}{by} {'↑' if METRICS[name].better == 'higher' else '↓'}"


def _with_interval(values: list[float]) -> str:
    if not values:
        return ""
    mean = f"{math.fsum(values) / len(values):.3f}"
    low, high = interval(values)
    return mean if len(values) == 1 else f"{mean} [{low:.3f}, {high:.3f}]"


def _shown(found: Difference | None) -> str:
    if found is None:
        return ""
    text = f"{found.mean:+.3f} [{found.low:+.3f}, {found.high:+.3f}]"
    return text if found.is_noise else f"**{text}**"


def _cost(figures: Figures, arm: str, key: str, unit: int, decimals: int) -> str:
    values = list(figures.of(arm, key, figures.study.guidance[0]).values()) if arm != UNTOUCHED else []
    return f"{math.fsum(values) / len(values) / unit:.{decimals}f}" if values else ""


def _how(figures: Figures, setting: Setting) -> str:
    study, done = figures.study, [run for run in figures.runs if run["status"] == "done"]
    if not done:
        return "There is no run yet."
    asked = len(set(runs_of(study)))
    first = done[0]
    subjects = len({run["subject"] for run in done})
    commits = sorted({_revision(run) for run in done})
    paragraphs = [
        f"{len(done)} of {asked} runs: {subjects} subjects, {_seeds(done)}, each method at its defaults "
        f"on the base `{setting.base}` unless its name says otherwise ([arms.toml](../../experiments/{ARMS})).",
        f"{len(setting.prompts)} prompts, one drawing each with seed 0, {setting.steps} denoising steps; "
        f"{setting.drift} drawings of the class and as many of unrelated prompts for drift.",
        "Means over seeds, then over the subjects that all arms were taught, with 95 % bootstrap intervals over "
        "subjects where there are several. A difference is paired by subject and bold where Student's 95 % interval, "
        "which stands beside it, leaves out zero: a bootstrap of a few subjects is too sure.",
        "Seconds are those of one thread beside other work: they say more of arms beside one another than of "
        "themselves. Peak memory has the study's encoders in it, and runs that did not count it from their own start "
        "are not in its mean.",
        f"Encoders: {', '.join(encoders_of(done))}. Device: {first['device']}, {first['threads']} thread(s) a run, "
        f"torch {first['versions']['torch']}. Commits: {', '.join(commits)}.",
    ]
    if any(run["subject"].startswith(PHOTOGRAPHS) for run in done):
        paragraphs.append(
            "Drawings of photographs are compared with the photographs that were learned from, which rewards copying; "
            "those of the world's subjects with renders that were not."
        )
    failed = [run for run in figures.runs if run["status"] == "failed"]
    paragraphs += [
        f"Failed: `{r['arm']['name']}` on {r['subject']} with seed {r['seed']}: {r['error']}" for r in failed
    ]
    return "\n\n".join([paragraphs[0] + " " + paragraphs[1], *paragraphs[2:]])


def _seeds(runs: Sequence[Run]) -> str:
    seeds = sorted({r["seed"] for r in runs if r["arm"]["name"] != UNTOUCHED})
    return f"training seed{'' if len(seeds) == 1 else 's'} {', '.join(map(str, seeds))}"


def _revision(run: Run) -> str:
    return f"{(run['commit'] or 'unknown')[:8]}{' and changes' if run['dirty'] else ''}"


def _table(head: Sequence[str], rows: Sequence[Sequence[str]]) -> str:
    lines = [f"| {' | '.join(head)} |", f"|{'|'.join('---' if i == 0 else '--:' for i in range(len(head)))}|"]
    return "\n".join([*lines, *(f"| {' | '.join(row)} |" for row in rows)])


def write_pages(studies: Sequence[Study], setting: Setting, results: Path, folder: Path) -> list[Path]:
    """A page a study; their files."""
    folder.mkdir(parents=True, exist_ok=True)
    pages = [folder / f"{study.name}.md" for study in studies]
    for study, page in zip(studies, pages, strict=True):
        write_whole(page, study_page(study, setting, results, folder))
    return pages
