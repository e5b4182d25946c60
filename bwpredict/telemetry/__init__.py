"""Telemetry files: sources, safe reading, and pinned snapshots."""
