"""Options that the accuracy, horizon and ablation benchmarks share."""

from __future__ import annotations

import argparse
import logging
import sys
from collections.abc import Callable
from pathlib import Path

import torch

from accuracy.cache import Cache
from accuracy.data import REGIMES, Shape, recording_name, recordings
from accuracy.run import Terms
from accuracy.task import Budget
from bwpredict.errors import BwPredictError, ConfigError


def parser(description: str | None) -> argparse.ArgumentParser:
    """A parser with the options of data, budget and seeds."""
    made = argparse.ArgumentParser(description=description, formatter_class=argparse.RawDescriptionHelpFormatter)
    shape, budget = Shape(), Budget()
    made.add_argument("--links", type=int, default=shape.links, help="links of a generated data set")
    made.add_argument("--days", type=int, default=shape.days, help="days of a generated data set")
    made.add_argument("--data-seed", type=int, default=shape.seed, help="seed of the generator")
    made.add_argument(
        "--test-windows", type=int, default=shape.test_windows, help="maximum number of test windows, evenly spread"
    )
    made.add_argument("--budget-windows", type=int, default=budget.windows, help="training windows for each epoch")
    made.add_argument("--epochs", type=int, default=budget.epochs, help="maximum number of epochs; rivals get at"
                      " most budget-windows x epochs windows of the training part")  # fmt: skip
    made.add_argument("--seeds", type=numbers, default=(1, 2, 3), help="comma-separated seeds of the models")
    made.add_argument("--rival-seeds", type=numbers, default=(), help="seeds of the rivals (default: those of --seeds)")
    made.add_argument("--threads", type=int, default=None, help="torch threads (default: torch's own choice)")
    made.add_argument("--cache", type=Path, default=None, help="folder that keeps the rivals' forecasts,"
                      " so that another run trains only bwpredict (times are those of the first run)")  # fmt: skip
    made.add_argument("--output", type=Path, default=None, help="folder for results (default: benchmarks/results)")
    return made


def shape_of(options: argparse.Namespace, **changes: int) -> Shape:
    """The data's shape, with `changes` to it."""
    given = {
        "links": options.links,
        "days": options.days,
        "seed": options.data_seed,
        "test_windows": options.test_windows,
    }
    return Shape(**{**given, **changes})


def terms_of(options: argparse.Namespace) -> Terms:
    """Budget, seeds, and where the rivals' forecasts are kept."""
    budget = Budget(options.budget_windows, options.epochs)
    return Terms(budget, options.seeds, options.rival_seeds, Cache(options.cache))


def names_of(text: str | None) -> list[str] | None:
    """The comma-separated names; None if not given."""
    return [name.strip() for name in text.split(",") if name.strip()] if text else None


def dataset_names(wanted: list[str] | None, folder: Path | None) -> list[str]:
    """The data sets to run: all there are, or the wanted ones. Raises ConfigError for an unknown name."""
    known = [*REGIMES, *(recording_name(path) for path in (recordings(folder) if folder else []))]
    unknown = [name for name in wanted or () if name not in known]
    if unknown:
        hint = "" if folder else " (recordings need --recordings FOLDER)"
        raise ConfigError(f"datasets: {unknown[0]!r} is not known; expected some of {', '.join(known)}{hint}.")
    return wanted or known


def run_main(main: Callable[[argparse.Namespace], None], options: argparse.Namespace) -> None:
    """Run a benchmark; a mistake in its options is one sentence and exit code 2."""
    logging.basicConfig(level=logging.INFO, format="%(message)s", stream=sys.stdout)
    if options.threads:
        torch.set_num_threads(options.threads)
    try:
        main(options)
    except BwPredictError as error:
        print(f"error: {error}", file=sys.stderr)
        sys.exit(error.exit_code)


def numbers(text: str) -> tuple[int, ...]:
    """Comma-separated whole numbers, each once."""
    return tuple(dict.fromkeys(int(part) for part in text.split(",")))
