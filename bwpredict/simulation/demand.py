"""Demand and the other hidden processes, and what they will most likely be some minutes ahead.

log demand = base load + daily cycle + weekly cycle + slow drift over days + fast fluctuation
+ swing (a damped oscillation of about an hour: scheduled transfers, caches that refill) + bursts.
Beside it run incidents on the path and the quality of the medium.

Every process is autoregressive and forgets within a day, so a day's states follow from the random
numbers of that day and of the day before alone: any day can be made on its own, byte for byte the
same, and the months join without a seam.
"""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np
from scipy.signal import lfilter

from bwpredict.simulation.fleet import MINUTES_PER_DAY, SLOW_STREAM, FleetConfig, Floats, Links, generator, key_of

NOISE_COLUMNS = 7
"""Normal numbers for each minute that the measurement needs (see `measure`)."""


@dataclass(frozen=True)
class Process:
    """s[t] = phi1 s[t-1] + phi2 s[t-2] + innovation[t]."""

    phi1: float
    phi2: float = 0.0

    def run(self, innovations: Floats, before: Floats) -> tuple[Floats, Floats]:
        """States (n, minutes) after the states `before` (n, 2: last, last but one), and the next `before`.

        The next `before` is that of a day which began at rest: what the earlier days left has faded
        (by e^-15 and more), and leaving it out makes the day after independent of where one starts.
        """
        own: Floats = lfilter([1.0], [1.0, -self.phi1, -self.phi2], innovations, axis=-1)
        last, last_but_one = self.fading(innovations.shape[-1])
        states = own + before[:, :1] * last
        if self.phi2:
            states += before[:, 1:] * last_but_one
        return states, own[:, [-1, -2]].copy()

    def ahead(self, states: Floats, before: Floats, minutes: int) -> Floats:
        """Conditional mean of the state `minutes` later, for each minute of `states`."""
        last, last_but_one = self.fading(minutes)
        expected: Floats = states * last[-1]
        if self.phi2:
            expected[:, 0] += before[:, 0] * last_but_one[-1]
            expected[:, 1:] += states[:, :-1] * last_but_one[-1]
        return expected

    def fading(self, minutes: int) -> tuple[Floats, Floats]:
        """What the last state and the last but one contribute 1 .. `minutes` later."""
        impulse = np.zeros(minutes + 1)
        impulse[0] = 1.0
        response: Floats = lfilter([1.0], [1.0, -self.phi1, -self.phi2], impulse)
        return response[1:], self.phi2 * response[:-1]


def autoregressive(minutes: float) -> Process:
    """A first-order autoregressive process with this time constant."""
    return Process(float(np.exp(-1 / minutes)))


def damped_oscillation(period_minutes: float, damping_minutes: float) -> Process:
    """A damped oscillation, kept going by its innovations."""
    keep = np.exp(-1 / damping_minutes)
    return Process(float(2 * keep * np.cos(2 * np.pi / period_minutes)), float(-(keep**2)))


PROCESSES: dict[str, Process] = {
    "fast": autoregressive(14.0),
    "swing": damped_oscillation(50.0, 90.0),
    "quality": autoregressive(18.0),
    "burst": autoregressive(12.0),
    "incident": autoregressive(35.0),
}
_SHARE_OF_DAY = np.arange(MINUTES_PER_DAY) / MINUTES_PER_DAY
SLOW_COURSE: Floats = _SHARE_OF_DAY * _SHARE_OF_DAY * (3 - 2 * _SHARE_OF_DAY)
"""How far the slow drift has come from one midnight's value to the next one's, in each minute."""
_NORMAL_PROCESSES = ("fast", "swing", "quality")
SLOW_KEEP, SLOW_STEP = 0.8, 0.05
"""Of the slow drift from midnight to midnight: the share that stays, and the standard deviation of what is new."""
_SLOW_DAYS = 21


@dataclass(frozen=True)
class Activity:
    """How lively a regime is: sizes are standard deviations of the log, rates are per link and day."""

    fast: float
    swing: float
    quality: float
    bursts_per_day: float
    incidents_per_day: float
    load: float
    """Factor on the demand."""


ACTIVITY: dict[str, Activity] = {
    "calm": Activity(0.016, 0.058, 0.045, 2.0, 0.03, 1.0),
    "congested": Activity(0.02, 0.06, 0.07, 5.0, 0.15, 1.75),
    "drifting": Activity(0.016, 0.058, 0.045, 2.0, 0.03, 1.0),
}


@dataclass(frozen=True)
class Draws:
    """The random numbers of one day of n links."""

    innovations: dict[str, Floats]
    """For each process, (n, minutes)."""
    noise: np.ndarray[tuple[int, ...], np.dtype[np.float32]]
    """Standard normal, (n, NOISE_COLUMNS, minutes)."""


@dataclass(frozen=True)
class Hidden:
    """The hidden states of one day of n links: each process (n, minutes)."""

    states: dict[str, Floats]
    before: dict[str, Floats]
    slow: Floats
    """Log factor of the slow drift, (n, minutes)."""


def draw_activity(
    keys: list[np.ndarray[tuple[int, ...], np.dtype[np.uint64]]], links: Links, day: int, regime: str
) -> Draws:
    """The random numbers of `day` for the links with these keys (of DAY_STREAM)."""
    activity = ACTIVITY[regime]
    normals = np.empty((len(keys), len(_NORMAL_PROCESSES) + NOISE_COLUMNS, MINUTES_PER_DAY), np.float32)
    burst, incident = np.zeros((2, len(keys), MINUTES_PER_DAY))
    for row, key in enumerate(keys):
        rng = generator(key, day)
        rng.standard_normal(out=normals[row], dtype=np.float32)
        _strike(rng, burst[row], activity.bursts_per_day, 0.12, 0.5)
        _strike(rng, incident[row], activity.incidents_per_day, 0.6, 0.6)
    innovations = {"burst": burst, "incident": incident}
    for column, name in enumerate(_NORMAL_PROCESSES):
        size = getattr(activity, name) / spread(PROCESSES[name])
        innovations[name] = normals[:, column] * (size * links.wander[:, None])
    return Draws(innovations, normals[:, len(_NORMAL_PROCESSES) :])


def states_from_rest(draws: Draws) -> dict[str, Floats]:
    """The states at the end of a day that begins at rest."""
    rest = np.zeros((len(draws.noise), 2))
    return {name: process.run(draws.innovations[name], rest)[1] for name, process in PROCESSES.items()}


def evolve(draws: Draws, before: dict[str, Floats], slow: Floats) -> tuple[Hidden, dict[str, Floats]]:
    """The hidden states of a day, and the states at its end.

    Args:
        draws: the day's random numbers.
        before: the states at the end of the day before.
        slow: (n, 2), the slow drift at the day's two midnights.
    """
    states, left = {}, {}
    for name, process in PROCESSES.items():
        states[name], left[name] = process.run(draws.innovations[name], before[name])
    return Hidden(states, before, slow[:, :1] + (slow[:, 1:] - slow[:, :1]) * SLOW_COURSE), left


def conditional_mean(hidden: Hidden, minutes: int) -> Hidden:
    """The conditional mean of every state, `minutes` after each minute of the day.

    The normal states are symmetric, and a further burst or incident within the horizon is improbable,
    so this is each state's conditional median too, but for a small excess of bursts.
    """
    states = {
        name: process.ahead(hidden.states[name], hidden.before[name], minutes) for name, process in PROCESSES.items()
    }
    later = np.minimum(np.arange(MINUTES_PER_DAY) + minutes, MINUTES_PER_DAY - 1)
    return Hidden(states, hidden.before, hidden.slow[:, later])


def demand_mbps(links: Links, cycles: Floats, hidden: Hidden, day: int, regime: str, ahead_minutes: int = 0) -> Floats:
    """What senders would like to send in each minute: (n, minutes).

    Args:
        links: n links.
        cycles: their daily cycles, from `daily_cycles`.
        hidden: the hidden states of the minute that is asked for.
        day: days since 1970 of the first minute of `hidden`, `ahead_minutes` less.
        regime: its name.
        ahead_minutes: how much later than the day's minutes `hidden` is.
    """
    minutes = np.arange(MINUTES_PER_DAY) + ahead_minutes
    log_demand = cycles[:, minutes % MINUTES_PER_DAY] if ahead_minutes else cycles.copy()
    log_demand += links.weekend_dip[:, None] * weekly_cycle(day + minutes / MINUTES_PER_DAY)
    log_demand += hidden.slow
    for name in ("fast", "swing", "burst"):
        log_demand += hidden.states[name]
    scale = links.capacity_mbps * links.base_load * ACTIVITY[regime].load
    return np.asarray(scale[:, None] * np.exp(log_demand))


def daily_cycles(links: Links) -> Floats:
    """The daily cycle of log demand, (n, minutes of a day): the sum of three harmonics."""
    angle = 2 * np.pi * np.arange(MINUTES_PER_DAY) / MINUTES_PER_DAY
    total = np.zeros((len(links.index), MINUTES_PER_DAY))
    for column in range(links.daily_cosine.shape[1]):
        total += links.daily_cosine[:, column, None] * np.cos((column + 1) * angle)
        total += links.daily_sine[:, column, None] * np.sin((column + 1) * angle)
    return total


def weekly_cycle(days: Floats) -> Floats:
    """Log factor of the weekend at a time in days since 1970: 0 in the week, down to -1 at the weekend."""
    # 1970-01-01 was a Thursday, so Sunday's midnight (the weekend's middle) is at 3 + 7 k.
    distance = np.abs((days - 3 + 3.5) % 7 - 3.5)
    return np.asarray(-1 / (1 + np.exp((distance - 1) * 8)))


def slow_drift(config: FleetConfig, growth: Floats) -> Floats:
    """The slow drift of log demand at each midnight of the span: (links, days + 1).

    A moving average of daily steps, so that it too is the same wherever one starts.

    Args:
        config: the fleet.
        growth: (links,), the log growth that a drifting fleet takes on in the week after `drift_day`.
    """
    first, count = config.first_day - _SLOW_DAYS + 1, config.days + _SLOW_DAYS
    steps = np.empty((config.links, count))
    for index in range(config.links):
        key = key_of(config.seed, SLOW_STREAM, index)
        steps[index] = [generator(key, first + offset).standard_normal() for offset in range(count)]
    level = np.zeros((config.links, config.days + 1))
    for age in range(_SLOW_DAYS):
        level += SLOW_STEP * SLOW_KEEP**age * steps[:, _SLOW_DAYS - 1 - age : count - age]
    days = config.first_day + np.arange(config.days + 1)
    return level + growth[:, None] * np.clip((days - config.drift_day) / 7, 0, 1)


def _strike(rng: np.random.Generator, innovations: Floats, per_day: float, median: float, spread: float) -> None:
    """Add log-normal impulses at random minutes."""
    count = int(rng.poisson(per_day))
    if count:
        minutes = rng.integers(0, MINUTES_PER_DAY, count)
        np.add.at(innovations, minutes, median * np.exp(spread * rng.standard_normal(count)))


def spread(process: Process) -> float:
    """Standard deviation of the process's state when that of its innovations is 1."""
    impulse = np.zeros(4 * MINUTES_PER_DAY)
    impulse[0] = 1.0
    return float(np.sqrt(np.sum(lfilter([1.0], [1.0, -process.phi1, -process.phi2], impulse) ** 2)))
