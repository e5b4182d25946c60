"""Smaller models: the cost and the gain of int8 quantisation, on a calm fleet."""

from __future__ import annotations

import argparse
import shutil
import tempfile
from dataclasses import dataclass
from pathlib import Path

import numpy as np
import torch
from common import median_seconds, report, synthetic_frame

from bwpredict import schema
from bwpredict.config import SplitConfig, TrainingConfig
from bwpredict.datasets.windows import Split, WindowIndex, index_windows, split_windows
from bwpredict.inference.onnx_model import forecast
from bwpredict.inference.session import open_session
from bwpredict.models.compression import Footprint, measure_footprints, quantize_onnx, verdict
from bwpredict.models.network import Forecaster
from bwpredict.models.onnx_export import check_export, export_onnx, model_properties
from bwpredict.training.trainer import train

BATCH = 256


@dataclass(frozen=True)
class Variant:
    """A model and its file."""

    name: str
    model: Forecaster
    path: Path


def main() -> None:
    """Train one model, make its variants, measure them all, and print a row for each."""
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--links", type=int, default=20)
    parser.add_argument("--days", type=int, default=30)
    parser.add_argument("--epochs", type=int, default=12)
    parser.add_argument("--windows-per-epoch", type=int, default=TrainingConfig().windows_per_epoch)
    parser.add_argument("--test-windows", type=int, default=50_000)
    arguments = parser.parse_args()
    config = TrainingConfig(
        epochs=arguments.epochs,
        windows_per_epoch=arguments.windows_per_epoch,
    )
    index = index_windows(synthetic_frame(arguments.links, arguments.days), config.window_size, config.horizon_minutes)
    split = split_windows(index, SplitConfig())
    with tempfile.TemporaryDirectory() as folder:
        variants = make_variants(Path(folder), split, config)
        torch.set_num_threads(1)
        report("small", measure(variants, split, split["test"].spread(arguments.test_windows)))


def make_variants(folder: Path, split: Split, config: TrainingConfig) -> list[Variant]:
    """The model in float32, and with int8 weights."""
    model = train(split, config, folder / "base.pth").model
    properties = model_properties(model, version="benchmark", snapshot_id="none")
    base = Variant("base", model, export_onnx(model, folder / "float.onnx", properties))
    small = Variant("int8", model, Path(shutil.copy(base.path, folder / "int8.onnx")))
    quantize_onnx(small.path)
    return [base, small]


def measure(variants: list[Variant], split: Split, test: WindowIndex) -> list[dict[str, object]]:
    """A row for each variant; the first is the base that the others are compared with."""
    windows = split["validation"].spread(512).inputs()
    footprints = measure_footprints([variant.path for variant in variants], windows)
    actual = test.targets()
    errors = [np.abs(forecast(variant.path, test, threads=1) - actual).mean(axis=0) for variant in variants]
    return [
        _row(variant, footprint, footprints[0], mae / errors[0] - 1, windows)
        for variant, footprint, mae in zip(variants, footprints, errors, strict=True)
    ]


def _row(
    variant: Variant, footprint: Footprint, base: Footprint, mae_change: np.ndarray, windows: np.ndarray
) -> dict[str, object]:
    parity, _ = check_export(variant.model, variant.path, windows)
    session = open_session(variant.path, threads=1)
    batch = windows[:BATCH]
    seconds = median_seconds(lambda: session.run(["output"], {"input": batch}), repeats=9)
    return {
        "variant": variant.name,
        "KB": footprint.size_bytes / 1e3,
        "gzip KB": footprint.gzip_bytes / 1e3,
        "p50 ms": footprint.p50_ms,
        "p99 ms": footprint.p99_ms,
        f"windows/s at {len(batch)}": len(batch) / seconds,
        **{f"MAE {name} %": float(100 * change) for name, change in zip(schema.TARGETS, mae_change, strict=True)},
        "parity": parity["max_relative_error"],
        "batch effect": parity["max_batch_effect"],
        "verdict": "the base" if footprint is base else verdict(base, footprint),
    }


if __name__ == "__main__":
    main()
