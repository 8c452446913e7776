"""Families of models, one a file."""

import os

# Closes diffusers' downloader of community pipelines. It is read when diffusers is imported, which no module of this
# package, and none of another room, does before this one is.
os.environ.setdefault("DIFFUSERS_DISABLE_REMOTE_CODE", "1")
