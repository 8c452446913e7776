"""Whole models in one file, under their authors' names."""
