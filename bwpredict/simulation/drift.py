"""What changes in a drifting fleet from `drift_day` on, drawn for each link from (seed, link)."""

from __future__ import annotations

from dataclasses import replace

import numpy as np

from bwpredict.simulation.fleet import DRIFT_STREAM, FleetConfig, Floats, Links, generator, key_of

_DRAWS = 4


def growth(config: FleetConfig) -> Floats:
    """Log growth of each link's demand, (links,): 0 unless the fleet drifts, else about 20 %."""
    if config.regime != "drifting":
        return np.zeros(config.links)
    return 0.18 + 0.06 * _normals(config.seed, np.arange(config.links))[:, 0]


def drifted(links: Links, seed: int) -> Links:
    """The links after the drift: one in six has twice the capacity, one in six another path, all more noise."""
    normals = _normals(seed, links.index)
    upgraded, rerouted = normals[:, 1] > 0.97, normals[:, 2] > 0.97
    return replace(
        links,
        capacity_mbps=links.capacity_mbps * np.where(upgraded, 2.0, 1.0),
        # The demand does not double with the capacity.
        base_load=links.base_load * np.where(upgraded, 0.55, 1.0),
        base_rtt_ms=links.base_rtt_ms * np.where(rerouted, 1.2, 1.0),
        error_rate=links.error_rate * np.exp(0.25 + 0.1 * normals[:, 3]),
        noise=links.noise * 1.3,
    )


def _normals(seed: int, indices: np.ndarray[tuple[int, ...], np.dtype[np.int64]]) -> Floats:
    return np.stack([generator(key_of(seed, DRIFT_STREAM, int(index))).standard_normal(_DRAWS) for index in indices])
