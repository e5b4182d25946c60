"""Accuracy over horizon and window size: bwpredict, simple forecasts and tabular models, on the regime `calm`.

    make bench-horizon ARGS="--seeds 1 --epochs 10"

Varies the horizon with the default window, and the window with the default horizon. Prints a table, and writes
`horizon.json` and `horizon.png`.
"""

from __future__ import annotations

import argparse
from collections.abc import Sequence
from pathlib import Path
from typing import Any

from accuracy import options
from accuracy.chart import draw_lines
from accuracy.data import TEST, synthetic
from accuracy.run import chosen_entries, run_dataset
from common import RESULTS, machine, show, write

from bwpredict import schema
from bwpredict.core.code_version import code_version
from bwpredict.simulation.fleet import RegimeName

NAME = "horizon"
REGIME: RegimeName = "calm"
HORIZONS_MINUTES = (1, 5, 15, 30, 60)
WINDOW_SIZES = (10, 20, 40, 60)
MODELS = "last_value,mean_15_minutes,median_15_minutes,same_minute_yesterday,ridge,lightgbm,bwpredict"


def main(arguments: argparse.Namespace) -> None:
    """Run every horizon and window; what is done is kept after each of them."""
    folder: Path = arguments.output or RESULTS
    entries, terms = chosen_entries(options.names_of(arguments.models)), options.terms_of(arguments)
    runs: list[dict[str, Any]] = []
    for window_size, horizon_minutes in grid(arguments.horizons, arguments.windows):
        print(f"\n{window_size} samples, {horizon_minutes} minutes ahead")
        shape = options.shape_of(arguments, window_size=window_size, horizon_minutes=horizon_minutes)
        runs.append(run_dataset(synthetic(REGIME, shape), entries, terms))
        write(
            folder / f"{NAME}.json",
            {"benchmark": NAME, "machine": machine(), "code_version": code_version(), "runs": runs},
        )
    rows = rows_of(runs)
    show(NAME, [{key: row[key] for key in row if key != "ours"} for row in rows])
    draw_lines(folder / f"{NAME}.png", rows)
    print(f"Kept: {folder / f'{NAME}.json'}, {folder / f'{NAME}.png'}")


def grid(horizons_minutes: Sequence[int], window_sizes: Sequence[int]) -> list[tuple[int, int]]:
    """(window size, horizon) pairs: each horizon with the default window, each window with the default horizon."""
    pairs = [(schema.WINDOW_SIZE, horizon) for horizon in horizons_minutes]
    return list(dict.fromkeys([*pairs, *((size, schema.HORIZON_MINUTES) for size in window_sizes)]))


def rows_of(runs: Sequence[dict[str, Any]]) -> list[dict[str, Any]]:
    """A row for each window, horizon, target and model, on the links that training saw."""
    shown = ("target", "model", "ours", "mape", "wape", "mae", "within_link_correlation", "skill", "gap_closed")
    return [
        {
            "window_size": run["window_size"],
            "horizon_minutes": run["horizon_minutes"],
            **{key: row[key] for key in shown},
        }
        for run in runs
        for row in run["tests"][TEST]["rows"]
    ]


def parse(arguments: list[str] | None = None) -> argparse.Namespace:
    """The command's options."""
    parser = options.parser(__doc__)
    parser.set_defaults(seeds=(1,))
    parser.add_argument("--models", default=MODELS, help="comma-separated rows of the accuracy table")
    parser.add_argument(
        "--horizons", type=options.numbers, default=HORIZONS_MINUTES, help="horizons in minutes, comma-separated"
    )
    parser.add_argument(
        "--windows", type=options.numbers, default=WINDOW_SIZES, help="window sizes in samples, comma-separated"
    )
    return parser.parse_args(arguments)


if __name__ == "__main__":
    options.run_main(main, parse())
