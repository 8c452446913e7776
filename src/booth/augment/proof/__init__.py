"""Whether a classifier gains by what was made: folds without leaks, cheap arms beside, a verdict in words."""
