"""Concepts on the Hub: the model card, and what is sent."""
