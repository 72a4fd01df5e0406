"""The report of one run: what was claimed, what was broken, what the checkers say; as one file, and as lines for a terminal."""
