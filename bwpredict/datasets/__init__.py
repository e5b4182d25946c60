"""Frames of telemetry, resampling, and the windows that models train on."""
