"""Alerts from forecasts and from rules without one, over recorded telemetry."""
