"""Thresholds of the training guide that the model comes from."""

from __future__ import annotations

GUIDE_CORRELATION = 0.98
GUIDE_MAPE_PERCENT = 5.0
GUIDE_LATENCY_MS = 10.0
GUIDE_ACCURACY_PERCENT = 98.0


def meets_guide(average_correlation: float | None, average_mape_percent: float | None) -> bool:
    """Whether the guide's headline is reached; an undefined figure does not reach it."""
    if average_correlation is None or average_mape_percent is None:
        return False
    return average_correlation >= GUIDE_CORRELATION and average_mape_percent <= GUIDE_MAPE_PERCENT
