"""Honest evaluation: metrics, baselines, and champion against challenger on the same windows."""
