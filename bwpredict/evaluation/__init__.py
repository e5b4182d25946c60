"""Metrics, baselines, and the comparison of champion and challenger on the same windows."""
