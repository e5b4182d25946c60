"""Telemetry validation: Great Expectations suites for schema and distributions, and the drift profile."""
