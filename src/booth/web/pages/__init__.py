"""One file a page: its addresses, what it shows and what can be done there."""
