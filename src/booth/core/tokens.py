"""Rare tokens: words that mean nothing, by which a subject can be called."""

from __future__ import annotations

# Each is a single token of the embedded base; real CLIP has such rows by accident.
RARE_TOKENS = ("sks", "ohwx", "zwx", "bnha", "pll", "ukj", "hta", "xjy", "qvz", "mzt", "vrk", "jwq")
