"""The next hour of one link: a stream that is warmed up from the source's last day."""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np
import numpy.typing as npt
import pyarrow as pa
import pyarrow.compute as pc

from bwpredict import schema
from bwpredict.core.link_labels import parse_label, unknown_link
from bwpredict.errors import ConfigError
from bwpredict.exporter.board import Floats, with_adapted_bounds
from bwpredict.exporter.exporter import HISTORY_SECONDS, MINUTE
from bwpredict.exporter.sources import FolderSource, Source, minutes_of
from bwpredict.serving.adaptive_intervals import Link
from bwpredict.serving.stream import Stream, StreamForecasts

CHUNK_SECONDS = 3 * 3600
"""Of history, read at once: a source may have many links beside this one."""
SHOWN_MINUTES = 60
"""Of history that is kept for the chart."""


@dataclass(frozen=True)
class NextHour:
    """What one model says of one link after its newest sample; values in each target's unit."""

    link: str
    version: str
    newest_at: int
    """Unix second of the newest sample."""
    warm: bool
    """Whether the history was as long as the model's warm-up time."""
    horizons_minutes: tuple[float, ...]
    levels: tuple[float, ...]
    """Of the quantiles, ascending."""
    quantiles: Floats
    """[horizons, levels, targets]"""
    confidence: dict[str, float]
    """Of each target at the contract's horizon, 0 to 1; empty: the model has no intervals."""
    overall_confidence: float | None
    recent: Floats
    """[SHOWN_MINUTES, targets], the samples up to the newest one, NaN where one is missing."""


def next_hour(stream: Stream, source: Source, label: str, *, now: float) -> NextHour:
    """Forecast the link `<node_id>-<peer_id>` from its newest sample in the source's last day.

    The last day of a telemetry folder ends with its newest row, that of any other source at `now` (unix second).

    Raises:
        ConfigError: the link has no sample in that day; names the closest links that have.
        BwPredictError: the source or the model fails.
    """
    newest = source.newest_at() if isinstance(source, FolderSource) else int(now)
    past = newest // MINUTE * MINUTE + MINUTE
    link, answer = parse_label(label), None
    recent: dict[int, Floats] = {}
    labels: set[str] = set()
    for begin in range(past - HISTORY_SECONDS, past, CHUNK_SECONDS):
        table = source.read_day(begin, min(begin + CHUNK_SECONDS, past))
        labels |= _labels(table)
        for minute in minutes_of(_rows_of(table, link)):
            columns = schema.FEATURES
            answer = stream.step(minute.links, minute.values, columns=columns, at=minute.at, now=minute.at)
            recent[minute.at] = minute.values[0, schema.TARGET_FEATURES]
    if answer is None:
        raise ConfigError(unknown_link(label, labels, f"in the last day of {source.where}"))
    return _named(label, answer, recent)


def _rows_of(table: pa.Table, link: Link | None) -> pa.Table:
    if link is None:
        return table.slice(0, 0)
    node, peer = (pc.equal(table[name], value) for name, value in zip(schema.LINK_KEY, link, strict=True))
    return table.filter(pc.and_(node, peer))


def _labels(table: pa.Table) -> set[str]:
    links = table.select(schema.LINK_KEY).group_by(list(schema.LINK_KEY)).aggregate([]).to_pylist()
    return {"-".join(str(link[name]) for name in schema.LINK_KEY) for link in links if None not in link.values()}


def _named(label: str, answer: StreamForecasts, recent: dict[int, Floats]) -> NextHour:
    newest = max(recent)
    missing = np.full(len(schema.TARGETS), np.nan, np.float32)
    shown: npt.NDArray[np.int64] = newest - MINUTE * np.arange(SHOWN_MINUTES - 1, -1, -1)
    forecasts = answer.forecasts
    sure = {name: each.confidence for name, each in forecasts.targets.items()}
    return NextHour(
        link=label,
        version=forecasts.version,
        newest_at=newest,
        warm=bool(answer.warm[0]),
        horizons_minutes=answer.horizons_minutes,
        levels=answer.quantile_levels,
        quantiles=with_adapted_bounds(answer)[0],
        confidence={name: float(values[0]) for name, values in sure.items() if values is not None},
        overall_confidence=None if forecasts.confidence is None else float(forecasts.confidence[0]),
        recent=np.stack([recent.get(int(at), missing) for at in shown]),
    )
