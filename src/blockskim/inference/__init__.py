"""From a model and windows to the candidate answers of every example."""
