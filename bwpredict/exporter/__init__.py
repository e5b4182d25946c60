"""Live forecasts of all links as Prometheus metrics."""
