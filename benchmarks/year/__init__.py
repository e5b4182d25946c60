"""Months of a changing network, and four ways to decide which model serves it."""
