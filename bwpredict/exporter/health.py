"""Metrics of the exporter's health."""

from __future__ import annotations

from collections.abc import Callable

from prometheus_client import CollectorRegistry, Counter, Gauge

from bwpredict import schema
from bwpredict.exporter.board import Figures, Judged

PREFIX = "bwpredict_exporter"


class Health:
    """The metrics of the exporter itself, in a separate registry."""

    def __init__(self) -> None:
        """Nothing has happened yet."""
        self.registry = CollectorRegistry()
        self._model = self._gauge("model_info", "Always 1; the version that serves.", "version")
        self._warming = self._gauge("warming_model_info", "1 for the version that warms up beside it.", "version")
        self.model_accepted = self._gauge("model_accepted", "0 while the model in the folder is refused.")
        self.source_up = self._gauge("source_up", "1 if the source answered the last time.")
        self.ready = self._gauge("ready", "1 as soon as the history is read.")
        self.age = self._gauge("newest_sample_age_seconds", "Age of the newest sample of all links; NaN: none yet.")
        self._known = self._gauge("links_known", "Links that had a sample since the start or in the saved state.")
        self._warm = self._gauge("links_warm", "Links followed for the model's warm-up time, without the mute ones.")
        self._mute = self._gauge("links_mute", "Links without a sample for five minutes; they have no forecast.")
        self.read_seconds = self._gauge("read_seconds", "Time that the source took for the last read.")
        self.step_seconds = self._gauge("step_seconds", "Time that the forecasts of the last minute took.")
        self.invalid = self._counter("invalid_values", "Values out of their column's bounds, taken as missing.")
        self.late = self._counter("late_samples", "Samples older than one of their link that was there already.")
        self._judged = self._counter("forecasts_judged", "Forecasts at the contract's horizon that came due.", "target")
        self._within = self._counter("forecasts_within_interval", "Of these, within their interval.", "target")
        self._error = self._counter("forecast_absolute_error", "Sum of their absolute errors.", "target")
        self._persistence = self._counter("persistence_absolute_error", "The same of the last value.", "target")
        self.model_accepted.set(1)

    def judge(self, judged: Judged) -> None:
        """Add the actual values of a minute."""
        for place, target in enumerate(schema.TARGETS):
            self._judged.labels(target).inc(float(judged.count[place]))
            self._within.labels(target).inc(float(judged.within[place]))
            self._error.labels(target).inc(float(judged.error[place]))
            self._persistence.labels(target).inc(float(judged.persistence_error[place]))

    def tell_links(self, figures: Figures) -> None:
        """Count the links."""
        self._known.set(figures.known)
        self._warm.set(figures.warm)
        self._mute.set(figures.known - len(figures.links))

    def tell_models(self, version: str, warming: str | None) -> None:
        """Name the versions."""
        for gauge, name in ((self._model, version), (self._warming, warming)):
            gauge.clear()
            if name:
                gauge.labels(name).set(1)

    def tell_age(self, age: Callable[[], float]) -> None:
        """Ask for the age at each scrape."""
        self.age.set_function(age)

    def _gauge(self, name: str, told: str, *labels: str) -> Gauge:
        return Gauge(f"{PREFIX}_{name}", told, labels, registry=self.registry)

    def _counter(self, name: str, told: str, *labels: str) -> Counter:
        return Counter(f"{PREFIX}_{name}", told, labels, registry=self.registry)
