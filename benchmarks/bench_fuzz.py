"""Random telemetry files through import and `train`: a model or one sentence, never a stack trace, NaN or over 2 GB.

make bench-fuzz ARGS="--examples 500 --exported 20"

Every file is imported, cut and trained on, and the forecasts of its test windows are scored. Every so many trainings,
one goes all the way of `bwpredict train`: ONNX export, checks, pictures, metadata.
"""

from __future__ import annotations

import argparse
import logging
import re
import time
import traceback
import warnings
from collections import Counter
from collections.abc import Callable
from pathlib import Path

from common import RESULTS, machine, peak_memory_mb, write
from hypothesis import HealthCheck, Phase, given, seed, settings
from random_telemetry import Recipe, fit, read, recipes, train

MOST_MB = 2000


def main() -> None:
    """Run the examples; ends with an error if one broke a promise, with its recipe."""
    options = _options()
    logging.disable(logging.WARNING)
    warnings.simplefilter("error", RuntimeWarning)
    outcomes: Counter[tuple[str, str]] = Counter()
    failures: list[str] = []
    end = time.monotonic() + 60 * options.minutes

    def attempt(kind: str, do: Callable[[Recipe], str], recipe: Recipe) -> bool:
        """Whether the file was taken."""
        try:
            outcome = do(recipe)
        except Exception as error:  # noqa: BLE001
            where = traceback.extract_tb(error.__traceback__)[-1]
            outcome = f"{type(error).__name__} in {Path(where.filename).name}, line {where.lineno}: {error}"
            if outcome not in failures:
                traceback.print_exc()
            print(f"{kind}: {outcome}: {recipe}", flush=True)
            failures.append(outcome)
        outcomes[kind, _kind_of(outcome)] += 1
        return outcome in ("read", "trained")

    @seed(options.seed)
    @settings(
        max_examples=options.examples, deadline=None, database=None, phases=[Phase.generate],
        suppress_health_check=list(HealthCheck),
    )  # fmt: skip
    @given(recipes())
    def fuzz(recipe: Recipe) -> None:
        if time.monotonic() < end and attempt("import", read, recipe):
            trained = attempt("train", fit, recipe)
            if trained and outcomes["train", "trained"] % options.exported == 0:
                attempt("export", train, recipe)
            if outcomes.total() % 50 < 2:
                print(f"{outcomes.total()} done", flush=True)

    fuzz()
    _report(outcomes, options.output)
    if failures or peak_memory_mb() > MOST_MB:
        raise SystemExit(f"{len(failures)} files broke a promise; {peak_memory_mb():.0f} MB at most")


def _options() -> argparse.Namespace:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--examples", type=int, default=500)
    parser.add_argument("--exported", type=int, default=20, help="one in this many trainings goes through the export")
    parser.add_argument("--minutes", type=float, default=1e9, help="start no example after this time")
    parser.add_argument("--seed", type=int, default=0)
    parser.add_argument("--output", type=Path, default=RESULTS)
    return parser.parse_args()


def _kind_of(outcome: str) -> str:
    """A refusal without the name of its file, and without its figures."""
    said = re.sub(r"^/\S+: ", "", outcome)
    return re.sub(r"[\d,.]*\d", "N", said)[:90]


def _report(outcomes: Counter[tuple[str, str]], folder: Path) -> None:
    rows = [{"step": step, "outcome": kind, "files": count} for (step, kind), count in sorted(outcomes.items())]
    for row in rows:
        print(f"{row['files']:5}  {row['step']}: {row['outcome']}")
    document = {"benchmark": "fuzz", "machine": machine(), "peak_memory_mb": round(peak_memory_mb()), "rows": rows}
    write(folder / "fuzz.json", document)


if __name__ == "__main__":
    main()
