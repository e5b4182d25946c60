"""Random telemetry files through import and `train`: a model or one sentence, never a stack trace, NaN or over 2 GB.

make bench-fuzz ARGS="--examples 500 --exported 20"

Every file is imported, cut and trained on, and the forecasts of its test windows are scored. Every so many files, one
goes all the way of `bwpredict train`: ONNX export, checks, pictures, metadata. The seeds 0, 1, …
determine the files. Results stay in `--folder`, in a folder named by the digest of the code: run the same command again
to continue an interrupted run, or with more `--examples` to add to it. Results of other code are neither continued nor
counted.
"""

from __future__ import annotations

import argparse
import hashlib
import json
import logging
import re
import time
import traceback
import warnings
from collections import Counter
from collections.abc import Callable, Sequence
from pathlib import Path
from typing import Any

import hypothesis
import numpy as np
import torch
from common import RESULTS, machine, peak_memory_mb, write
from random_telemetry import Recipe, fit, read, recipe_of, train

import bwpredict
from bwpredict.core.code_version import code_version

MOST_MB = 2000


def main(arguments: Sequence[str] | None = None) -> None:
    """Run the examples that lack a result; ends with an error if one broke a promise, with its recipe."""
    options = _options(arguments)
    folder = options.folder / code_digest()
    end = time.monotonic() + 60 * options.minutes
    with warnings.catch_warnings():
        warnings.simplefilter("error", RuntimeWarning)
        for number in range(options.examples):
            path = folder / f"{number}.json"
            if not path.is_file() and time.monotonic() < end:
                write(path, attempt(number, exported=number % options.exported == 0))
    done = [json.loads(path.read_bytes()) for path in folder.glob("*.json")]
    if others := sum(1 for _ in options.folder.glob("*/*.json")) - len(done):
        print(f"{others} results of other code in {options.folder} are left out")
    _report(done, options.output)


def code_digest() -> str:
    """SHA-256 of what determines an outcome: the product, the recipes, and the versions of the libraries they use."""
    versions = [module.__version__ for module in (torch, np, hypothesis)]
    digest = hashlib.sha256(" ".join(versions).encode())
    sources = sorted(Path(bwpredict.__file__).parent.rglob("*.py"))
    for path in (*sources, Path(__file__).with_name("random_telemetry.py")):
        digest.update(path.read_bytes())
    return digest.hexdigest()


def attempt(number: int, *, exported: bool) -> dict[str, Any]:
    """The outcome of each step, and the stack trace of a step that broke a promise."""
    recipe, began = recipe_of(number), time.monotonic()
    steps: list[tuple[str, Callable[[Recipe], str]]] = [("import", read), ("train", fit)]
    if exported:
        steps.append(("export", train))
    outcomes: dict[str, str] = {}
    broken = None
    for step, do in steps:
        try:
            outcomes[step] = do(recipe)
        except Exception as error:  # noqa: BLE001
            outcomes[step], broken = f"{type(error).__name__}: {error}", traceback.format_exc()
        if outcomes[step] not in ("read", "trained"):
            break
    record = {
        "seed": number,
        "code_version": code_version(),
        "recipe": str(recipe),
        "outcomes": outcomes,
        "broken": broken,
        "seconds": round(time.monotonic() - began, 1),
        "peak_memory_mb_so_far": round(peak_memory_mb()),
    }
    print(f"{number}: {list(outcomes.values())[-1][:90]} ({record['seconds']} s)", flush=True)
    return record


def _options(arguments: Sequence[str] | None) -> argparse.Namespace:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--examples", type=int, default=500)
    parser.add_argument("--exported", type=int, default=20, help="one in this many files goes through the export")
    parser.add_argument("--minutes", type=float, default=1e9, help="start no example after this time")
    parser.add_argument("--folder", type=Path, default=Path("build/fuzz"), help="the result of each file")
    parser.add_argument("--output", type=Path, default=RESULTS)
    return parser.parse_args(arguments)


def _kind_of(outcome: str) -> str:
    """A refusal without the name of its file, and without its figures."""
    said = re.sub(r"^/\S+: ", "", outcome)
    return re.sub(r"[\d,.]*\d", "N", said)[:90]


def _report(done: list[dict[str, Any]], folder: Path) -> None:
    """Print the results by kind and keep the figures.

    Raises:
        SystemExit: a file broke a promise.
    """
    outcomes = Counter((step, _kind_of(said)) for one in done for step, said in one["outcomes"].items())
    rows = [{"step": step, "outcome": kind, "files": count} for (step, kind), count in sorted(outcomes.items())]
    for row in rows:
        print(f"{row['files']:5}  {row['step']}: {row['outcome']}")
    peak = max(one["peak_memory_mb_so_far"] for one in done)
    broken = [one for one in done if one["broken"]]
    document = {
        "benchmark": "fuzz", "machine": machine(), "code_version": sorted({one["code_version"] for one in done}),
        "code_sha256": code_digest(), "files": len(done), "broken": len(broken), "peak_memory_mb": peak, "rows": rows,
    }  # fmt: skip
    write(folder / "fuzz.json", document)
    for one in broken:
        print(f"Seed {one['seed']}: {one['recipe']}\n{one['broken']}")
    if broken or peak > MOST_MB:
        raise SystemExit(f"{len(broken)} of {len(done)} files broke a promise; {peak:.0f} MB at most")


if __name__ == "__main__":
    logging.disable(logging.WARNING)
    # Beside other processes, two threads that wait for each other take eight times the CPU time for batches so small.
    torch.set_num_threads(1)
    main()
