"""The documents of one small run, as the steps write them: for tests of what reads them."""

import numpy as np
import pandas as pd

from bwpredict.config import GatePolicy, RunConfig
from bwpredict.core.consumer_rules import shipped_rules
from bwpredict.evaluation.baselines import BASELINES, REFERENCES
from bwpredict.evaluation.comparison import compare
from bwpredict.evaluation.consumer import replay_consumer
from bwpredict.evaluation.forecasts import Forecasts
from bwpredict.gate.decision import make_decision
from bwpredict.inference.onnx_model import Bounds, Forecast
from bwpredict.monitoring.sequential_tests import evaluate_production
from bwpredict.reports.metadata import Artifact, measure_environment, model_metadata
from bwpredict.schema import TARGETS

WEEK_SECONDS = 7 * 86_400
VERSION = "v20261101_000412"


def sample_run(**changes) -> RunConfig:
    values = {
        "run_id": "manual__2026-11-01T00:04:12+00:00",
        "version": VERSION,
        "month": "2026-10",
        "telemetry": "s3://telemetry/prod",
        "registry": "s3://models",
        "code_version": "1.0.0+4544998",
        "created_at": "2026-11-01T00:04:12+00:00",
    }
    return RunConfig.model_validate(values | changes)


def sample_history() -> dict:
    return {
        "records": [
            {
                "epoch": epoch,
                "train_loss": 0.3 + 1 / epoch,
                "validation_loss": 0.35 + 0.9 / epoch + (0.05 if epoch > 6 else 0),
                "learning_rate": 2e-3 * 0.8**epoch,
                "seconds": 17.4,
                "windows": 20_000,
            }
            for epoch in range(1, 9)
        ],
        "best_epoch": 6,
        "device": "cpu",
        "threads": 2,
        "windows_per_second": 1149.4,
        "duration_seconds": 143.2,
        "parameters": 546_672,
        "stopped_early": True,
        "loss": "mean absolute error in log space, in units of the typical change",
    }


def sample_snapshot() -> dict:
    days = [f"2026-10-{day:02}" for day in range(1, 32)]
    return {
        "snapshot_id": "5f1c7a02be31" + "0" * 52,
        "contract_version": 1,
        "start": "2026-10-01T00:00:00+00:00",
        "end": "2026-11-01T00:00:00+00:00",
        "telemetry_uri": "s3://telemetry/prod",
        "prefix": "",
        "objects": [
            {"key": f"date={day}/part-0.parquet", "size_bytes": 812_004, "etag": f"e{day}", "rows": 28_784}
            for day in days
        ],
        "rows": 892_091,
        "links": 20,
        "duplicates_removed": 213,
        "conflicting_rows": 0,
        "late_rows": 0,
        "misplaced_rows": 0,
        "nulls": {},
        "non_finite": {},
        "columns_renamed": {},
        "months_found": ["2026-10"],
        "missing_days": [],
        "days": [
            {
                "date": day,
                "rows": 28_777,
                "links": 20,
                "late_rows": 0,
                "duplicates_removed": 7,
                "conflicting_rows": 0,
                "sha256": "ab" * 32,
            }
            for day in days
        ],
        "telemetry_sha256": "cd" * 32,
    }


def sample_split() -> dict:
    days = {"train": (1, 20), "validation": (20, 23), "calibration": (23, 26), "test": (26, 31)}
    return {
        "by": "calendar",
        "whole_days": True,
        "embargo_minutes": 35.0,
        "parts": {
            name: {
                "start": f"2026-10-{first:02}T00:35:00+00:00",
                "end": f"2026-10-{last:02}T00:00:00+00:00",
                "windows": (last - first) * 28_100,
            }
            for name, (first, last) in days.items()
        },
    }


def sample_artifact(*, intervals: bool = True) -> Artifact:
    architecture = {
        "type": "LSTM",
        "framework": "PyTorch",
        "layers": [{"type": "LSTM", "units": 256}, {"type": "Linear", "units": 4}],
    }
    return Artifact(
        onnx=f"bandwidth_lstm_{VERSION}.onnx",
        sha256="5f" * 32,
        size_bytes=2_214_300,
        architecture=architecture,
        parameters=546_672,
        scaler_params={"inside_graph": True},
        streaming={
            "onnx": f"bandwidth_lstm_stream_{VERSION}.onnx",
            "sha256": "0" * 64,
            "state_size": 377,
            "state_version": 1,
        },
        intervals=sample_intervals() if intervals else {"made": False, "reason": "The split has no calibration part."},
    )


def sample_intervals() -> dict:
    return {
        "made": True,
        "reason": None,
        "level": 0.9,
        "method": "split-conformal",
        "calibration_windows": 20_000,
        "quantiles": {"lower": dict.fromkeys(TARGETS, -1.02), "upper": dict.fromkeys(TARGETS, 0.98)},
        "scale": {"statistics": ["spread of throughput_mbps"]},
        "confidence": {"formula": "confidence = …", "floors": dict.fromkeys(TARGETS, 0.1)},
    }


def sample_metadata(comparison: dict, *, run: RunConfig | None = None, **changes) -> dict:
    inputs = {
        "run": run or sample_run(),
        "artifact": sample_artifact(),
        "snapshot": sample_snapshot(),
        "split": sample_split(),
        "history": sample_history(),
        "comparison": comparison,
        "environment": measure_environment(),
    }
    return model_metadata(**(inputs | changes))


def sample_forecasts(error: float = 1.0, *, targets: tuple[str, ...] = TARGETS, links: int = 4) -> Forecasts:
    """Forecasts of challenger, champion and baselines; `error` scales the challenger's errors."""
    rng = np.random.default_rng(7)
    windows = 240
    typical = {"throughput_mbps": 400.0, "rtt_ms": 30.0, "packet_loss": 1e-3, "jitter_ms": 2.0}
    level = np.array([typical[name] for name in targets])
    link = np.repeat(np.arange(links), windows // links)
    actual = level * np.exp(rng.normal(0, 1, (windows, len(targets)))) * (1 + link[:, None])
    noise = rng.normal(0, 0.03, actual.shape)
    scales = {"challenger": error, "champion": 1.2, **dict.fromkeys(BASELINES, 2.0)}
    models = {name: (actual * (1 + scale * noise)).astype(np.float32) for name, scale in scales.items()}
    models["same_minute_yesterday"][:60] = np.nan
    return Forecasts(
        targets=targets,
        actual=actual.astype(np.float32),
        models=models,
        link=link,
        timestamps=1_793_000_000 + (WEEK_SECONDS * links // windows) * np.tile(np.arange(windows // links), links),
        links=pd.DataFrame(
            {
                "node_id": range(links),
                "peer_id": range(100, 100 + links),
                "region": [("us-east", "eu-west")[number % 2] for number in range(links)],
            }
        ),
    )


def sample_bounds(forecasts: Forecasts, half_width: float = 0.05) -> Bounds:
    output = _all_targets(forecasts, "challenger")
    return Bounds(output * (1 - half_width), output * (1 + half_width), 0.9)


def _all_targets(forecasts: Forecasts, model: str) -> np.ndarray:
    """[n, 4], a model's forecasts as its file gives them; 0 for targets that the telemetry lacks."""
    output = np.zeros((len(forecasts), len(TARGETS)), np.float32)
    output[:, [TARGETS.index(name) for name in forecasts.targets]] = forecasts.models[model]
    return output


def sample_comparison(
    error: float = 1.0, *, targets: tuple[str, ...] = TARGETS, half_width: float | None = 0.05
) -> dict:
    """`half_width`: of the intervals, relative to the forecast; None: without intervals."""
    forecasts = sample_forecasts(error, targets=targets)
    bounds = None if half_width is None else sample_bounds(forecasts, half_width)
    served = {name: Forecast(_all_targets(forecasts, name), bounds) for name in ("challenger", "champion")}
    consumer = replay_consumer(forecasts, served, shipped_rules())
    minutes = [float(minute) for minute in range(1, 16)]
    mae = {name: dict.fromkeys(targets, minutes) for name in REFERENCES}
    return {"anchor": None, "consumer": consumer, "horizon": {"minutes": minutes, "mae": mae}} | compare(
        forecasts,
        bounds=bounds,
        champion_bounds=bounds,
        challenger_version=VERSION,
        challenger_sha256="5f" * 32,
        champion_version="v20261001_000318",
        champion_sha256="ab" * 32,
    )


def sample_decision(comparison: dict, **options) -> dict:
    """`options`: of `make_decision`."""
    parity = {
        "onnx_checker": True,
        "max_relative_error": 2e-6,
        "all_finite": True,
        "bounds_kept": True,
        "order_kept": True,
        "cases": [{}],
    }
    return make_decision(
        comparison,
        parity,
        {"p99_ms": 0.31},
        GatePolicy(minimum_test_windows=100),
        version=VERSION,
        run_id=sample_run().run_id,
        month="2026-10",
        onnx_sha256="5f" * 32,
        snapshot_id=sample_snapshot()["snapshot_id"],
        decided_at="2026-11-01T00:14:00+00:00",
        **options,
    )


def sample_day(day: str, version: str) -> dict:
    """A monitored day on which the skill of RTT has raised an alarm."""
    figure = dict.fromkeys(
        ("mae", "rmse", "wape_percent", "mape_percent", "correlation", "within_link_correlation"), 1.0
    )
    skill = dict.fromkeys(TARGETS, 0.4) | {"rtt_ms": -0.1}
    tests = evaluate_production(
        {target: {"skill": skill[target]} for target in TARGETS},
        None,
        dict.fromkeys(TARGETS, 0.4),
        day="2026-09-01",
        windows=9000,
        before=None,
    )
    for test in tests:
        test["alarm"] = test["id"] == "skill.rtt_ms"
    per_target = {target: {**figure, "skill": skill[target], "baseline": "last_value"} for target in TARGETS}
    return {
        "day": day,
        "scored_at": f"{day}T23:59:59+00:00",
        "production": {"version": version, "month": "2026-07", "since": "2026-08-01T09:30:00+00:00"},
        "telemetry": {"rows": 11_520, "links": 8, "windows": 9_000, "completeness": 1.0},
        "staleness": {"model_age_days": 1.0, "training_data_age_days": 32.0, "last_sample_age_minutes": 1.0},
        "models": {"production": {"version": version, "problem": None, "per_target": per_target}},
        "coverage": {"level": 0.9, "per_target": dict.fromkeys(TARGETS, 0.91)},
        "drift": {"reference_days": ["2026-07-07"], "per_feature": {"rtt_ms": {"psi": 0.4, "verdict": "moved"}}},
        "tests": tests,
        "canary": None,
        "alarm": True,
        "alarm_began": day == "2026-09-01",
    }


def sample_validation(*, broken: bool = False) -> dict:
    """One check that passed and one warning; `broken`: and one error."""
    checks = [
        _validation_check("rtt_ms.range", "rtt_ms: as expected, 0 ms or more.", "error", passed=True),
        _validation_check("throughput_mbps.drift", "throughput_mbps: has drifted by 0.23; expected 0.2.", "warning"),
    ]
    if broken:
        sentence = "packet_loss: 12 of 400 values are outside 0 to 1; expected 0 to 1."
        checks.append(_validation_check("packet_loss.range", sentence, "error"))
    counts = {"declared": len(checks), "evaluated": len(checks), "errors": int(broken), "warnings": 1}
    return {
        "passed": not broken,
        "first_month": False,
        "note": "Drift, row count and link count are compared with the champion's training data.",
        "period": {"start": "2026-10-01T00:00:00+00:00", "end": "2026-11-01T00:00:00+00:00"},
        "rows": 892_091,
        "links": 20,
        "counts": counts,
        "suites": [{"name": name, **counts} for name in ("telemetry_schema", "telemetry_distributions")],
        "checks": checks,
        "data_docs": "data_docs/index.html",
    }


def _validation_check(name: str, sentence: str, severity: str, *, passed: bool = False) -> dict:
    return {
        "id": f"schema.{name}",
        "suite": "telemetry_schema",
        "column": name.partition(".")[0],
        "severity": severity,
        "evaluated": True,
        "passed": passed,
        "sentence": sentence,
        "observed": None,
        "expected": "",
        "unexpected_count": 0 if passed else 12,
        "unexpected_share": 0.0 if passed else 0.03,
        "examples": [],
    }
