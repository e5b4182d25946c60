"""From what a link does to what its probe reports: measurement noise, counters, the 20 columns."""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np
import numpy.typing as npt
import pyarrow as pa

from bwpredict import schema
from bwpredict.simulation import queueing
from bwpredict.simulation.fleet import MINUTES_PER_DAY, REGIONS, Floats, Links, zones

Column = npt.NDArray[np.float64] | npt.NDArray[np.int64]

DECIMALS: dict[str, int] = {"throughput_mbps": 4, "rtt_ms": 4, "packet_loss": 8, "jitter_ms": 5}
"""What a probe reports of each target."""

LABELS: dict[str, list[str]] = {
    "region": list(REGIONS),
    "az": zones(),
    **{
        name: list(schema.COLUMN[name].categories)
        for name in ("link_type", "network_tier", "transport_type", "dwcp_mode")
    },
}
"""The text that each number of a text column stands for."""

_TEXT = pa.dictionary(pa.int32(), pa.string())
TELEMETRY_SCHEMA = pa.schema(
    [(name, _TEXT if name in LABELS else schema.COLUMN[name].arrow_type) for name in schema.COLUMN_NAMES]
)
"""The 20 columns; text as dictionaries, which is what `to_table` gives."""


@dataclass(frozen=True)
class Noise:
    """Relative size of the noise of a minute's value."""

    throughput: float = 0.008
    packet_loss: float = 0.015
    jitter: float = 0.015
    rtt_of_jitter: float = 0.08
    """The mean of a minute's probes: a share of the jitter."""
    counters: float = 0.02


NOISE = Noise()


def measure(links: Links, response: queueing.Response, normals: npt.NDArray[np.float32], day: int) -> dict[str, Column]:
    """All 20 columns of a day, each (n, minutes) and text columns as indices into LABELS.

    Args:
        links: n links.
        response: their mean behaviour.
        normals: (n, NOISE_COLUMNS, minutes), standard normal.
        day: days since 1970.
    """
    noise = links.noise[:, None]
    throughput = _reported(
        "throughput_mbps", response.throughput_mbps * np.exp(NOISE.throughput * noise * normals[:, 0])
    )
    throughput = np.minimum(throughput, links.capacity_mbps[:, None])
    loss = np.minimum(
        _reported("packet_loss", response.packet_loss * np.exp(NOISE.packet_loss * noise * normals[:, 2])), 1
    )
    jitter = _reported("jitter_ms", response.jitter_ms * np.exp(NOISE.jitter * noise * normals[:, 3]))
    rtt = response.rtt_ms + NOISE.rtt_of_jitter * noise * response.jitter_ms * normals[:, 1]
    rtt = _reported("rtt_ms", np.maximum(rtt, links.base_rtt_ms[:, None]))
    sent = throughput * (1e6 / 8 * 60)
    lost_packets = loss * queueing.packets_per_minute(throughput)
    queue = response.queue_batches * links.batch_packets[:, None] * np.exp(NOISE.counters * normals[:, 5])
    window = queueing.congestion_window(throughput, rtt, loss)
    return {
        **_calendar(day, len(links.index)),
        **_attributes(links),
        "rtt_ms": rtt,
        "jitter_ms": jitter,
        "throughput_mbps": throughput,
        "bytes_tx": _count(sent),
        "bytes_rx": _count(sent * links.reverse_share[:, None] * np.exp(NOISE.counters * normals[:, 6])),
        "packet_loss": loss,
        # The normal limit of the Poisson distribution.
        "retransmits": _count(lost_packets + np.sqrt(lost_packets) * normals[:, 4]),
        "congestion_window": _count(window),
        "queue_depth": _count(queue),
        "dwcp_mode": protocol_mode(response),
    }


def protocol_mode(response: queueing.Response) -> npt.NDArray[np.int64]:
    """Index of the protocol's mode: reliable on a lossy path, turbo on a loaded one, else standard."""
    standard, turbo, reliable = (LABELS["dwcp_mode"].index(mode) for mode in ("standard", "turbo", "reliable"))
    loaded = np.where(response.utilisation > 0.6, turbo, standard)
    return np.where(response.packet_loss > 0.01, reliable, loaded)


def to_table(columns: dict[str, Column]) -> pa.Table:
    """The columns, each (rows,), as a table of TELEMETRY_SCHEMA."""
    return pa.table([_to_arrow(name, columns[name]) for name in schema.COLUMN_NAMES], schema=TELEMETRY_SCHEMA)


def _to_arrow(name: str, values: Column) -> pa.Array:
    if name in LABELS:
        return pa.DictionaryArray.from_arrays(pa.array(values, pa.int32()), pa.array(LABELS[name], pa.string()))
    return pa.array(values, schema.COLUMN[name].arrow_type)


def _calendar(day: int, links: int) -> dict[str, Column]:
    timestamps_s = day * 86400 + schema.CADENCE_SECONDS * np.arange(MINUTES_PER_DAY)
    columns = {
        "timestamp": timestamps_s,
        "time_of_day": schema.CALENDAR.hours(timestamps_s),
        "day_of_week": schema.CALENDAR.days(timestamps_s),
    }
    return {name: np.broadcast_to(values, (links, MINUTES_PER_DAY)) for name, values in columns.items()}


def _attributes(links: Links) -> dict[str, Column]:
    names = (*schema.LINK_ATTRIBUTES, *schema.LINK_KEY)
    return {name: np.broadcast_to(getattr(links, name)[:, None], (len(links.index), MINUTES_PER_DAY)) for name in names}


def _reported(name: str, values: Floats) -> Floats:
    return np.round(values, DECIMALS[name])


def _count(values: Floats) -> npt.NDArray[np.int64]:
    return np.maximum(np.rint(values), 0).astype(np.int64)
