"""Samplers of timesteps, one a file."""
