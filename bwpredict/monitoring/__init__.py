"""Monitor the production model: daily accuracy, coverage, drift and staleness, and alarms."""
