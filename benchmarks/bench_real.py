"""Real telemetry: the accuracy of `bwpredict train` on each file of a folder, and that of the simple baselines.

Give the folder with the recordings: CSV or Parquet files with any columns of the schema, or folders that `bwpredict
import` wrote:

    make bench-real ARGS=path/to/recordings
"""

from __future__ import annotations

import argparse
import logging
import sys
import tempfile
from datetime import UTC, datetime
from pathlib import Path
from typing import Any

from accuracy.data import recording_name, recordings
from common import report

from bwpredict.config import TrainingConfig
from bwpredict.core.code_version import code_version
from bwpredict.pipeline.standalone import train_on

MODELS = ("last_value", "mean_15_minutes", "median_15_minutes", "challenger")


def main() -> None:
    """Train on each file with the same configuration and print a row for each target and model."""
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("data", type=Path, help="folder with the recordings")
    parser.add_argument("--epochs", type=int, default=TrainingConfig().epochs)
    parser.add_argument("--windows-per-epoch", type=int, default=TrainingConfig().windows_per_epoch)
    arguments = parser.parse_args()
    logging.basicConfig(level=logging.INFO, format="%(message)s", stream=sys.stdout)
    training = TrainingConfig(epochs=arguments.epochs, windows_per_epoch=arguments.windows_per_epoch)
    rows: list[dict[str, Any]] = []
    for path in recordings(arguments.data):
        print(f"\n{path.name}")
        with tempfile.TemporaryDirectory() as folder:
            comparison = train_on(
                path,
                Path(folder),
                training,
                split_by="calendar",
                now=datetime.now(UTC),
                code_version=code_version(),
            )
        rows += rows_of(recording_name(path), comparison)
    report("real", rows)


def rows_of(name: str, comparison: dict[str, Any]) -> list[dict[str, Any]]:
    """A row for each target that the recording has and each model."""
    return [
        {
            "recording": name,
            "target": target,
            "model": model,
            "WAPE %": figures["wape"],
            "MAE": figures["mae"],
            "correlation": figures["correlation"],
            "within link": figures["within_link_correlation"],
            "skill": figures["skill"],
            "test windows": comparison["test"]["windows"],
        }
        for target in comparison["targets"]
        for model in MODELS
        for figures in [comparison["models"][model]["per_target"][target]]
    ]


if __name__ == "__main__":
    main()
