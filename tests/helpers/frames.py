"""Small telemetry frames for tests that do not care how telemetry comes about."""

from __future__ import annotations

import numpy as np
import pandas as pd

from bwpredict import schema
from bwpredict.datasets.frame import TelemetryFrame

MIDNIGHT = 1_756_684_800
"""2025-09-01T00:00:00Z, a Monday."""


def make_frame(
    minutes: list[list[int]], *, start: int = MIDNIGHT, cadence_seconds: int = 60, seed: int = 0
) -> TelemetryFrame:
    """One link for each list of sample minutes; values wander around a level of each link's own."""
    generator = np.random.default_rng(seed)
    link = np.repeat(np.arange(len(minutes)), [len(one) for one in minutes]).astype(np.int32)
    steps = np.concatenate([np.asarray(one, dtype=np.int64) for one in minutes])
    timestamps = start + steps * cadence_seconds
    wander = np.exp(0.02 * np.cumsum(generator.normal(size=(len(steps), len(schema.FEATURES))), axis=0) % 1)
    levels = {"throughput_mbps": 100.0, "rtt_ms": 20.0, "packet_loss": 0.004, "jitter_ms": 2.0}
    values = wander * np.array([levels.get(name, 30.0) for name in schema.FEATURES]) * (1 + link[:, None])
    values[:, schema.FEATURES.index("packet_loss")] %= 1
    values[:, schema.FEATURES.index("time_of_day")] = schema.CALENDAR.hours(timestamps)
    values[:, schema.FEATURES.index("day_of_week")] = schema.CALENDAR.days(timestamps)
    links = pd.DataFrame({"node_id": range(len(minutes)), "peer_id": range(100, 100 + len(minutes))})
    return TelemetryFrame(values.astype(np.float32), timestamps, link, links, cadence_seconds)


def whole_days(days: int, links: int = 2) -> TelemetryFrame:
    """Gap-free telemetry."""
    return make_frame([list(range(1440 * days))] * links)
