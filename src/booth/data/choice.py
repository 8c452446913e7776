"""Which of several folders of photos are meant."""

from __future__ import annotations

from dataclasses import dataclass, field
from pathlib import Path

from booth.core.places import printable
from booth.data.home import Home
from booth.data.roles import LEFT_OUT, kohya, role_below, role_of


@dataclass
class Choice:
    """The folders that are used, and why others are not."""

    chosen: list[Home] = field(default_factory=list[Home])
    ignored: list[tuple[Home, str]] = field(default_factory=list["tuple[Home, str]"])
    classes: set[str] = field(default_factory=set[str])  # what the folders of class pictures are called
    problem: str = ""  # a sentence without a subject


def choose(source: Path, homes: list[Home]) -> Choice:
    """Tell subjects from class pictures and the rest, and decide between folders; `homes` all hold photos."""
    choice = Choice(classes=_classes(source, homes))
    for home in homes:
        home.role, home.told_by = role_below(home.folder, source)
    always = [h for h in homes if h.role == "class pictures" and h.folder != source]
    others = [h for h in homes if h not in always and h.role in LEFT_OUT]
    free = [h for h in homes if h not in always and h not in others]
    if not free:  # a name proves nothing where there are no other photos
        free, others = others, []
    unread = [h for h in free if not h.is_readable] if any(h.is_readable for h in free) else []
    free = [h for h in free if h not in unread]
    choice.ignored = [(h, LEFT_OUT[h.role].format(name=printable(h.told_by))) for h in (*always, *others) if h.role]
    choice.ignored += [(h, "pictures of kinds that booth does not read, beside others that it does") for h in unread]
    if not free:
        if always:
            choice.problem = (
                f"holds no photos of a subject: those in {_names(always)} are class pictures by their folder's name; "
                "name that folder itself if they show the subject"
            )
        return choice
    _decide(source, free, choice)
    return choice


def _decide(source: Path, free: list[Home], choice: Choice) -> None:
    """Choose among the folders that may show the subject."""
    named = {id(h): k for h in free if (k := kohya(h.folder)) is not None}
    taught = [h for h in free if id(h) in named and named[id(h)].subject(choice.classes)[1]]
    nouns = {named[id(h)].subject(choice.classes)[1] for h in taught}
    # Beside "10_sks dog", a folder "1_dog" holds class pictures; elsewhere one word is a concept of its own.
    plain = [h for h in free if id(h) in named and h not in taught]
    of_class = [h for h in plain if named[id(h)].words in nouns]
    concepts = [h for h in free if id(h) in named and h not in of_class]
    own = next((h for h in free if h.folder == source), None)
    rest = [h for h in free if h not in concepts and h not in of_class]
    choice.ignored += [(h, LEFT_OUT["class pictures"].format(name="the class noun")) for h in of_class]
    if own is not None and (not taught or taught == [own]):
        choice.chosen = [own]
        choice.ignored += [(h, "not the folder that is used") for h in free if h not in (own, *of_class)]
    elif own is not None:
        choice.problem = f"holds photos itself and in kohya folders ({_names(taught)}); name the one that you mean"
    elif concepts:
        choice.chosen = concepts
        choice.ignored += [(h, "not the folder that is used") for h in rest]
    else:
        of_subjects = [h for h in rest if h.role == "subjects"] if len(rest) > 1 else []
        if len(rest) == 1 or len(of_subjects) == 1:
            choice.chosen = of_subjects or rest
            choice.ignored += [(h, "not the folder that is used") for h in rest if h not in choice.chosen]
        else:
            choice.problem = (
                f"holds no photos itself, but several of its folders do ({_names(rest)}); name the one that you mean"
            )


def _classes(source: Path, homes: list[Home]) -> set[str]:
    """What the class pictures' own folders are called: "dog" of reg/1_dog or reg/dog."""
    found: set[str] = set()
    for home in homes:
        if role_below(home.folder, source)[0] == "class pictures" and role_of(home.folder.name) is None:
            named = kohya(home.folder)
            found.add(named.words if named else home.folder.name)
    return found


def _names(homes: list[Home]) -> str:
    more = f" and {len(homes) - 5} more" if len(homes) > 5 else ""
    return ", ".join(printable(h.folder.name) for h in homes[:5]) + more
