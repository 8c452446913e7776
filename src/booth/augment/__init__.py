"""More pictures of the scarce classes of a labelled set, and the proof whether a classifier gains by them."""
