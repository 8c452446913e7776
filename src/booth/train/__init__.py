"""One training loop for every method, and what happens between its steps: checkpoints, recovery, previews."""
