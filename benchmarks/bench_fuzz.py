"""Random telemetry files through `train`: a model or one sentence, never a stack trace, NaN or more than 2 GB.

make bench-fuzz ARGS="--examples 500"
"""

from __future__ import annotations

import argparse
import logging
import resource
import time
from collections import Counter

from hypothesis import HealthCheck, given, settings
from random_telemetry import Recipe, read, recipes, train

MOST_BYTES = 2 * 10**9


def main() -> None:
    """Run the examples; ends with an error at the first that breaks a promise, with its recipe."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--examples", type=int, default=500)
    parser.add_argument("--minutes", type=float, default=1e9, help="start no example after this time")
    parser.add_argument(
        "--read-only", action="store_true", help="only import the files and cut windows, without training"
    )
    options = parser.parse_args()
    logging.disable(logging.WARNING)
    outcomes: Counter[str] = Counter()
    do = read if options.read_only else train
    end = time.monotonic() + 60 * options.minutes

    @settings(max_examples=options.examples, deadline=None, database=None, suppress_health_check=list(HealthCheck))
    @given(recipes())
    def fuzz(recipe: Recipe) -> None:
        if time.monotonic() > end:
            return
        if outcomes.total() % 25 == 24:
            print(f"{outcomes.total() + 1} files …", flush=True)
        outcomes[do(recipe).partition(": ")[2][:60] or "a model"] += 1

    fuzz()
    peak = resource.getrusage(resource.RUSAGE_SELF).ru_maxrss * 1024
    for outcome, count in outcomes.most_common():
        print(f"{count:5}  {outcome}")
    print(f"{outcomes.total()} files, at most {peak / 1e9:.2f} GB")
    if peak > MOST_BYTES:
        raise SystemExit(f"more than {MOST_BYTES / 1e9:g} GB")


if __name__ == "__main__":
    main()
