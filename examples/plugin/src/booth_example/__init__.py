"""Plug-ins for booth; pyproject.toml says which, and booth finds them there."""
