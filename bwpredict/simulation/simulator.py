"""Run the fleet day by day, some links at a time: hidden states, behaviour, columns, oracle."""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import dataclass

import numpy as np
import numpy.typing as npt

from bwpredict import schema
from bwpredict.simulation import demand, queueing
from bwpredict.simulation.fleet import DAY_STREAM, FleetConfig, Floats, Links, draw_links, drifted, growth, key_of
from bwpredict.simulation.probe import Column, measure

CHUNK_LINKS = 64
"""Links computed and written together: bounds the memory, and keeps the arrays in the cache."""


@dataclass(frozen=True)
class LinkDay:
    """One day of n links: the telemetry, and what is needed to look ahead."""

    day: int
    """Days since 1970."""
    first_link: int
    links: Links
    cycles: Floats
    hidden: demand.Hidden
    response: queueing.Response
    columns: dict[str, Column]
    """The 20 columns, each (n, minutes); text columns as indices into `measure.LABELS`."""


class Simulation:
    """The fleet of a config. Its days must be asked for one after the other."""

    def __init__(self, config: FleetConfig) -> None:
        """Draw the links and the slow drift; about 1 s and 20 MB for 1,000 links."""
        self.config = config
        self._links = draw_links(config.seed, config.links)
        self._drifted = drifted(self._links, config.seed) if config.regime == "drifting" else self._links
        self._cycles = demand.daily_cycles(self._links)
        self._slow = demand.slow_drift(config, growth(config))
        self._keys = [key_of(config.seed, DAY_STREAM, index) for index in range(config.links)]
        self._before: dict[int, dict[str, Floats]] = {}

    def chunks(self, day: int) -> Iterator[LinkDay]:
        """All links on `day`, CHUNK_LINKS at a time."""
        for first in range(0, self.config.links, CHUNK_LINKS):
            yield self._chunk(day, first)

    def _chunk(self, day: int, first: int) -> LinkDay:
        last, regime = first + CHUNK_LINKS, self.config.regime
        links = (self._drifted if day >= self.config.drift_day else self._links).take(first, last)
        keys, cycles = self._keys[first:last], self._cycles[first:last]
        if day == self.config.first_day:
            self._before[first] = demand.states_from_rest(demand.draw_activity(keys, links, day - 1, regime))
        draws = demand.draw_activity(keys, links, day, regime)
        offset = day - self.config.first_day
        hidden, left = demand.evolve(draws, self._before[first], self._slow[first:last, offset : offset + 2])
        self._before[first] = left
        response = _respond(links, cycles, hidden, day, regime)
        columns = measure(links, response, draws.noise, day)
        return LinkDay(day, first, links, cycles, hidden, response, columns)


def oracle(chunk: LinkDay, regime: str, horizon_minutes: int) -> dict[str, npt.NDArray[np.float64]]:
    """The best forecast of each target, `horizon_minutes` after each minute: each (n, minutes).

    The physics is monotone in each hidden state, and the noise has median 1 or 0, so the behaviour at the
    states' conditional medians is the conditional median of the target but for the interplay of several
    states. On the day before a drift the change at midnight is not foreseen.
    """
    hidden = demand.conditional_mean(chunk.hidden, horizon_minutes)
    response = _respond(chunk.links, chunk.cycles, hidden, chunk.day, regime, horizon_minutes)
    return {name: getattr(response, name) for name in schema.TARGETS}


def _respond(
    links: Links, cycles: Floats, hidden: demand.Hidden, day: int, regime: str, ahead_minutes: int = 0
) -> queueing.Response:
    wanted = demand.demand_mbps(links, cycles, hidden, day, regime, ahead_minutes)
    return queueing.simulate_response(links, wanted, hidden.states["incident"], hidden.states["quality"])
