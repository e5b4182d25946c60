"""The figures in Prometheus's text format.

The exporter's own health goes through prometheus_client. The series of links do not: there are 68 and more of each
link, and `generate_latest` takes several times as long for them (docs/exporter.md has figures). They come in pieces, so
that a scrape of a large fleet is never whole in memory.
"""

from __future__ import annotations

import zlib
from collections.abc import Iterable, Iterator

import numpy as np
import numpy.typing as npt
from prometheus_client import CollectorRegistry, generate_latest

from bwpredict import schema
from bwpredict.exporter.board import Figures
from bwpredict.exporter.distribution import exceedance
from bwpredict.exporter.thresholds import Thresholds

FORECAST, ACTUAL = "bwpredict_forecast", "bwpredict_actual"
ANOMALY, EXCEEDANCE = "bwpredict_anomaly_score", "bwpredict_exceedance_probability"
HELP = {
    FORECAST: "Forecast of a link's target, in the target's unit.",
    ACTUAL: "Newest sample of a link's target, in the target's unit.",
    ANOMALY: "Distance of the newest sample from its forecast: 0 at the median, 1 and -1 at the interval's bounds.",
    EXCEEDANCE: "Probability that a link's target is above the threshold at the horizon.",
}
"""Name → help of the links' metrics."""


def exposition(figures: Figures, thresholds: Thresholds, health: CollectorRegistry) -> Iterator[bytes]:
    """All metrics, piece by piece."""
    yield generate_latest(health)
    yield _head(FORECAST)
    yield from _forecasts(figures)
    for name, values in ((ACTUAL, figures.actual), (ANOMALY, figures.score)):
        yield _head(name)
        for place, target in enumerate(schema.TARGETS):
            yield _lines(name, {"target": target}, figures.links, values[:, place])
    yield _head(EXCEEDANCE)
    yield from _exceedances(figures, thresholds)


def compressed(pieces: Iterable[bytes]) -> Iterator[bytes]:
    """The pieces as one gzip stream."""
    packer = zlib.compressobj(level=1, wbits=31)
    for piece in pieces:
        if packed := packer.compress(piece):
            yield packed
    yield packer.flush()


def _forecasts(figures: Figures) -> Iterator[bytes]:
    for place, target in enumerate(schema.TARGETS):
        for horizon, minutes in enumerate(figures.horizons_minutes):
            for number, level in enumerate(figures.levels):
                labels = {"target": target, "horizon_minutes": f"{minutes:g}", "quantile": f"{level:g}"}
                yield _lines(FORECAST, labels, figures.links, figures.quantiles[:, horizon, number, place])


def _exceedances(figures: Figures, thresholds: Thresholds) -> Iterator[bytes]:
    for target, values in thresholds.items():
        place, floor = schema.TARGETS.index(target), schema.MAPE_FLOORS[target]
        for horizon, minutes in enumerate(figures.horizons_minutes):
            quantiles = figures.quantiles[:, horizon, :, place]
            for threshold in values:
                labels = {"target": target, "horizon_minutes": f"{minutes:g}", "threshold": f"{threshold:g}"}
                probability = exceedance(quantiles, figures.levels, threshold, floor)
                yield _lines(EXCEEDANCE, labels, figures.links, probability)


def _head(name: str) -> bytes:
    return f"# HELP {name} {HELP[name]}\n# TYPE {name} gauge\n".encode()


def _lines(name: str, labels: dict[str, str], links: list[str], values: npt.NDArray[np.floating]) -> bytes:
    """A line for each link that has a value. No label needs escaping: they are numbers and names of the schema."""
    told = ",".join(f'{key}="{value}"' for key, value in labels.items())
    begin = f'{name}{{{told},link="'
    lines = [
        f'{begin}{link}"}} {value:.7g}\n'
        for link, value in zip(links, values.tolist(), strict=True)
        if value == value  # noqa: PLR0124 - not NaN, without a call for each of millions
    ]
    return "".join(lines).encode()
