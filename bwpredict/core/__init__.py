"""Limits, text formatting and the code version: helpers without dependencies inside the package."""
