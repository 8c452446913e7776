"""Controls: what makes the hint that a ControlNet follows, one a file."""
