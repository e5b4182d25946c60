"""Accuracy: every model on the same windows, splits and horizon, and which one is the most accurate.

    make bench-accuracy ARGS="--recordings path/to/recordings --seeds 1,2,3"
    make bench-accuracy ARGS="--datasets calm --models ridge,lightgbm,bwpredict --seeds 1,2,3 --rival-seeds 1"

Prints a table for each data set, and writes `accuracy.json` and `accuracy.png`. Results of data sets that do not run
this time do not change in the file; each names its machine, code and terms.
"""

from __future__ import annotations

import argparse
import json
from pathlib import Path
from typing import Any

from accuracy import chart, options
from accuracy.data import datasets
from accuracy.run import chosen_entries, run_dataset
from accuracy.tables import tables
from common import RESULTS, machine, write
from rich.console import Console

from bwpredict.core.code_version import code_version

NAME = "accuracy"


def main(arguments: argparse.Namespace) -> None:
    """Run the data sets one after another; what is done is kept after each of them."""
    folder: Path = arguments.output or RESULTS
    if arguments.recordings is None:
        print("Real recordings are left out: give their folder with --recordings FOLDER to have them.")
    names = options.dataset_names(options.names_of(arguments.datasets), arguments.recordings)
    entries = chosen_entries(options.names_of(arguments.models))
    shape = options.shape_of(arguments, window_size=arguments.window_size, horizon_minutes=arguments.horizon_minutes)
    for dataset in datasets(names, arguments.recordings, shape):
        result = run_dataset(dataset, entries, options.terms_of(arguments))
        for table in tables(result):
            Console(width=240).print(table)
        document = _merged(folder, {**result, "machine": machine(), "code_version": code_version()})
        write(folder / f"{NAME}.json", document)
        chart.draw(folder / f"{NAME}.png", document["datasets"])
    print(f"Kept: {folder / f'{NAME}.json'}, {folder / f'{NAME}.png'}")


def _merged(folder: Path, result: dict[str, Any]) -> dict[str, Any]:
    """The document in `folder` with this data set's result in place of an earlier one."""
    path = folder / f"{NAME}.json"
    before = json.loads(path.read_text("utf-8"))["datasets"] if path.is_file() else []
    results = {each["dataset"]: each for each in before} | {result["dataset"]: result}
    return {"benchmark": NAME, "datasets": list(results.values())}


def parse(arguments: list[str] | None = None) -> argparse.Namespace:
    """The command's options."""
    parser = options.parser(__doc__)
    parser.add_argument("--recordings", type=Path, help="folder with recordings: CSV, Parquet, or imported folders")
    parser.add_argument("--datasets", help="comma-separated: regimes, or recordings by name (default: all)")
    parser.add_argument("--models", help="comma-separated rows of the table (default: all)")
    parser.add_argument("--window-size", type=int, default=20, help="samples in the input window")
    parser.add_argument("--horizon-minutes", type=int, default=15)
    return parser.parse_args(arguments)


if __name__ == "__main__":
    options.run_main(main, parse())
