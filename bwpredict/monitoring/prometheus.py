"""A day's document and a decision as Prometheus metrics: as text, for a textfile collector, or pushed to a Pushgateway.

The names are documented in docs/monitoring.md; a figure that is undefined has no sample.
"""

from __future__ import annotations

from collections import Counter
from collections.abc import Iterable, Iterator, Mapping
from datetime import UTC, datetime
from http.client import HTTPException
from pathlib import Path
from typing import Any

from prometheus_client import CollectorRegistry, Gauge, generate_latest, push_to_gateway

from bwpredict.config import DEFAULT_MODEL
from bwpredict.errors import ConfigError, StoreUnreachableError
from bwpredict.store.files import write_atomically
from bwpredict.store.s3_errors import without_credentials

JOB, GATE_JOB = "bwpredict_monitor", "bwpredict_gate"
OUTCOMES = ("promote", "bootstrap", "keep", "reject")
VERDICTS = ("better", "worse", "undecided")
_PUSH_TIMEOUT_S = 20
_SECONDS = {"days": 86_400, "minutes": 60}

METRICS: dict[str, tuple[str, tuple[str, ...]]] = {
    "bwpredict_monitored_day_timestamp_seconds": ("End of the UTC day that was scored, as a unix time.", ()),
    "bwpredict_production_info": ("Always 1; the label is the version in production.", ("version",)),
    "bwpredict_forecast_mae": ("Mean absolute error, in the target's unit.", ("role", "target")),
    "bwpredict_forecast_wape_ratio": ("Sum of absolute errors over sum of actual values.", ("role", "target")),
    "bwpredict_forecast_correlation": ("Pearson's correlation, pooled over links.", ("role", "target")),
    "bwpredict_forecast_skill": ("1 - MAE over that of the best simple forecast.", ("role", "target")),
    "bwpredict_interval_coverage_ratio": ("Share of the actual values within the intervals.", ("target",)),
    "bwpredict_interval_level_ratio": ("Share that the intervals are made to hold.", ()),
    "bwpredict_feature_psi": ("Drift against the same weekdays and hours of the training month.", ("feature",)),
    "bwpredict_evidence": ("Evidence of a sustained drop; an alarm at the threshold.", ("test",)),
    "bwpredict_evidence_threshold": ("The evidence that raises an alarm.", ()),
    "bwpredict_alarm": ("1 while the test's alarm stands.", ("test",)),
    "bwpredict_model_age_seconds": ("Time since the version was promoted.", ()),
    "bwpredict_training_data_age_seconds": ("Time since the end of the month it was trained for.", ()),
    "bwpredict_last_sample_age_seconds": ("Age of the newest sample at the end of the day.", ()),
    "bwpredict_telemetry_completeness_ratio": ("Share of the day's minutes that hold a sample.", ()),
    "bwpredict_windows_scored": ("Forecasts that were scored.", ()),
    "bwpredict_canary_share_ratio": ("Share of the links that the canary serves; 0: none.", ()),
    "bwpredict_canary_log_error_ratio": ("Mean log of canary's over production's MAE; negative is better.", ()),
    "bwpredict_canary_verdict": ("1 for the verdict that stands.", ("verdict",)),
    "bwpredict_gate_decided_timestamp_seconds": ("When the last retraining was decided, as a unix time.", ()),
    "bwpredict_gate_outcome": ("1 for the outcome of the last decision.", ("outcome",)),
    "bwpredict_gate_checks": ("Checks of the last decision.", ("verdict",)),
}
"""Name → help, and labels beside `model`."""


def registry_of(document: Mapping[str, Any], *, model: str = DEFAULT_MODEL) -> CollectorRegistry:
    """The document's metrics in a registry of their own; each has the label `model`."""
    return _registry(_samples(document), model)


def _registry(samples: Iterable[Sample], model: str) -> CollectorRegistry:
    registry = CollectorRegistry()
    gauges: dict[str, Gauge] = {}
    for name, labels, value in samples:
        if value is None:
            continue
        if name not in gauges:
            help_, names = METRICS[name]
            gauges[name] = Gauge(name, help_, ("model", *names), registry=registry)
        gauges[name].labels(model=model, **labels).set(value)
    return registry


def text(document: Mapping[str, Any], *, model: str = DEFAULT_MODEL) -> str:
    """The metrics in Prometheus's text format."""
    return generate_latest(registry_of(document, model=model)).decode()


def write_textfile(document: Mapping[str, Any], path: Path, *, model: str = DEFAULT_MODEL) -> None:
    """Write the metrics to a file (`*.prom` for node_exporter's textfile collector), atomically."""
    write_atomically(path, text(document, model=model).encode())


def push(document: Mapping[str, Any], gateway: str, *, model: str = DEFAULT_MODEL) -> None:
    """Replace the metrics of this model and the job `JOB` at a Pushgateway (`http://host:9091`).

    Raises:
        ConfigError: not an http(s) URL.
        StoreUnreachableError: the gateway does not answer, or refuses.
    """
    _push(JOB, registry_of(document, model=model), gateway, model)


def push_decision(decision: Mapping[str, Any], gateway: str, *, model: str = DEFAULT_MODEL) -> None:
    """Replace the figures of the last retraining's decision (kind `decision`), under the job `GATE_JOB`.

    Raises:
        ConfigError, StoreUnreachableError: as `push`.
    """
    _push(GATE_JOB, _registry(_decided(decision), model), gateway, model)


def _push(job: str, own: CollectorRegistry, gateway: str, model: str) -> None:
    where = without_credentials(gateway)
    if not gateway.startswith(("http://", "https://")):
        raise ConfigError(f"{where}: is not a Pushgateway; expected a URL such as http://host:9091.")
    try:
        push_to_gateway(gateway, job=job, grouping_key={"model": model}, registry=own, timeout=_PUSH_TIMEOUT_S)
    except (OSError, HTTPException) as error:  # HTTPException: not a port number, or not an HTTP answer
        reason = getattr(error, "reason", error)
        raise StoreUnreachableError(
            f"{where}: the Pushgateway did not take the metrics ({reason}); check its URL."
        ) from error


Sample = tuple[str, dict[str, str], float | None]


def _samples(document: Mapping[str, Any]) -> Iterator[Sample]:
    end = datetime.fromisoformat(document["day"]).replace(tzinfo=UTC).timestamp() + 86_400
    yield "bwpredict_monitored_day_timestamp_seconds", {}, end
    yield "bwpredict_production_info", {"version": document["production"]["version"]}, 1
    yield from _accuracy(document)
    for feature, figures in document["drift"]["per_feature"].items():
        yield "bwpredict_feature_psi", {"feature": feature}, figures["psi"]
    for test in document["tests"]:
        yield "bwpredict_evidence", {"test": test["id"]}, test["total"]
        yield "bwpredict_alarm", {"test": test["id"]}, float(test["alarm"])
        yield "bwpredict_evidence_threshold", {}, test["threshold"]
    for name, value in document["staleness"].items():
        what, _, unit = name.rpartition("_")
        yield f"bwpredict_{what}_seconds", {}, value * _SECONDS[unit]
    yield "bwpredict_telemetry_completeness_ratio", {}, document["telemetry"]["completeness"]
    yield "bwpredict_windows_scored", {}, document["telemetry"]["windows"]
    yield from _canary(document["canary"])


def _decided(decision: Mapping[str, Any]) -> Iterator[Sample]:
    at = datetime.fromisoformat(decision["decided_at"]).timestamp()
    yield "bwpredict_gate_decided_timestamp_seconds", {}, at
    for outcome in OUTCOMES:
        yield "bwpredict_gate_outcome", {"outcome": outcome}, float(decision["outcome"] == outcome)
    for verdict, count in Counter(check["verdict"] for check in decision["checks"]).items():
        yield "bwpredict_gate_checks", {"verdict": verdict}, count


def _accuracy(document: Mapping[str, Any]) -> Iterator[Sample]:
    for role, model in document["models"].items():
        for target, figures in (model["per_target"] or {}).items():
            labels = {"role": role, "target": target}
            for name in ("mae", "correlation", "skill"):
                yield f"bwpredict_forecast_{name}", labels, figures[name]
            wape = figures["wape_percent"]
            yield "bwpredict_forecast_wape_ratio", labels, None if wape is None else wape / 100
    if held := document["coverage"]:
        yield "bwpredict_interval_level_ratio", {}, held["level"]
        for target, share in held["per_target"].items():
            yield "bwpredict_interval_coverage_ratio", {"target": target}, share


def _canary(canary: Mapping[str, Any] | None) -> Iterator[Sample]:
    yield "bwpredict_canary_share_ratio", {}, canary["share"] if canary else 0
    if canary:
        yield "bwpredict_canary_log_error_ratio", {}, canary["log_error_ratio"]
        for verdict in VERDICTS:
            yield "bwpredict_canary_verdict", {"verdict": verdict}, float(canary["verdict"] == verdict)
