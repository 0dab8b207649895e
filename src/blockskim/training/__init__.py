"""Joint training, and choosing thresholds."""
