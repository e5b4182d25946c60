"""The documents of one small run, as the steps write them: for tests of what reads them."""

from bwpredict.config import RunConfig
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


def sample_comparison(error: float = 1.0) -> dict:
    """Challenger, champion and baselines; `error` scales the challenger's errors."""
    base = {
        "throughput_mbps": (31.2, 4.64),
        "rtt_ms": (0.21, 0.62),
        "packet_loss": (1.2e-4, 10.06),
        "jitter_ms": (0.081, 4.11),
    }

    def figures(scale):
        return {
            name: {
                "mae": mae * scale,
                "rmse": 1.7 * mae * scale,
                "mape": mape * scale,
                "r2_score": 1 - 0.02 * scale,
                "correlation": 1 - 0.008 * scale,
                "within_link_correlation": 1 - 0.06 * scale,
                "skill": 1 - scale / 1.08,
                "baseline": "persistence",
            }
            for name, (mae, mape) in base.items()
        }

    scales = {"challenger": error, "champion": 1.03, "persistence": 1.08, "mean_15_minutes": 1.1}
    return {
        "models": {
            name: {
                "per_target": figures(scale),
                "overall": {"average_correlation": 1 - 0.008 * scale, "average_mape": 4.86 * scale},
            }
            for name, scale in scales.items()
        },
        "test": {
            "start": "2026-10-26T00:35:00+00:00",
            "end": "2026-10-31T00:00:00+00:00",
            "windows": 100_000,
            "links": 20,
        },
    }


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
