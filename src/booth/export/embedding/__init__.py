"""A token's rows."""
