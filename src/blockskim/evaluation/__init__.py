"""Scores and cost of runs: one run, one against dense, many over thresholds."""
