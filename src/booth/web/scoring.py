"""What pictures are scored by: the choice of encoders that evaluations, walls and races have, from the registry."""

from __future__ import annotations

from pydantic import BaseModel, Field

from booth.core.errors import NotAvailableError
from booth.web.catalogue import Catalogue
from booth.web.forms import Wrong


class Scoring(BaseModel):
    """What to score with; those that suit the base and are here, if none is named."""

    encoders: list[str] = Field(default_factory=list, max_length=20)


def words(catalogue: Catalogue, scoring: Scoring, alone: bool = False) -> list[str]:
    """The command line's options for it.

    Wrong for an encoder that is none, NotAvailableError for one that is not installed, with what to do; Wrong too for
    such as compare no subjects, where no others stand beside them (`alone`).
    """
    if not scoring.encoders:
        return []
    known = {entry["name"]: entry for entry in catalogue.encoders()}
    for name in scoring.encoders:
        entry = known.get(name)
        if entry is None:
            raise Wrong(
                "encoders", f"There is no encoder {name!r}.", f"There are: {', '.join(known)}.", code="name.unknown"
            )
        if entry["missing"]:
            raise NotAvailableError(entry["missing"], entry["advice"], code="encoder.not_here", field="encoders")
    able = [name for name, entry in known.items() if "subject" in entry["roles"]]
    if alone and not set(able) & {*scoring.encoders}:
        raise Wrong(
            "encoders",
            "None of these encoders compares subjects.",
            f"Add one with `encoders`: {', '.join(able)}.",
            code="encoder.compares_nothing",
        )
    return [f"--encoder={name}" for name in dict.fromkeys(scoring.encoders)]
