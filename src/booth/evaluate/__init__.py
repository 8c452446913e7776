"""Measuring what was learned, and what it cost the model."""
