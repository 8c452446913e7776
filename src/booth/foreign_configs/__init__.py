"""Configurations of other trainers as booth's own."""
