"""Concepts out into the files that other programs read, proved to work there."""
