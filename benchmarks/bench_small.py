"""Smaller models: the cost and the gain of L1 pruning with fine-tuning, and of int8 quantisation, on a calm fleet."""

from __future__ import annotations

import argparse
import copy
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
from bwpredict.models.compression import Footprint, measure_footprints, non_zero_share, quantize_onnx, verdict
from bwpredict.models.network import Forecaster
from bwpredict.models.onnx_export import check_export, export_onnx, model_properties
from bwpredict.training.trainer import prune_and_fine_tune, train

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
    parser.add_argument("--fine-tune-epochs", type=int, default=TrainingConfig().fine_tune_epochs)
    parser.add_argument("--windows-per-epoch", type=int, default=TrainingConfig().windows_per_epoch)
    parser.add_argument("--test-windows", type=int, default=50_000)
    parser.add_argument("--shares", type=float, nargs="+", default=[0.3, 0.5, 0.8])
    arguments = parser.parse_args()
    config = TrainingConfig(
        epochs=arguments.epochs,
        fine_tune_epochs=arguments.fine_tune_epochs,
        windows_per_epoch=arguments.windows_per_epoch,
    )
    index = index_windows(synthetic_frame(arguments.links, arguments.days), config.window_size, config.horizon_minutes)
    split = split_windows(index, SplitConfig())
    with tempfile.TemporaryDirectory() as folder:
        variants = make_variants(Path(folder), split, config, arguments.shares)
        torch.set_num_threads(1)
        report("small", measure(variants, split, split["test"].spread(arguments.test_windows)))


def make_variants(folder: Path, split: Split, config: TrainingConfig, shares: list[float]) -> list[Variant]:
    """The base, the base fine-tuned unpruned, the pruned ones, and all of these with int8 weights."""
    base = train(split, config, folder / "base.pth").model
    models = {"base": base, "fine-tuned": _pruned(base, 0.0, folder, split, config)}
    for share in shares:
        models[f"pruned {share:.0%}".replace("%", " %")] = _pruned(base, share, folder, split, config)
    floats = [
        Variant(name, model, _export(model, folder / f"{n}.onnx")) for n, (name, model) in enumerate(models.items())
    ]
    return [*floats, *(_quantized(variant) for variant in floats)]


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
        "non-zero": non_zero_share(variant.model),
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


def _pruned(base: Forecaster, share: float, folder: Path, split: Split, config: TrainingConfig) -> Forecaster:
    pruned = config.model_copy(update={"prune_share": share})
    return prune_and_fine_tune(copy.deepcopy(base), split, pruned, folder / "pruned.pth").model


def _export(model: Forecaster, path: Path) -> Path:
    return export_onnx(model, path, model_properties(model, version="benchmark", snapshot_id="none"))


def _quantized(variant: Variant) -> Variant:
    path = variant.path.with_suffix(".int8.onnx")
    shutil.copy(variant.path, path)
    quantize_onnx(path)
    name = "int8" if variant.name == "base" else f"{variant.name}, int8"
    return Variant(name, variant.model, path)


if __name__ == "__main__":
    main()
