"""Questions and texts in, answers out, with what was read of each text; ``evidence`` builds on it."""
