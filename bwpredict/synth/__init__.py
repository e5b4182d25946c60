"""Physically modelled telemetry for demos, tests and benchmarks."""
