"""What other programs make of a file, written from the formats' descriptions and never from our writers."""
