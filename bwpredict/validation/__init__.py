"""Validate telemetry with Great Expectations, in shards by day, and write Data Docs."""
