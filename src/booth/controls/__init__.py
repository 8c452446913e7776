"""Controls: what makes the control image that a ControlNet follows, one a file."""
