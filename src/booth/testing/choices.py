"""What everything holds to that is chosen by name and has settings of its own."""

from __future__ import annotations

import json
from collections.abc import Callable

from booth.core.choice import Choice


def describes_itself(make: Callable[..., Choice]) -> None:
    """Name, title and a first sentence are there, every setting has a default and a meaning, and JSON keeps them."""
    made = make()
    kind = type(made)
    assert kind.name, "name is empty"
    assert kind.title, "title is empty"
    assert kind.__doc__, "there is no docstring, whose first line the reference shows"
    for name, field in kind.model_fields.items():
        assert not field.is_required(), f"the setting {name} has no default"
        assert field.description, f"the setting {name} has no description"
    again = kind(**json.loads(json.dumps(made.model_dump(mode="json"))))
    assert again == made, "its settings are others once they were JSON"
