"""Telemetry profiles: histograms, reference distributions and drift (PSI)."""
