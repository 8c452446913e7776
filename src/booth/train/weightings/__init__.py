"""Weightings of the noise levels, one a file."""
