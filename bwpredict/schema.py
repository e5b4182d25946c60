"""The telemetry contract: columns, units, features, targets, horizon, calendar. One source of truth."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from datetime import datetime
from typing import TYPE_CHECKING, Literal, get_args
from zoneinfo import ZoneInfo

import numpy as np
import numpy.typing as npt

if TYPE_CHECKING:
    import pyarrow as pa

Kind = Literal["timestamp", "integer", "number", "category", "text"]


@dataclass(frozen=True)
class Column:
    """One telemetry column.

    `minimum` and `maximum` are inclusive bounds in the column's unit (None: unbounded);
    `categories` are the only values a category column may hold; `label` is the name for people (default: `name`).
    `floor` is the smallest value that tells anything: the network sees log(value + floor), and smaller actual values do
    not count towards MAPE.
    """

    name: str
    kind: Kind
    unit: str
    description: str
    minimum: float | None = None
    maximum: float | None = None
    categories: tuple[str, ...] = ()
    label: str = ""
    floor: float = 1.0

    @property
    def arrow_type(self) -> pa.DataType:
        """The type a stored column is cast to."""
        import pyarrow as pa  # training needs it only to read files

        return {"timestamp": pa.int64(), "integer": pa.int64(), "number": pa.float64()}.get(self.kind, pa.string())


COLUMNS: tuple[Column, ...] = (
    Column("timestamp", "timestamp", "s", "unix seconds, UTC", 0),
    Column("region", "text", "", "region of the sending node"),
    Column("az", "text", "", "availability zone of the sending node"),
    Column("link_type", "category", "", "kind of link", categories=("dc", "metro", "wan", "edge")),
    Column("node_id", "integer", "", "sending node", 0),
    Column("peer_id", "integer", "", "receiving node", 0),
    Column("rtt_ms", "number", "ms", "round-trip time, mean of the minute", 0, label="RTT", floor=0.1),
    Column("jitter_ms", "number", "ms", "mean absolute change between round-trip times", 0, label="Jitter", floor=0.01),
    Column(
        "throughput_mbps", "number", "Mbit/s", "payload carried, mean of the minute", 0, label="Throughput", floor=0.1
    ),
    Column("bytes_tx", "integer", "B", "bytes sent in the minute", 0),
    Column("bytes_rx", "integer", "B", "bytes received in the minute", 0),
    Column("packet_loss", "number", "share", "packets lost, 0 to 1", 0, 1, label="Packet loss", floor=1e-5),
    Column("retransmits", "integer", "packets", "retransmissions in the minute", 0),
    Column("congestion_window", "integer", "packets", "congestion window, mean of the minute", 0),
    Column("queue_depth", "integer", "packets", "packets queued, mean of the minute", 0),
    Column("dwcp_mode", "category", "", "protocol mode", categories=("standard", "turbo", "reliable")),
    Column("network_tier", "category", "", "tier of the network", categories=("Premium", "Standard", "Economy")),
    Column("transport_type", "category", "", "transport protocol", categories=("tcp", "quic", "udp")),
    Column("time_of_day", "integer", "h", "hour, 0 to 23, under the calendar convention", 0, 23),
    Column("day_of_week", "integer", "d", "day, 0 to 6, under the calendar convention", 0, 6),
)
COLUMN_NAMES: tuple[str, ...] = tuple(column.name for column in COLUMNS)
COLUMN: dict[str, Column] = {column.name: column for column in COLUMNS}

OLD_NAMES: dict[str, str] = {"bandwidth_mbps": "throughput_mbps", "latency_ms": "rtt_ms"}
"""Names of older collectors, read as today's."""

LINK_KEY: tuple[str, str] = ("node_id", "peer_id")
LINK_ATTRIBUTES: tuple[str, ...] = ("region", "az", "link_type", "network_tier", "transport_type")
"""Columns that describe a link and are constant for it: what results are sliced by."""

Target = Literal["throughput_mbps", "rtt_ms", "packet_loss", "jitter_ms"]
TARGETS: tuple[str, ...] = get_args(Target)
"""The model's outputs, in order; each is a feature too."""
CALENDAR_FEATURES: tuple[str, str] = ("time_of_day", "day_of_week")
CONTEXT: tuple[str, ...] = ("congestion_window", "queue_depth", "retransmits")
"""Measured features that are not forecast."""
FEATURES: tuple[str, ...] = (*TARGETS, *CALENDAR_FEATURES, *CONTEXT)
"""The model's input columns, in the order of the input tensor's last axis."""
TARGET_FEATURES: slice = slice(len(TARGETS))
"""The targets' columns on the feature axis."""
CALENDAR_COLUMNS: tuple[int, ...] = tuple(FEATURES.index(name) for name in CALENDAR_FEATURES)
"""The calendar's."""
MEASURED: tuple[str, ...] = (*TARGETS, *CONTEXT)
"""The features that the network sees as logarithms."""

INTERVAL_LEVEL = 0.9
"""Share of the actual values that a forecast's interval is made to hold."""
INTERVAL_OUTPUTS: tuple[str, str] = ("lower", "upper")
"""The bounds of the interval: outputs that follow `output`, of its shape and in its units."""

CADENCE_SECONDS = 60
WINDOW_SIZE = 20
HORIZON_MINUTES = 15
MINIMUM_WINDOW_SIZE, MAXIMUM_WINDOW_SIZE = 5, 60

MAPE_FLOORS: dict[str, float] = {name: COLUMN[name].floor for name in TARGETS}
"""Below this actual value a sample does not count towards MAPE: a relative error there says nothing.
In each target's own unit; the share left out is always reported beside the MAPE."""


def physical_bounds(names: Sequence[str]) -> tuple[npt.NDArray[np.float64], npt.NDArray[np.float64]]:
    """[n] and [n], inclusive, in each column's unit; infinite where there is none."""
    columns = [COLUMN[name] for name in names]
    low = [-np.inf if column.minimum is None else column.minimum for column in columns]
    high = [np.inf if column.maximum is None else column.maximum for column in columns]
    return np.array(low, dtype=float), np.array(high, dtype=float)


if physical_bounds(MEASURED)[0].min() < 0:
    raise AssertionError("targets and context need a minimum of 0 or above: the network sees their logarithms")


@dataclass(frozen=True)
class Calendar:
    """How `time_of_day` and `day_of_week` follow from `timestamp`: by default UTC, 0 = Sunday.

    This is what the Go service sends. The convention is recorded with every model.
    """

    time_zone: str = "UTC"
    """IANA name; daylight saving is that of the zone."""
    first_day: str = "Sunday"
    link_zones: Mapping[tuple[int, int], str] = field(default_factory=dict)
    """(node_id, peer_id) → IANA name, of links in another time zone."""

    @property
    def sentence(self) -> str:
        """The convention in words, for messages and documents."""
        zone = "the link's own time zone" if self.link_zones else self.time_zone
        return f"time_of_day is the hour in {zone}, day_of_week counts from 0 = {self.first_day}"

    def of_link(self, link: tuple[int, int]) -> Calendar:
        """The calendar in the link's time zone."""
        return Calendar(self.link_zones.get(link, self.time_zone), self.first_day)

    def hours(self, timestamps_s: npt.NDArray[np.int64]) -> npt.NDArray[np.int64]:
        """Hour of the day (0 to 23) of each unix second, in `time_zone`."""
        return self._local(timestamps_s) // 3600 % 24

    def days(self, timestamps_s: npt.NDArray[np.int64]) -> npt.NDArray[np.int64]:
        """Day of the week (0 = Sunday) of each unix second, in `time_zone`; 1970-01-01 was a Thursday (4)."""
        return (self._local(timestamps_s) // 86400 + 4) % 7

    def _local(self, timestamps_s: npt.NDArray[np.int64]) -> npt.NDArray[np.int64]:
        """Seconds since 1970 on the zone's clock. Zones change their offset on a quarter of an hour."""
        if self.time_zone == "UTC":
            return timestamps_s
        zone = ZoneInfo(self.time_zone)
        quarters, place = np.unique(timestamps_s // 900, return_inverse=True)
        offsets = [datetime.fromtimestamp(quarter * 900, zone).utcoffset() for quarter in quarters.tolist()]
        seconds = np.array([0 if each is None else each.total_seconds() for each in offsets], dtype=np.int64)
        return timestamps_s + seconds[place.reshape(-1)]


CALENDAR = Calendar()
OF_EACH_LINK = "of each link"
"""A contract's time zone where links have their own."""
