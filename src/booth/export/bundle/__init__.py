"""An adapter and its token in one file."""
