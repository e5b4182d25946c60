"""The fleet: which links there are, what each can carry, and how a regime loads them.

Link k is drawn from (seed, k) alone, so it is the same link whatever the number of links, the days or
the start date; the month after, generated with the same seed, continues the same fleet.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass, fields, replace
from datetime import UTC, date, datetime
from typing import Literal, get_args

import numpy as np
import numpy.typing as npt

from bwpredict import schema
from bwpredict.errors import ConfigError

Floats = npt.NDArray[np.float64]
Integers = npt.NDArray[np.int64]
RegimeName = Literal["calm", "congested", "drifting"]

MAX_LINKS, MAX_DAYS = 100_000, 3660
# The slow drift looks back some weeks, and days before 1970 have no number.
_EARLIEST, _LATEST = date(1971, 1, 1), date(2199, 12, 31)
MINUTES_PER_DAY = 86400 // schema.CADENCE_SECONDS

REGIONS: tuple[str, ...] = ("us-east", "us-west", "eu-west", "eu-central", "ap-south", "ap-northeast")
_LATITUDE_DEG = np.radians([39.0, 45.6, 53.3, 50.1, 19.1, 35.7])
_LONGITUDE_DEG = np.radians([-77.5, -121.2, -6.3, 8.7, 72.9, 139.7])
_UTC_OFFSET_H = np.array([-5.0, -8.0, 0.0, 1.0, 5.5, 9.0])
_ZONES = ("a", "b", "c")

# Random number streams; a new stream gets a new number, so that the others keep their values.
LINK_STREAM, DAY_STREAM, SLOW_STREAM, DELIVERY_STREAM, DRIFT_STREAM = range(5)


@dataclass(frozen=True)
class FleetConfig:
    """What to generate.

    `start` (a date, or text as YYYY-MM-DD) is the first of `days` UTC days. `regime`: "calm" leaves the
    queues short, "congested" loads the links close to their capacity, "drifting" is calm until
    `drift_from` (default: the middle of the span; give it to continue a fleet) and differs after it:
    more demand, upgraded capacity, other paths, more noise. The shares (0 to 0.5) say how many rows are
    missing in outages, delivered late, or delivered twice.

    Raises:
        ConfigError: a value cannot be used; the sentence names it and the bounds.
    """

    links: int = 20
    days: int = 30
    start: date | str = date(2026, 10, 1)
    seed: int = 42
    regime: RegimeName = "calm"
    gap_share: float = 0.0
    late_share: float = 0.0
    duplicate_share: float = 0.0
    drift_from: date | str | None = None

    def __post_init__(self) -> None:
        """Check every value, and read dates that are given as text."""
        start = _as_date("start", self.start)
        object.__setattr__(self, "start", start)
        if self.drift_from is not None:
            object.__setattr__(self, "drift_from", _as_date("drift_from", self.drift_from))
        if not _EARLIEST <= start <= _LATEST:
            raise ConfigError(f"start: must be from {_EARLIEST} to {_LATEST} (given: {start}).")
        _check_bounds("links", self.links, 1, MAX_LINKS)
        _check_bounds("days", self.days, 1, MAX_DAYS)
        _check_bounds("seed", self.seed, 0, 2**63 - 1)
        for name in ("gap_share", "late_share", "duplicate_share"):
            _check_bounds(name, getattr(self, name), 0.0, 0.5)
        if self.regime not in get_args(RegimeName):
            raise ConfigError(f"regime: must be one of {', '.join(get_args(RegimeName))} (given: {self.regime!r}).")

    @property
    def first_day(self) -> int:
        """Days from 1970-01-01 to `start`."""
        return day_number(self.start)

    @property
    def drift_day(self) -> int:
        """Days from 1970-01-01 to the first day that has drifted."""
        return self.first_day + self.days // 2 if self.drift_from is None else day_number(self.drift_from)


@dataclass(frozen=True)
class Links:
    """Attributes of n links, each an array of shape (n,): what is fixed for a link on a day."""

    index: Integers
    node_id: Integers
    peer_id: Integers
    region: Integers
    """Index into REGIONS."""
    az: Integers
    """Index into `zones()`."""
    link_type: Integers
    network_tier: Integers
    transport_type: Integers
    """Indices into the categories of the column in `schema.COLUMN`."""
    capacity_mbps: Floats
    base_rtt_ms: Floats
    batch_ms: Floats
    """Time the link needs for one batch of packets: the unit in which its queue grows."""
    batch_packets: Floats
    buffer_batches: Floats
    base_jitter_ms: Floats
    error_rate: Floats
    """Share of packets lost on an idle link."""
    aqm_loss: Floats
    """Share of packets that active queue management drops at a full buffer."""
    base_load: Floats
    """Median share of the capacity that is asked for."""
    daily_cosine: Floats
    daily_sine: Floats
    """Daily cycle of log demand: shape (n, 3), one column for each harmonic."""
    weekend_dip: Floats
    wander: Floats
    """Size of the fluctuations of log demand, relative to the typical link."""
    reverse_share: Floats
    noise: Floats
    """Size of the measurement noise, relative to the typical link."""

    def take(self, first: int, last: int) -> Links:
        """Links first to last - 1."""
        return Links(**{field.name: getattr(self, field.name)[first:last] for field in fields(self)})


def zones() -> list[str]:
    """Names of all availability zones, in the order of `Links.az`."""
    return [f"{region}-{zone}" for region in REGIONS for zone in _ZONES]


def draw_links(seed: int, count: int) -> Links:
    """The first `count` links of the fleet with this seed."""
    drawn = [_draw_link(seed, index) for index in range(count)]
    return Links(**{name: np.array([link[name] for link in drawn]) for name in drawn[0]})


def growth(config: FleetConfig) -> Floats:
    """Log growth of each link's demand, (links,): 0 unless the fleet drifts, else about 20 %."""
    if config.regime != "drifting":
        return np.zeros(config.links)
    return 0.18 + 0.06 * _drift_normals(config.seed, np.arange(config.links))[:, 0]


def drifted(links: Links, seed: int) -> Links:
    """The links after the drift: one in six has twice the capacity, one in six another path, all more noise."""
    normals = _drift_normals(seed, links.index)
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


def key_of(seed: int, stream: int, index: int) -> npt.NDArray[np.uint64]:
    """The Philox key of one stream of one link."""
    words = np.random.SeedSequence(entropy=seed, spawn_key=(stream, index)).generate_state(2, np.uint64)
    return words.astype(np.uint64)


def generator(key: npt.NDArray[np.uint64], day: int = 0) -> np.random.Generator:
    """Random numbers of one day (days since 1970) of the stream with this key.

    The day is the highest word of Philox's counter, so any day is reached without the days before it.
    """
    return np.random.Generator(np.random.Philox(key=key, counter=[0, 0, 0, day]))


def day_number(day: date | str) -> int:
    """Days from 1970-01-01 to `day`."""
    return (_as_date("day", day) - date(1970, 1, 1)).days


def _as_date(name: str, value: object) -> date:
    if isinstance(value, datetime):
        return value.astimezone(UTC).date() if value.tzinfo else value.date()
    if isinstance(value, date):
        return value
    try:
        return date.fromisoformat(str(value))
    except ValueError as error:
        raise ConfigError(f"{name}: must be a date as YYYY-MM-DD (given: {value!r}).") from error


def _check_bounds(name: str, value: float, least: float, most: float) -> None:
    whole = isinstance(least, int)
    fits = isinstance(value, int if whole else int | float) and not isinstance(value, bool) and least <= value <= most
    if not fits:
        kind = "a whole number" if whole else "a number"
        raise ConfigError(f"{name}: must be {kind} from {least} to {most} (given: {value!r}).")


def _draw_link(seed: int, index: int) -> dict[str, object]:
    """One link. Every draw is made for every link, so that a change of one table moves no other value."""
    rng = generator(key_of(seed, LINK_STREAM, index))
    kind = int(rng.choice(4, p=[0.25, 0.25, 0.3, 0.2]))
    node, peer, peer_region = _ends(rng, index, kind)
    region = node % len(REGIONS)
    tier = int(rng.choice(3, p=[0.35, 0.45, 0.2]))
    tier_factor = (0.7, 1.0, 1.5)[tier]
    base_rtt_ms = _base_rtt_ms(rng, kind, region, peer_region)
    # Buffers hold a few round trips of traffic, as the old rule of thumb sizes them.
    buffer_batches = float(rng.choice([32, 48, 64]))
    batch_ms = base_rtt_ms * rng.uniform(2.5, 5.0) / buffer_batches
    error_rate = tier_factor * _log_uniform(rng, [(1e-4, 3e-4), (2e-4, 8e-4), (8e-4, 3e-3), (2e-3, 8e-3)][kind])
    phase = 2 * np.pi * (rng.normal(15.0, 1.5) - _UTC_OFFSET_H[region]) / 24
    amplitude = np.array([rng.uniform(0.22, 0.42), rng.uniform(0.05, 0.14), rng.uniform(0.02, 0.06)])
    phases = phase * np.array([1, 2, 3]) + np.array([0.0, rng.normal(0, 0.6), rng.normal(0, 0.8)])
    return {
        "index": index,
        "node_id": 1000 + node,
        "peer_id": 1000 + peer,
        "region": region,
        "az": region * len(_ZONES) + node // len(REGIONS) % len(_ZONES),
        "link_type": kind,
        "network_tier": tier,
        "transport_type": int(rng.choice(3, p=[0.5, 0.3, 0.2])),
        "capacity_mbps": float(rng.choice(_CAPACITIES_MBPS[kind])),
        "base_rtt_ms": base_rtt_ms,
        "batch_ms": batch_ms,
        "batch_packets": float(rng.choice([32, 64, 128])),
        "buffer_batches": buffer_batches,
        "base_jitter_ms": batch_ms * rng.uniform(0.2, 0.5),
        "error_rate": error_rate,
        "aqm_loss": error_rate * rng.uniform(12, 30),
        "base_load": rng.uniform(0.28, 0.42),
        "daily_cosine": amplitude * np.cos(phases),
        "daily_sine": amplitude * np.sin(phases),
        "weekend_dip": rng.uniform(0.05, 0.3),
        "wander": rng.uniform(0.8, 1.25),
        "reverse_share": _log_uniform(rng, (0.05, 0.9)),
        "noise": rng.uniform(0.8, 1.25),
    }


_CAPACITIES_MBPS = ([10_000, 25_000, 40_000], [1_000, 10_000], [1_000, 2_500, 10_000], [50, 100, 200, 500, 1_000])


def _ends(rng: np.random.Generator, index: int, kind: int) -> tuple[int, int, int]:
    """Numbers of the two nodes, and the peer's region.

    Four links leave each node. Node i is in region i mod 6, zone i / 6 mod 3, so the peer's number
    follows from the wanted kind; the slot's share of the offset keeps a node's four peers apart.
    """
    regions, nodes_per_turn = len(REGIONS), len(REGIONS) * len(_ZONES)
    node, slot = divmod(index, 4)
    turns = 1 + slot + 4 * int(rng.integers(0, 12))
    zone_shift = (0, int(rng.integers(1, 3)), int(rng.integers(0, 3)), 0)[kind]
    region_shift = (0, 0, int(rng.integers(1, regions)), 0)[kind]
    peer = node + nodes_per_turn * turns + regions * zone_shift + region_shift
    # The far end of an edge link is a customer's site, numbered apart.
    return node, 1_000_000 + index if kind == 3 else peer, peer % regions


def _base_rtt_ms(rng: np.random.Generator, kind: int, region: int, peer_region: int) -> float:
    """Propagation at 200 km/ms along a path longer than the great circle, and the time in the nodes."""
    half = _hav(_LATITUDE_DEG[region] - _LATITUDE_DEG[peer_region])
    across = np.cos(_LATITUDE_DEG[region]) * np.cos(_LATITUDE_DEG[peer_region])
    half += across * _hav(_LONGITUDE_DEG[region] - _LONGITUDE_DEG[peer_region])
    distance_km = 2 * 6371 * np.arcsin(np.sqrt(half))
    detour = rng.uniform(1.2, 1.6)
    local_ms = _log_uniform(rng, [(0.15, 0.5), (0.8, 3.0), (1.0, 4.0), (6.0, 30.0)][kind])
    return float(local_ms + 2 * distance_km * detour / 200)


def _hav(angle_rad: float) -> float:
    return float(np.sin(angle_rad / 2) ** 2)


def _log_uniform(rng: np.random.Generator, bounds: Sequence[float]) -> float:
    return float(np.exp(rng.uniform(np.log(bounds[0]), np.log(bounds[1]))))


def _drift_normals(seed: int, indices: Integers) -> Floats:
    return np.stack([generator(key_of(seed, DRIFT_STREAM, int(index))).standard_normal(4) for index in indices])
