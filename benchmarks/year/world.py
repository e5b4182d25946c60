"""A network over months, made of the generator's own parts: what changes, what breaks, and the telemetry of each month.

`truth/<month>` holds what happened; `telemetry/` holds what was collected, which differs in the months of a fault.
"""

from __future__ import annotations

import shutil
from dataclasses import dataclass, replace
from datetime import date, timedelta
from pathlib import Path

import numpy as np
import pandas as pd
import pyarrow as pa
import pyarrow.parquet as pq

from bwpredict import schema
from bwpredict.simulation import data_faults, demand, queueing
from bwpredict.simulation.collection_faults import deliver
from bwpredict.simulation.fleet import DAY_STREAM, FleetConfig, Floats, Links, draw_links, drifted, key_of
from bwpredict.simulation.probe import measure, to_table
from bwpredict.store.files import atomic_path

FIRST_YEAR = 2025
SEED = 20
GAP_SHARE, DUPLICATE_SHARE = 0.005, 0.001
GROWTH_A_MONTH, SEASON = 0.01, 0.2
"""Log demand: what it grows by each month, and how far the seasons move it up and down."""
CONGESTED_DAY = "congested"
"""The generator's regime of a day that is busy in the whole network."""
STALE_MINUTES = 20
STALE = "stale_values"
"""A fault that validation cannot see: the collector repeats every value for some minutes. All values are plausible."""

NEW_LINKS = {7: 1, 14: 1}
UPGRADED = {4: (0, 3), 10: (1, 6), 16: (2, 5)}
REROUTED = {6: (2,), 13: (4, 7), 19: (1,)}
OUTAGES = {6: (5, range(8, 12)), 13: (0, range(3, 8)), 19: (6, range(12, 15))}
"""Month → a link and the days, from 0, on which it is down."""
BUSY_DAYS = {2: (11,), 5: (6, 7), 9: (13,), 12: (8, 9, 10), 15: (12,), 20: (5, 6), 23: (11,)}
DRIFTED_FROM = 17
FAULTS = {8: "impossible_values", 18: "wrong_unit", 21: STALE}
FAULTY_FROM = {8: 6, 18: 9, 21: 0}
"""Month → the day, from 0, from which on telemetry is broken."""
FAILED_TRAININGS = (11,)


@dataclass(frozen=True)
class Month:
    """What is particular about a month, and what has changed in the months before it."""

    number: int
    links: int
    upgraded: frozenset[int] = frozenset()
    """Links with twice the capacity."""
    rerouted: frozenset[int] = frozenset()
    """Links whose path is longer and loses more."""
    outage: tuple[int, range] | None = None
    busy_days: tuple[int, ...] = ()
    drifted: bool = False
    """The generator's drift of demand, capacity, paths and noise."""
    fault: str = ""
    faulty_from: int = 0
    training_fails: bool = False
    seed: int = SEED
    """Of the network and its days."""

    @property
    def name(self) -> str:
        """YYYY-MM."""
        return f"{FIRST_YEAR + (self.number - 1) // 12}-{(self.number - 1) % 12 + 1:02}"

    @property
    def start(self) -> date:
        """The first day."""
        return date.fromisoformat(f"{self.name}-01")

    @property
    def log_demand(self) -> float:
        """The season, and the growth since the first month."""
        return float(SEASON * np.sin(2 * np.pi * self.number / 12) + GROWTH_A_MONTH * (self.number - 1))

    @property
    def events(self) -> str:
        """In a few words, what happens in this month."""
        found = {
            f"links {_named(UPGRADED.get(self.number, ()))} upgraded": self.number in UPGRADED,
            f"links {_named(REROUTED.get(self.number, ()))} rerouted": self.number in REROUTED,
            f"link {self.outage[0] if self.outage else ''} down": self.outage is not None,
            "new link": self.number in NEW_LINKS,
            f"busy days: {len(self.busy_days)}": bool(self.busy_days),
            "drift": self.number == DRIFTED_FROM,
            f"telemetry: {self.fault.replace('_', ' ')}": bool(self.fault),
            "training fails": self.training_fails,
        }
        return ", ".join(what for what, happens in found.items() if happens)


def year(months: int, links: int, seed: int = SEED) -> list[Month]:
    """The months; new links come on top of the `links` of the first one."""
    return [
        Month(
            number=number,
            links=links + sum(count for since, count in NEW_LINKS.items() if since <= number),
            upgraded=_so_far(UPGRADED, number),
            rerouted=_so_far(REROUTED, number),
            outage=OUTAGES.get(number),
            busy_days=BUSY_DAYS.get(number, ()),
            drifted=number >= DRIFTED_FROM,
            fault=FAULTS.get(number, ""),
            faulty_from=FAULTY_FROM.get(number, 0),
            training_fails=number in FAILED_TRAININGS,
            seed=seed,
        )
        for number in range(1, months + 1)
    ]


def write_month(month: Month, days: int, folder: Path) -> None:
    """Write the first `days` days of the month, true and as collected; what is there already stays."""
    done = folder / "truth" / month.name
    if done.is_dir():
        return
    staging = folder / f".{month.name}"
    shutil.rmtree(staging, ignore_errors=True)
    simulate(month, days, staging)
    collected = folder / "telemetry"
    shutil.copytree(staging, collected, dirs_exist_ok=True)
    dates = [str(month.start + timedelta(days=day)) for day in range(month.faulty_from, days)]
    if month.fault == STALE:
        for day in dates:
            _make_stale(collected / f"date={day}" / "part-0.parquet")
    elif month.fault:
        data_faults.inject(collected, month.fault, dates)
    done.parent.mkdir(parents=True, exist_ok=True)
    staging.replace(done)


def simulate(month: Month, days: int, folder: Path) -> None:
    """Write `date=YYYY-MM-DD/part-0.parquet` for each day."""
    config = FleetConfig(
        links=month.links, days=days, start=month.start, seed=month.seed,
        gap_share=GAP_SHARE,
        # A fault comes before the delivery, so both copies of a row would have to carry it.
        duplicate_share=0.0 if month.fault else DUPLICATE_SHARE,
    )  # fmt: skip
    links, keys = links_in(month), [key_of(month.seed, DAY_STREAM, index) for index in range(month.links)]
    cycles = demand.daily_cycles(links)
    slow = month.log_demand + demand.slow_drift(config, np.zeros(month.links))
    before = demand.states_from_rest(demand.draw_activity(keys, links, config.first_day - 1, "calm"))
    for offset in range(days):
        day = config.first_day + offset
        regime = CONGESTED_DAY if offset in month.busy_days else "calm"
        draws = demand.draw_activity(keys, links, day, regime)
        hidden, before = demand.evolve(draws, before, slow[:, offset : offset + 2])
        response = _respond(links, cycles, hidden, day, regime)
        rows = deliver(config, 0, month.links, day).today
        columns = {name: values.ravel()[rows] for name, values in measure(links, response, draws.noise, day).items()}
        if month.outage and offset in month.outage[1]:
            down = columns["node_id"] == links.node_id[month.outage[0]]
            down &= columns["peer_id"] == links.peer_id[month.outage[0]]
            columns = {name: values[~down] for name, values in columns.items()}
        with atomic_path(folder / f"date={month.start + timedelta(days=offset)}" / "part-0.parquet") as path:
            pq.write_table(to_table(columns), path, compression="zstd")


def links_in(month: Month) -> Links:
    """The links as they are in this month."""
    links = draw_links(month.seed, month.links)
    if month.drifted:
        links = drifted(links, month.seed)
    upgraded, rerouted = (np.isin(links.index, list(chosen)) for chosen in (month.upgraded, month.rerouted))
    return replace(
        links,
        capacity_mbps=links.capacity_mbps * np.where(upgraded, 2.0, 1.0),
        base_load=links.base_load * np.where(upgraded, 0.55, 1.0),
        base_rtt_ms=links.base_rtt_ms * np.where(rerouted, 1.4, 1.0),
        error_rate=links.error_rate * np.where(rerouted, 2.0, 1.0),
    )


def _respond(links: Links, cycles: Floats, hidden: demand.Hidden, day: int, regime: str) -> queueing.Response:
    wanted = demand.demand_mbps(links, cycles, hidden, day, regime)
    return queueing.simulate_response(links, wanted, hidden.states["incident"], hidden.states["quality"])


def _make_stale(path: Path) -> None:
    """Each link's values are those of the last full `STALE_MINUTES`; times and calendar go on."""
    rows = pq.ParquetFile(path).read().to_pandas()
    times = ["timestamp", "time_of_day", "day_of_week"]
    held = [name for name in rows.columns if name not in (*times, *schema.LINK_KEY)]
    block = rows["timestamp"] // (STALE_MINUTES * 60)
    first = rows.groupby([*schema.LINK_KEY, block])[held].transform("first")
    stale = pd.concat([rows[[*times, *schema.LINK_KEY]], first], axis=1)[list(schema.COLUMN_NAMES)]
    kinds = pa.schema([(column.name, column.arrow_type) for column in schema.COLUMNS])
    with atomic_path(path) as temporary:
        pq.write_table(pa.Table.from_pandas(stale, schema=kinds, preserve_index=False), temporary, compression="zstd")


def _so_far(events: dict[int, tuple[int, ...]], number: int) -> frozenset[int]:
    return frozenset(link for since, links in events.items() if since <= number for link in links)


def _named(links: tuple[int, ...]) -> str:
    return ", ".join(str(link) for link in links)
