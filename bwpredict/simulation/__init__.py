"""Simulate telemetry of a network from a queueing model, for demos, tests and benchmarks."""
