"""The documents of one small run, as the steps write them: for tests of what reads them."""

import numpy as np
import pandas as pd

from bwpredict.config import RunConfig
from bwpredict.evaluation.baselines import BASELINES
from bwpredict.evaluation.comparison import compare
from bwpredict.evaluation.forecasts import Forecasts
from bwpredict.metadata import Artifact, measure_environment, model_metadata
from bwpredict.schema import TARGETS

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
    return {
        "snapshot_id": "snap-5f1c7a02be31",
        "start": "2026-10-01T00:00:00+00:00",
        "end": "2026-11-01T00:00:00+00:00",
        "telemetry_uri": "s3://telemetry/prod",
        "objects": [{"key": f"date=2026-10-{day:02}/part-0.parquet"} for day in range(1, 32)],
        "rows": 892_114,
        "links": 20,
        "duplicates_removed": 213,
        "columns_renamed": {},
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


def sample_artifact() -> Artifact:
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
    )


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
        timestamps=1_793_000_000 + 60 * np.arange(windows),
        links=pd.DataFrame({"node_id": range(links), "peer_id": range(100, 100 + links)}),
    )


def sample_comparison(error: float = 1.0, *, targets: tuple[str, ...] = TARGETS) -> dict:
    return compare(
        sample_forecasts(error, targets=targets),
        challenger_version=VERSION,
        challenger_sha256="5f" * 32,
        champion_version="v20261001_000318",
        champion_sha256="ab" * 32,
    )


def sample_decision(comparison: dict) -> dict:
    overall = comparison["models"]["challenger"]["overall"]
    values = [
        ("average_mape", overall["average_mape"], 5.0),
        ("latency_p99_ms", 0.31, 10.0),
        ("parity_error", 2e-6, 1e-3),
    ]
    checks = [
        {
            "id": name,
            "sentence": f"The challenger's {name} is at most the policy's.",
            "value": value,
            "threshold": threshold,
            "verdict": "pass" if value <= threshold else "fail",
            "severity": "error",
            "target": None,
        }
        for name, value, threshold in reversed(values)
    ]
    passed = all(check["verdict"] == "pass" for check in checks)
    return {
        "version": VERSION,
        "run_id": sample_run().run_id,
        "outcome": "accepted" if passed else "rejected",
        "passed": passed,
        "case": "champion",
        "reason": "All 3 checks passed." if passed else "1 of 3 checks failed.",
        "checks": checks,
    }


def sample_validation() -> dict:
    return {
        "passed": True,
        "checks": [
            {"sentence": "rtt_ms is at least 0.", "severity": "error", "success": True},
            {"sentence": "throughput_mbps has drifted: 0.23, more than 0.2.", "severity": "warning", "success": False},
        ],
    }
