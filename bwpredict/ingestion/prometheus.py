"""Telemetry from Prometheus: one row for each link and step, from the metrics that a YAML file maps.

A value at time t is what `function` makes of the samples after t - step, up to t: never of older ones. Prometheus's own
look-back of five minutes would fill gaps with stale values; here a gap stays one.
"""

from __future__ import annotations

import difflib
import os
import re
from collections.abc import Mapping
from pathlib import Path
from typing import Any, Literal, NamedTuple, Self
from urllib.parse import urlsplit

import numpy as np
import numpy.typing as npt
import pyarrow as pa
import requests
from pydantic import AliasChoices, BaseModel, ConfigDict, Field, model_validator
from requests.adapters import HTTPAdapter
from urllib3.util import Retry

from bwpredict import schema
from bwpredict.config import load_yaml
from bwpredict.errors import ConfigError, StoreUnreachableError, TelemetryError
from bwpredict.ingestion.landing import stored_numbers, with_constants
from bwpredict.ingestion.mapping import check_mapped

TOKEN_VARIABLE = "BWPREDICT_PROMETHEUS_TOKEN"  # noqa: S105 - the variable's name
"""Environment variable with a bearer token, where the server asks for one."""
MAX_POINTS = 11_000
"""The most points for each series that a server returns."""
_TRIES, _BACKOFF_S = 4, 0.5
_NAME = re.compile(r"[a-zA-Z_:][a-zA-Z0-9_:]*")

Link = tuple[int, int]
Function = Literal[
    "avg_over_time", "last_over_time", "max_over_time", "min_over_time", "sum_over_time", "increase", "rate"
]


class Metric(BaseModel):
    """Where one column comes from."""

    model_config = ConfigDict(frozen=True, extra="forbid")

    metric: str = Field(pattern=r"^[a-zA-Z_:][a-zA-Z0-9_:]*(\{.*\})?$")
    """A metric's name, with a selector in braces if need be."""
    function: Function = "avg_over_time"
    """The function that aggregates the samples of a step: `increase` for counters."""
    scale: float = 1.0
    """Factor for the result, such as 1000 to convert seconds to milliseconds."""


class PrometheusMapping(BaseModel):
    """The YAML file that maps labels and metrics to columns of the schema."""

    model_config = ConfigDict(frozen=True, extra="forbid")

    url: str = Field(pattern=r"^https?://")
    labels: dict[str, str]
    """Column → label; the link's `node_id` and `peer_id` at least."""
    metrics: dict[str, Metric] = Field(min_length=1)
    """Column → metric."""
    constants: dict[str, str | float] = {}
    """Column → its value in all rows."""
    step_seconds: int = Field(schema.CADENCE_SECONDS, ge=1, le=3600)
    timeout_seconds: float = Field(60, gt=0)
    max_points: int = Field(MAX_POINTS, ge=1, validation_alias=AliasChoices("max_points", "most_points"))
    """Points that one query asks for at most; mappings written for 0.1 say `most_points`."""

    @model_validator(mode="after")
    def _maps_the_link(self) -> Self:
        if not set(schema.LINK_KEY) <= self.labels.keys():
            raise ValueError(f"labels: the link's {' and '.join(schema.LINK_KEY)} are not both mapped")
        return self


def load_mapping(path: Path) -> PrometheusMapping:
    """The mapping in the YAML file. Raises ConfigError."""
    mapping = load_yaml(PrometheusMapping, path, "mapping of telemetry")
    check_mapped([*mapping.labels, *mapping.metrics, *mapping.constants], str(path))
    return mapping


class _Points(NamedTuple):
    """The points of one metric, link by link."""

    links: list[Link]
    counts: npt.NDArray[np.int64]
    """Of each link."""
    times: npt.NDArray[np.int64]
    """Unix seconds."""
    values: npt.NDArray[np.float64]


class PrometheusSource:
    """A server and how to read it.

    Raises:
        ConfigError: a metric is unknown to the server.
        StoreUnreachableError: the server does not answer, after several tries.
        TelemetryError: what it answers is no telemetry.
    """

    def __init__(self, mapping: PrometheusMapping) -> None:
        """Connect lazily: the first request is made by `check` or `read_day`."""
        self.mapping = mapping
        self.where = _without_secrets(mapping.url)
        self._session = requests.Session()
        retry = Retry(_TRIES, backoff_factor=_BACKOFF_S, status_forcelist=(429, 500, 502, 503, 504))
        for scheme in ("http://", "https://"):
            self._session.mount(scheme, HTTPAdapter(max_retries=retry))
        if token := os.environ.get(TOKEN_VARIABLE):
            self._session.headers["Authorization"] = f"Bearer {token}"

    def check(self) -> None:
        """Require that the server has each mapped metric; a misspelt one would give empty days."""
        known = self._get("label/__name__/values", {})
        for column, metric in self.mapping.metrics.items():
            name = _name_of(metric)
            if name not in known:
                close = difflib.get_close_matches(name, known, n=1)
                hint = f" Did you mean {close[0]!r}?" if close else ""
                raise ConfigError(f"{self.where}: has no metric {name!r}, which is mapped to {column}.{hint}")

    def read_day(self, first: int, past: int) -> pa.Table:
        """The rows of [first, past) unix seconds, link by link."""
        step, attributes = self.mapping.step_seconds, dict[Link, dict[str, str]]()
        read = {name: self._points(metric, first, past, attributes) for name, metric in self.mapping.metrics.items()}
        links = sorted(attributes)
        place = {link: number for number, link in enumerate(links)}
        cells = {
            name: (
                np.fromiter((place[link] for link in found.links), np.int64).repeat(found.counts),
                (found.times - first) // step,
            )
            for name, found in read.items()
        }
        known = np.zeros((len(links), -(-(past - first) // step)), bool)
        for where in cells.values():
            known[where] = True
        link, at = np.nonzero(known)
        keys = np.array(links, np.int64).reshape(-1, 2)[link]
        columns = {
            "node_id": pa.array(keys[:, 0]),
            "peer_id": pa.array(keys[:, 1]),
            "timestamp": pa.array(first + step * at),
        }
        for name, found in read.items():
            grid = np.full(known.shape, np.nan)
            grid[cells[name]] = found.values
            columns[name] = stored_numbers(name, grid[known])
        for name in self.mapping.labels.keys() - set(schema.LINK_KEY):
            columns[name] = pa.array([attributes[one].get(name) for one in links], pa.string()).take(pa.array(link))
        return with_constants(pa.table(columns), self.mapping.constants)

    def _points(self, metric: Metric, first: int, past: int, attributes: dict[Link, dict[str, str]]) -> _Points:
        """The metric's values, link by link; adds the values of labels to `attributes`."""
        step = self.mapping.step_seconds
        expression = f"{metric.function}({metric.metric}[{step * 1000 - 1}ms])"
        parts: dict[Link, list[list[Any]]] = {}
        for begin in range(first, past, step * self.mapping.max_points):
            end = min(begin + step * (self.mapping.max_points - 1), past - step)
            asked = {"query": expression, "start": begin, "end": end, "step": step}
            links = set()
            for series in self._get("query_range", asked)["result"]:
                link = self._link(series["metric"], metric)
                if link in links:
                    raise TelemetryError(
                        f"{self.where}: {metric.metric} has two series of link {link}; select one by a label."
                    )
                links.add(link)
                attributes.setdefault(link, {}).update(self._attributes(series["metric"]))
                parts.setdefault(link, []).extend(series["values"])
        counts = [len(points) for points in parts.values()]
        points = [point for each in parts.values() for point in each]
        times = np.fromiter((int(time) for time, _ in points), np.int64, len(points))
        values = np.fromiter((float(value) for _, value in points), np.float64, len(points)) * metric.scale
        return _Points(list(parts), np.array(counts, np.int64), times, values)

    def _link(self, labels: Mapping[str, str], metric: Metric) -> Link:
        node, peer = (self._whole_number(labels, self.mapping.labels[name], metric) for name in schema.LINK_KEY)
        return node, peer

    def _whole_number(self, labels: Mapping[str, str], label: str, metric: Metric) -> int:
        if label not in labels:
            there = ", ".join(sorted(labels)) or "none"
            raise ConfigError(f"{self.where}: series of {metric.metric} have no label {label!r}; they have: {there}.")
        try:
            return int(labels[label])
        except ValueError as error:
            raise TelemetryError(
                f"{self.where}: label {label!r} of {metric.metric} is {labels[label]!r}; expected a whole number."
            ) from error

    def _attributes(self, labels: Mapping[str, str]) -> dict[str, str]:
        return {name: labels[label] for name, label in self.mapping.labels.items() if label in labels}

    def _get(self, endpoint: str, query: Mapping[str, Any]) -> Any:
        """The `data` of the answer."""
        try:
            answer = self._session.get(
                f"{self.mapping.url.rstrip('/')}/api/v1/{endpoint}", params=query, timeout=self.mapping.timeout_seconds
            )
        except requests.RequestException as error:
            raise StoreUnreachableError(
                f"{self.where}: does not answer ({type(error).__name__}); check the URL and that Prometheus runs."
            ) from error
        try:
            document = answer.json()
        except ValueError as error:
            raise TelemetryError(
                f"{self.where}: answers with status {answer.status_code} and no JSON; is it Prometheus?"
            ) from error
        if document.get("status") != "success":
            raise TelemetryError(f"{self.where}: refuses the query: {document.get('error', answer.status_code)}.")
        return document["data"]


def _name_of(metric: Metric) -> str:
    match = _NAME.match(metric.metric)
    return match[0] if match else metric.metric


def _without_secrets(url: str) -> str:
    parts = urlsplit(url)
    return f"{parts.scheme}://{parts.hostname}{f':{parts.port}' if parts.port else ''}{parts.path}".rstrip("/")
