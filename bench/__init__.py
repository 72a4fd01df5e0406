"""Benchmarks: `make bench`. Figures are measured and written down, never asserted: machines are noisy, ratios less so."""
