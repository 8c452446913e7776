"""How fast this machine teaches and draws, and whether that got worse."""
