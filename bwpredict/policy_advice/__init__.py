"""Suggest a gate policy from baselines measured on the user's own telemetry."""
