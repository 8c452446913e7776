"""Many subjects on many machines: a manifest in, a concept of each out, and nothing done twice or lost."""
