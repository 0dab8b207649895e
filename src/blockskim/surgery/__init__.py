"""Models made of models: students, removed heads, averages."""
