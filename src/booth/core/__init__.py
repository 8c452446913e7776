"""The nouns: errors, randomness, sites, noising, families, methods, batches, concepts."""
