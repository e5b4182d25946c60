"""How much of the oracle's lead over the last value is reachable at all: from one window, and from the whole past.

    make bench-reachable

The oracle of generated telemetry knows the hidden states: the fluctuations, the swing, the medium's quality, the slow
drift of the day. A model sees a window of noisy samples. The bound between them is a forecaster that knows everything
about each link (capacity, path, buffers, noise, daily and weekly cycle), the generator's equations, and every burst and
incident, but has to estimate the hidden states from the window, as an optimal filter does. No model that learns from
the same window can be expected to do better. With "drift known" it also knows the slow drift. "whole past" follows each
link from the first day, as a stream does: this is the bound for streams.

The filter is Kalman's (R. E. Kalman, J. Basic Engineering 82, 1960), with the physics made linear at the true state,
which helps it. Prints a table and keeps `reachable.json`.
"""

from __future__ import annotations

import argparse
from collections import defaultdict
from collections.abc import Iterator
from dataclasses import dataclass
from datetime import timedelta
from typing import Any, get_args

import numpy as np
from accuracy.data import START, unseen_links
from common import report

from bwpredict import schema
from bwpredict.config import SplitConfig
from bwpredict.datasets.windows import days_of_parts
from bwpredict.simulation import demand, queueing
from bwpredict.simulation.fleet import MINUTES_PER_DAY, FleetConfig, Floats, Integers, Links, RegimeName
from bwpredict.simulation.probe import NOISE
from bwpredict.simulation.simulator import LinkDay, Simulation

SLOW_SPREAD = demand.SLOW_STEP / np.sqrt(1 - demand.SLOW_KEEP**2)
"""Standard deviation of the slow drift of log demand at midnight."""
OBSERVED = ("throughput_mbps", "rtt_ms", "packet_loss", "jitter_ms", "queue_batches")
STATES = ("fast", "swing", "swing before", "quality", "slow")
FOLLOWED_STATES = (*STATES[:-1], "slow at midnight", "slow at the next midnight")
_NUDGE, _DOUBLINGS = 1e-4, 20


@dataclass(frozen=True)
class Observed:
    """What the samples of a day tell of the states, linear in log demand and quality."""

    slopes: Floats
    """[links, minutes, observed, 2]: by log demand, by quality."""
    variance: Floats
    """[links, minutes, observed], of the noise."""
    values: Floats
    """[links, minutes, observed]: slopes times the true states, and the noise."""


@dataclass(frozen=True)
class Belief:
    """What a filter holds of each link's states."""

    mean: Floats
    """[links, FOLLOWED_STATES]"""
    covariance: Floats
    """[links, FOLLOWED_STATES, FOLLOWED_STATES]"""


def main(arguments: argparse.Namespace) -> None:
    """Measure every regime on the test span of the accuracy benchmark, on the links that training sees."""
    rows: list[dict[str, Any]] = []
    for regime in get_args(RegimeName):
        rows += regime_rows(regime, arguments.links, arguments.days, arguments.seed)
    report("reachable", rows)


def regime_rows(regime: RegimeName, links: int, days: int, seed: int) -> list[dict[str, Any]]:
    """For each target the skill over the last value of the oracle, and of the filter with and without the drift."""
    test_days = int(days_of_parts(SplitConfig(), days)[-1])
    config = FleetConfig(
        links=links, days=days, start=START, seed=seed, regime=regime, drift_from=START + timedelta(days - test_days)
    )
    seen = ~unseen_links(links, seed)
    errors: dict[str, list[Floats]] = defaultdict(list)
    belief: Belief | None = None
    for offset, (chunk, random_slow) in enumerate(_days(config)):
        followed, belief = follow(chunk, observe(chunk, random_slow, regime), belief, regime)
        if offset < days - test_days:
            continue
        for name, day_errors in _errors(chunk, random_slow, followed, regime).items():
            errors[name].append(day_errors[seen].reshape(-1, len(schema.TARGETS)))
    mae = {name: np.concatenate(parts).mean(axis=0) for name, parts in errors.items()}
    skill = {name: 1 - mae[name] / mae["last value"] for name in mae}
    return [
        {
            "regime": regime,
            "target": target,
            "oracle": skill["oracle"][place],
            "filter": skill["filter"][place],
            "filter, drift known": skill["filter, drift known"][place],
            "filter, whole past": skill["filter, whole past"][place],
            "gap reachable": skill["filter"][place] / skill["oracle"][place],
            "gap reachable, drift known": skill["filter, drift known"][place] / skill["oracle"][place],
            "gap reachable, whole past": skill["filter, whole past"][place] / skill["oracle"][place],
        }
        for place, target in enumerate(schema.TARGETS)
    ]


def _days(config: FleetConfig) -> Iterator[tuple[LinkDay, Floats]]:
    """All links day by day, with the random part of the slow drift [links, minutes]."""
    simulation = Simulation(config)
    level = demand.slow_drift(config, np.zeros(config.links))
    for offset in range(config.days):
        (chunk,) = simulation.chunks(config.first_day + offset)
        yield chunk, level[:, [offset]] + (level[:, [offset + 1]] - level[:, [offset]]) * demand.SLOW_COURSE


def _errors(chunk: LinkDay, random_slow: Floats, followed: Floats, regime: RegimeName) -> dict[str, Floats]:
    """[links, windows, targets], absolute errors of every forecaster on the day's windows."""
    ahead = schema.HORIZON_MINUTES
    ends = np.arange(schema.WINDOW_SIZE - 1, MINUTES_PER_DAY - ahead)
    actual = np.stack([chunk.columns[name] for name in schema.TARGETS], axis=-1)
    known = demand.conditional_mean(chunk.hidden, ahead)
    forecasts = {"last value": actual[:, ends], "oracle": _forecasts(chunk, known, regime)[:, ends]}
    for name, spread in (("filter", SLOW_SPREAD), ("filter, drift known", 0.0)):
        slow = random_slow if spread else np.zeros_like(random_slow)
        states = filtered(chunk, observe(chunk, slow, regime), ends, regime, spread)
        forecasts[name] = _forecasts(chunk, _supposed(known, slow, states, ends), regime)[:, ends]
    supposed = _supposed(known, random_slow, followed[:, ends], ends)
    forecasts["filter, whole past"] = _forecasts(chunk, supposed, regime)[:, ends]
    return {name: np.abs(forecast - actual[:, ends + ahead]) for name, forecast in forecasts.items()}


def observe(chunk: LinkDay, slow: Floats, regime: RegimeName) -> Observed:
    """The day's samples as observations of the states; `slow` [links, minutes] is the part of the drift to be found."""
    links, true = chunk.links, chunk.response
    by_demand, by_quality = _respond(chunk, regime, demand_shift=_NUDGE), _respond(chunk, regime, quality_shift=_NUDGE)
    seen = {**chunk.columns, "queue_batches": chunk.columns["queue_depth"] / links.batch_packets[:, None]}
    noise, one = links.noise[:, None], np.ones_like(true.rtt_ms)
    spread = {
        "throughput_mbps": NOISE.throughput * noise * one,
        "rtt_ms": NOISE.rtt_of_jitter * noise * true.jitter_ms / true.rtt_ms,
        "packet_loss": NOISE.packet_loss * noise * one,
        "jitter_ms": NOISE.jitter * noise * one,
        "queue_batches": NOISE.counters * one,
    }
    slopes = np.stack(
        [np.stack([_relative(each, true, name) / _NUDGE for name in OBSERVED], -1) for each in (by_demand, by_quality)],
        axis=-1,
    )
    states = np.stack([_fluctuation(chunk.hidden) + slow, chunk.hidden.states["quality"]], axis=-1)
    errors = np.stack([seen[name] / getattr(true, name) - 1 for name in OBSERVED], axis=-1)
    variance = np.stack([spread[name] for name in OBSERVED], axis=-1) ** 2
    return Observed(slopes, variance, np.einsum("lmos,lms->lmo", slopes, states) + errors)


def filtered(chunk: LinkDay, observed: Observed, ends: Integers, regime: RegimeName, slow_spread: float) -> Floats:
    """[links, windows, STATES] `HORIZON_MINUTES` after each window's end, estimated from the window alone."""
    step, innovation = _dynamics(chunk.links, regime)
    covariance = np.broadcast_to(_at_rest(step, innovation), (len(innovation), len(STATES), len(STATES))).copy()
    covariance[:, -1, -1] = slow_spread**2
    covariance = np.repeat(covariance[:, None], len(ends), axis=1)
    mean = np.zeros((*covariance.shape[:2], len(STATES)))
    # Log demand is moved by the fluctuation, the swing and the drift; the quality stands alone.
    parts = np.array([[1, 1, 0, 0, 1], [0, 0, 0, 1, 0]], float)
    for back in reversed(range(schema.WINDOW_SIZE)):
        mean, covariance = _corrected(mean, covariance, observed, ends - back, parts)
        if back:
            mean, covariance = mean @ step.T, step @ covariance @ step.T + innovation[:, None]
    return np.asarray(mean @ np.linalg.matrix_power(step, schema.HORIZON_MINUTES).T)


def follow(chunk: LinkDay, observed: Observed, before: Belief | None, regime: RegimeName) -> tuple[Floats, Belief]:
    """[links, minutes, STATES] `HORIZON_MINUTES` after each minute, and what is believed at the day's end.

    Within a day the slow drift goes from one midnight's value to the next one's on a known course, so the filter
    estimates both.
    """
    step, innovation = _dynamics(chunk.links, regime)
    others, slow = slice(0, 4), slice(4, 6)
    belief = _next_day(before) if before else _first_belief(step, innovation)
    step, innovation = step[others, others], innovation[:, others, others]
    ahead = np.linalg.matrix_power(step, schema.HORIZON_MINUTES)
    mean, covariance = belief.mean, belief.covariance
    states = np.empty((len(mean), MINUTES_PER_DAY, len(STATES)))
    later = np.minimum(np.arange(MINUTES_PER_DAY) + schema.HORIZON_MINUTES, MINUTES_PER_DAY - 1)
    for minute, course in enumerate(demand.SLOW_COURSE):
        mean[:, others] = mean[:, others] @ step.T
        covariance[:, others] = step @ covariance[:, others]
        covariance[:, :, others] = covariance[:, :, others] @ step.T
        covariance[:, others, others] += innovation
        parts = np.array([[1, 1, 0, 0, 1 - course, course], [0, 0, 0, 1, 0, 0]])
        mean, covariance = _corrected(mean, covariance, observed, minute, parts)
        states[:, minute, others] = mean[:, others] @ ahead.T
        course_later = demand.SLOW_COURSE[later[minute]]
        states[:, minute, 4] = mean[:, slow] @ [1 - course_later, course_later]
    return states, Belief(mean, covariance)


def _first_belief(step: Floats, innovation: Floats) -> Belief:
    """Where nothing was seen yet; the two values of the slow drift belong to one another."""
    covariance = np.zeros((len(innovation), len(FOLLOWED_STATES), len(FOLLOWED_STATES)))
    covariance[:, :4, :4] = _at_rest(step, innovation)[:, :4, :4]
    covariance[:, 5, 5] = SLOW_SPREAD**2
    return _next_day(Belief(np.zeros(covariance.shape[:2]), covariance))


def _next_day(belief: Belief) -> Belief:
    """The next midnight's value becomes this one's, and the one after it is not known yet."""
    turn = np.eye(len(FOLLOWED_STATES))
    turn[4, 4:], turn[5, 4:] = (0, 1), (0, demand.SLOW_KEEP)
    covariance = turn @ belief.covariance @ turn.T
    covariance[:, 5, 5] += demand.SLOW_STEP**2
    return Belief(belief.mean @ turn.T, covariance)


def _corrected(
    mean: Floats, covariance: Floats, observed: Observed, minutes: Integers | int, parts: Floats
) -> tuple[Floats, Floats]:
    """Mean and covariance after the observations of these minutes, taken one after another.

    `parts` [2, states] says how the states make up log demand and quality.
    """
    for number in range(len(OBSERVED)):
        slope = observed.slopes[:, minutes, number] @ parts
        missed = observed.values[:, minutes, number] - (slope * mean).sum(-1)
        spread = np.einsum("...ij,...j->...i", covariance, slope)
        gain = spread / ((slope * spread).sum(-1) + observed.variance[:, minutes, number])[..., None]
        mean = mean + gain * missed[..., None]
        covariance = covariance - gain[..., :, None] * spread[..., None, :]
    return mean, covariance


def _dynamics(links: Links, regime: RegimeName) -> tuple[Floats, Floats]:
    """The states' step [STATES, STATES], and the covariance of what each minute adds [links, STATES, STATES]."""
    fast, swing, quality = (demand.PROCESSES[name] for name in ("fast", "swing", "quality"))
    step = np.zeros((len(STATES), len(STATES)))
    step[0, 0], step[3, 3], step[4, 4] = fast.phi1, quality.phi1, 1.0
    step[1, 1:3], step[2, 1] = (swing.phi1, swing.phi2), 1.0
    innovation = np.zeros((len(links.wander), len(STATES), len(STATES)))
    for place, name in ((0, "fast"), (1, "swing"), (3, "quality")):
        size = getattr(demand.ACTIVITY[regime], name) / demand.spread(demand.PROCESSES[name])
        innovation[:, place, place] = (size * links.wander) ** 2
    return step, innovation


def _at_rest(step: Floats, innovation: Floats) -> Floats:
    """[links, STATES, STATES], the covariance of the states where nothing was seen yet; 0 for the drift."""
    covariance = innovation.copy()
    power = step.copy()
    power[-1, -1] = 0.0
    for _ in range(_DOUBLINGS):
        covariance = covariance + power @ covariance @ power.T
        power = power @ power
    return covariance


def _supposed(known: demand.Hidden, slow: Floats, states: Floats, ends: Integers) -> demand.Hidden:
    """The known future with the estimated states in place of the true ones."""
    supposed = {name: values.copy() for name, values in known.states.items()}
    for place, name in ((0, "fast"), (1, "swing"), (3, "quality")):
        supposed[name][:, ends] = states[..., place]
    later = ends + schema.HORIZON_MINUTES
    drift = known.slow.copy()
    drift[:, ends] += states[..., 4] - slow[:, later]
    return demand.Hidden(supposed, known.before, drift)


def _forecasts(chunk: LinkDay, ahead: demand.Hidden, regime: RegimeName) -> Floats:
    """[links, minutes, targets], what the links do in the states `ahead`, `HORIZON_MINUTES` after each minute."""
    wanted = demand.demand_mbps(chunk.links, chunk.cycles, ahead, chunk.day, regime, schema.HORIZON_MINUTES)
    response = queueing.simulate_response(chunk.links, wanted, ahead.states["incident"], ahead.states["quality"])
    return np.stack([getattr(response, name) for name in schema.TARGETS], axis=-1)


def _respond(
    chunk: LinkDay, regime: RegimeName, *, demand_shift: float = 0.0, quality_shift: float = 0.0
) -> queueing.Response:
    """What the links would do now with a little more demand, or another quality of the medium."""
    states = chunk.hidden.states
    wanted = demand.demand_mbps(chunk.links, chunk.cycles, chunk.hidden, chunk.day, regime) * np.exp(demand_shift)
    return queueing.simulate_response(chunk.links, wanted, states["incident"], states["quality"] + quality_shift)


def _relative(response: queueing.Response, true: queueing.Response, name: str) -> Floats:
    return np.asarray(getattr(response, name) / getattr(true, name) - 1)


def _fluctuation(hidden: demand.Hidden) -> Floats:
    return np.asarray(hidden.states["fast"] + hidden.states["swing"])


def parse() -> argparse.Namespace:
    """The command's options."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--links", type=int, default=20)
    parser.add_argument("--days", type=int, default=30)
    parser.add_argument("--seed", type=int, default=42, help="seed of the generator")
    return parser.parse_args()


if __name__ == "__main__":
    main(parse())
