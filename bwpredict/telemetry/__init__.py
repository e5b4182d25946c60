"""Telemetry: sources, pinned snapshots, and the in-memory frame that windows are cut from."""
