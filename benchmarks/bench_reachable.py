"""How much of the way from the last value to the oracle can be gone at all from one window of samples.

    make bench-reachable

The oracle of generated telemetry knows the hidden states: the fluctuations, the swing, the medium's quality, the slow
drift of the day. A model sees a window of noisy samples. In between stands a forecaster that knows everything about
each link (capacity, path, buffers, noise, daily and weekly cycle), the laws of the generator, and every burst and
incident, but has to estimate those states from the window, as an optimal filter does. No model that learns from the
same window can be expected to pass it. "drift known" gives it the slow drift too.

The filter is Kalman's (R. E. Kalman, J. Basic Engineering 82, 1960), with the physics made linear at the true state,
which helps it. Prints a table and keeps `reachable.json`.
"""

from __future__ import annotations

import argparse
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

SLOW_SPREAD = 0.083
"""Standard deviation of the slow drift of log demand over days: 0.05 / sqrt(1 - 0.8²), from `demand`."""
OBSERVED = ("throughput_mbps", "rtt_ms", "packet_loss", "jitter_ms", "queue_batches")
STATES = ("fast", "swing", "swing before", "quality", "slow")
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
    errors: dict[str, list[Floats]] = {"last value": [], "oracle": [], "filter": [], "filter, drift known": []}
    for chunk, random_slow in _test_days(config, test_days):
        for name, day_errors in _errors(chunk, random_slow, regime).items():
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
            "gap reachable": skill["filter"][place] / skill["oracle"][place],
            "gap reachable, drift known": skill["filter, drift known"][place] / skill["oracle"][place],
        }
        for place, target in enumerate(schema.TARGETS)
    ]


def _test_days(config: FleetConfig, count: int) -> Iterator[tuple[LinkDay, Floats]]:
    """The last days, all links, each with the random part of the slow drift [links, minutes]."""
    simulation = Simulation(config)
    level = demand.slow_drift(config, np.zeros(config.links))
    share = np.arange(MINUTES_PER_DAY) / MINUTES_PER_DAY
    smooth = share * share * (3 - 2 * share)
    for offset in range(config.days):
        chunks = list(simulation.chunks(config.first_day + offset))
        if offset >= config.days - count:
            (chunk,) = chunks
            yield chunk, level[:, [offset]] + (level[:, [offset + 1]] - level[:, [offset]]) * smooth


def _errors(chunk: LinkDay, random_slow: Floats, regime: RegimeName) -> dict[str, Floats]:
    """[links, windows, targets], absolute errors of every forecaster on the day's windows."""
    ahead = schema.HORIZON_MINUTES
    ends = np.arange(schema.WINDOW_SIZE - 1, MINUTES_PER_DAY - ahead)
    actual = np.stack([chunk.columns[name] for name in schema.TARGETS], axis=-1)
    known = demand.foresee(chunk.hidden, ahead)
    forecasts = {"last value": actual[:, ends], "oracle": _forecasts(chunk, known, regime)[:, ends]}
    for name, spread in (("filter", SLOW_SPREAD), ("filter, drift known", 0.0)):
        slow = random_slow if spread else np.zeros_like(random_slow)
        states = filtered(chunk, observe(chunk, slow, regime), ends, regime, spread)
        forecasts[name] = _forecasts(chunk, _supposed(known, slow, states, ends), regime)[:, ends]
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
        for number in range(len(OBSERVED)):
            slope = observed.slopes[:, ends - back, number] @ parts
            missed = observed.values[:, ends - back, number] - (slope * mean).sum(-1)
            spread = np.einsum("lwij,lwj->lwi", covariance, slope)
            gain = spread / ((slope * spread).sum(-1) + observed.variance[:, ends - back, number])[..., None]
            mean = mean + gain * missed[..., None]
            covariance = covariance - gain[..., :, None] * spread[..., None, :]
        if back:
            mean, covariance = mean @ step.T, step @ covariance @ step.T + innovation[:, None]
    return np.asarray(mean @ np.linalg.matrix_power(step, schema.HORIZON_MINUTES).T)


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
    parser.add_argument("--seed", type=int, default=42, help="of the generator")
    return parser.parse_args()


if __name__ == "__main__":
    main(parse())
