"""Watching the model in production: each day's accuracy, coverage, drift and staleness, and when to worry."""
