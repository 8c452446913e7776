"""What the numbers say in plain words, each sentence with its evidence beside it."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass

from booth.core.json_values import Json
from booth.core.metric import Score
from booth.core.statistics import Difference, difference
from booth.evaluate.measure import Measured
from booth.evaluate.rows import BASE, CONCEPT, IMAGE_ONLY, PROMPT_ONLY

NOISE = 0.01  # gaps of this size between mean cosines or shares are noise, whatever the bootstrap says
HALF = 0.5
PLACES = "Use photos in different places, masks (booth mask), or `crop=subject`."


@dataclass(frozen=True)
class Verdict:
    """One finding. `kind` is learned, not_yet, overfitted, leaks, drifted, copies, background, bleeds or apart."""

    kind: str
    sentence: str
    good: bool
    evidence: tuple[str, ...]  # names of scores
    photo: int | None = None  # counted from 1

    def to_json(self, rows: Mapping[str, Measured]) -> dict[str, Json]:
        """Plain values, with the numbers of the concept and of the references."""
        numbers = {
            name: {row: round(m.scores[name].value, 4) for row, m in rows.items() if name in m.scores}
            for name in self.evidence
        }
        values = {"kind": self.kind, "sentence": self.sentence, "good": self.good, "evidence": numbers}
        return values | ({"photo": self.photo} if self.photo else {})


def verdicts(rows: Mapping[str, Measured], noun: str) -> list[Verdict]:
    """All findings, the one on learning first."""
    found = [*_learning(rows), *_leak(rows, noun), *_drift(rows, noun), *_copies(rows)]
    found += [*_background(rows), *_bleeding(rows)]
    return [verdict for verdict in found if verdict is not None]


def gain(rows: Mapping[str, Measured], name: str, over: str = BASE) -> Difference | None:
    """The concept's score minus another row's, prompt by prompt."""
    first, second = (rows[row].scores.get(name) for row in (CONCEPT, over))
    if first is None or second is None or len(first.units) != len(second.units) or not first.units:
        return None
    return difference(first.units, second.units)


def _learning(rows: Mapping[str, Measured]) -> list[Verdict]:
    """Learned, not yet, or overfitted: the subject against the base, the prompt against base and photos."""
    subject = rows[CONCEPT].first("subject_similarity")
    risen = gain(rows, subject.name) if subject else None
    if subject is None or risen is None:
        return []
    joint = rows[CONCEPT].first("joint")
    names = (*((joint.name,) if joint else ()), subject.name)
    facts = f"{_shown(subject)}, where the untouched base has {_of(rows, BASE, subject)}"
    ceiling = rows[IMAGE_ONLY].scores.get(subject.name)
    if ceiling is not None:
        facts += f" and the photos among themselves {ceiling.value:.3f}"
    if risen.low <= 0 or risen.mean < NOISE:
        more = "the subject is no more like the photos than what the base draws anyway"
        return [Verdict("not_yet", f"Not yet: {more} ({facts}). Train longer or faster.", False, names)]
    kept = _prompt_kept(rows)
    if kept is not None and kept[1] < HALF:
        sentence = (
            f"Overfitted: the subject is there ({facts}), but the prompts are hardly followed any more: of the way "
            f"from the photos (0) to the base (1) only {max(0.0, kept[1]):.0%} is left. Use fewer steps or a lower "
            "strength."
        )
        return [Verdict("overfitted", sentence, False, (*names, kept[0]))]
    share = f" In {joint.value:.0%} of the pictures subject, scene and edit are right together." if joint else ""
    evidence = (*names, kept[0]) if kept else names
    return [Verdict("learned", f"Learned: {facts}.{share}", True, evidence)]


def _prompt_kept(rows: Mapping[str, Measured]) -> tuple[str, float] | None:
    """How much of what sets a followed prompt off from an ignored one is left; None while nothing was lost for sure.

    The measure runs from 0, the photos whatever the prompt, to 1, the base at the prompt without the token.
    """
    score = rows[CONCEPT].first("prompt_similarity", "token_dropped")
    if score is None:
        return None
    ignored, followed = (rows[row].scores.get(score.name) for row in (IMAGE_ONLY, PROMPT_ONLY))
    if ignored is None or followed is None or followed.value - ignored.value < NOISE:
        return None
    lost = gain(rows, score.name, over=PROMPT_ONLY)
    share = (score.value - ignored.value) / (followed.value - ignored.value)
    return score.name, share if lost is not None and lost.high < 0 else 1.0


def _leak(rows: Mapping[str, Measured], noun: str) -> list[Verdict]:
    score = rows[CONCEPT].first("preservation")
    leaked = gain(rows, score.name) if score else None
    if score is None or leaked is None or leaked.low <= 0 or leaked.mean < NOISE:
        return []
    sentence = (
        f'Leaks into "a {noun}": pictures of any {noun} have come nearer to the subject ({_shown(score)}, base '
        f"{_of(rows, BASE, score)}). Train with prior preservation (`prior_weight=1`)."
    )
    return [Verdict("leaks", sentence, False, (score.name,))]


def _drift(rows: Mapping[str, Measured], noun: str) -> list[Verdict]:
    """Drift where it is beyond the bootstrap error: the interval lies above zero."""
    scores = [rows[CONCEPT].first("cmmd", part) for part in ("class", "unrelated")]
    moved = [s for s in scores if s is not None and s.low > 0]
    if not moved:
        return []
    where = " and ".join(
        {"class": f"other pictures of a {noun}", "unrelated": "unrelated prompts"}[s.part] for s in moved
    )
    numbers = ", ".join(_shown(s) for s in moved)
    return [Verdict("drifted", f"The model changed for {where} ({numbers}).", False, tuple(s.name for s in moved))]


def _copies(rows: Mapping[str, Measured]) -> list[Verdict]:
    nearest, share = (rows[CONCEPT].first("copying", part) for part in ("nearest", "share"))
    if nearest is None or share is None or share.low <= 0:
        return []
    matches = nearest.details["matches"]
    copied = [photo for photo, _, copy in matches if copy]
    photo = max(set(copied), key=copied.count)
    sentence = (
        f"Copies photo {photo}: {copied.count(photo)} of {len(matches)} pictures are laid out like it "
        f"and nearer to it than any two photos are to each other (cosine above {nearest.details['threshold']:.3f}, "
        f"{share.encoder}). Use fewer steps, or more varied photos."
    )
    return [Verdict("copies", sentence, False, (share.name, nearest.name), photo)]


def _background(rows: Mapping[str, Measured]) -> list[Verdict]:
    """Where the judge names a scene that comes back more often than with the base; else by likeness of backgrounds."""
    score = rows[CONCEPT].first("scene_leak")
    more = gain(rows, score.name) if score else None
    if score is None or more is None or more.low <= 0:
        return _background_by_likeness(rows)
    counts, scenes = score.details["photos"], score.details["scenes"]
    photo = max(counts, key=lambda p: counts[p])
    sentence = (
        f"Photo {photo}'s {scenes[photo]} appears in {counts[photo]} of {score.details['of']} pictures that were to "
        f"show another scene ({_shown(score)}, base {_of(rows, BASE, score)}). {PLACES}"
    )
    return [Verdict("background", sentence, False, (score.name,), int(photo))]


def _background_by_likeness(rows: Mapping[str, Measured]) -> list[Verdict]:
    score = rows[CONCEPT].first("background")
    counts: dict[str, int] = dict(score.details["photos"]) if score else {}
    if score is None or score.low <= 0 or not counts:
        return []
    photo = max(counts, key=lambda p: counts[p])
    sentence = (
        f"Photo {photo}'s background appears in {counts[photo]} of {score.details['of']} pictures ({score.encoder}). "
        f"{PLACES}"
    )
    return [Verdict("background", sentence, False, (score.name,), int(photo))]


def _bleeding(rows: Mapping[str, Measured]) -> list[Verdict]:
    """Against each concept alone; where all were taught in one run, against what the base draws."""
    alone = rows[CONCEPT].first("bleeding")
    score = alone or rows[CONCEPT].first("bleeding", "other")
    if score is None:
        return []
    asked, shown = score.details["worst"]
    against = "each concept alone" if alone else "the untouched base"
    if score.low <= 0 or score.value < NOISE:
        names = ", ".join(score.details["subjects"])
        sentence = (
            f"Used together, {names} stay apart: no more of one shows in another than with {against}, within noise"
        )
        return [Verdict("apart", f"{sentence} ({_shown(score)}).", True, (score.name,))]
    advice = (
        "Draw with lower strengths, or teach them in one run (`also`)." if alone else "Train with prior preservation."
    )
    sentence = (
        f"Bleeds: asked for {asked} only, with all subjects loaded, pictures show more of {shown} than with {against} "
        f"({_shown(score)}). {advice}"
    )
    return [Verdict("bleeds", sentence, False, (score.name,))]


def _shown(score: Score) -> str:
    return f"{score.name} {score.value:.3f} [{score.low:.3f}, {score.high:.3f}]"


def _of(rows: Mapping[str, Measured], row: str, score: Score) -> str:
    other = rows[row].scores.get(score.name)
    return f"{other.value:.3f}" if other else "none"
