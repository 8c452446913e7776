"""The method race: the same photos, prompts, seeds and budget for every method, and what came of it."""
