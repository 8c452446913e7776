"""The functions of the public face, such as `booth.train`: thin ways to the rooms that do the work.

Nothing heavy is imported before one is called.
"""

from __future__ import annotations

import importlib

# These rooms share their names with functions of the public face. Python binds a room to its package when it is first
# imported; imported here, light as they are, they do not take the functions' places later.
for _room in ("compare", "evaluate", "families", "generate", "methods", "train"):
    importlib.import_module(f"booth.{_room}")
