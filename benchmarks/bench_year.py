"""24 months of a changing network: the gate compared with always publish, never retrain and the point estimate.

make bench-year ARGS="--months 24 --links 8"

Each month has one challenger, trained once and shared by all strategies. The loss of a strategy in a month is how
far the error of its model in production, on the actual values, is above that of the earlier challenger that turns out
best in that month. Results stay in `--folder`: run the same command again to continue an interrupted benchmark. Other
options need another folder.
"""

from __future__ import annotations

import argparse
import json
import logging
import multiprocessing
from collections.abc import Sequence
from concurrent.futures import Future, ProcessPoolExecutor
from itertools import pairwise
from pathlib import Path
from typing import Any

import torch
from common import RESULTS, report, show
from year import arms, scores, world
from year.candidates import Candidate, Terms, make
from year.picture import draw, summary_rows

from bwpredict.config import TrainingConfig
from bwpredict.store.files import write_atomically

PICTURE = Path(__file__).parents[1] / "docs" / "images" / "year.png"
DEFAULT_FOLDER = Path("build/year")
ARMS = (*arms.GATES, arms.ALWAYS, arms.NEVER, arms.ESTIMATE)


def require_same(terms: Terms, links: int, seed: int = world.SEED) -> None:
    """End if the folder's files were written with other options."""
    path = terms.folder / "options.json"
    options = {"links": links, "days": terms.days, "seed": seed, "training": terms.training.model_dump(mode="json")}
    if path.is_file() and json.loads(path.read_bytes()) != options:
        raise SystemExit(f"{terms.folder}: was made with other options; choose another --folder, or remove it.")
    write_atomically(path, json.dumps(options).encode())


def prepare(month: world.Month, terms: Terms) -> Candidate:
    """The month's telemetry and challenger."""
    world.write_month(month, terms.days, terms.folder)
    return make(month, terms)


def measure(months: Sequence[world.Month], terms: Terms, *, processes: int) -> dict[str, Any]:
    """All arms over the months: `moves` and `scores`, `following` (month → the next one), and `candidates`."""
    candidates: list[Candidate] = []
    scored: dict[str, Future[dict[str, Any]]] = {}
    gates: dict[str, list[arms.Move]] = {arm: [] for arm in arms.GATES}
    # Spawned: a fork of a process in which torch and ONNX Runtime have threads may hang.
    spawned = multiprocessing.get_context("spawn")
    with ProcessPoolExecutor(processes, spawned, torch.set_num_threads, (1,)) as pool:
        made = [pool.submit(prepare, month, terms) for month in months]
        for month, future in zip(months, made, strict=True):
            if trained := [one for one in candidates if not one.error]:
                scored[month.name] = pool.submit(scores.score, month, trained, terms)
            candidates.append(future.result())
            for arm, moved in gates.items():
                moved.append(arms.gate_month(arm, month, candidates[-1], terms))
            outcomes = "  ".join(f"{moved[-1].outcome:<9}" for moved in gates.values())
            print(f"{month.name}  {outcomes}  {month.events}", flush=True)
        found = {name: future.result() for name, future in scored.items()}
    moves = gates | {arm: arms.simple_moves(arm, candidates, terms) for arm in ARMS if arm not in gates}
    following = {before.name: after.name for before, after in pairwise(months)}
    return {"moves": moves, "scores": found, "following": following, "candidates": candidates}


def excess_of(made: dict[str, Any]) -> dict[str, list[float]]:
    """Arm → percent above the best candidate, in each month that was served."""
    scored, following = made["scores"], made["following"]
    return {arm: arms.excess_percent(moves, scored, following) for arm, moves in made["moves"].items()}


def summarise(made: dict[str, Any], terms: Terms) -> dict[str, dict[str, Any]]:
    """Arm → its figures."""
    candidates = [one for one in made["candidates"] if not one.error]
    published = {one.version: scores.published_skill(one, terms) for one in candidates}
    trained = {one.month: one.version for one in candidates}
    rows, scored, following, excess = {}, made["scores"], made["following"], excess_of(made)
    for arm, moves in made["moves"].items():
        harm = arms.harmful(moves, scored, following)
        alarms = arms.monitor_alarms(moves, scored, following, published)
        rows[arm] = {
            "error above the best, added up %": sum(excess[arm]),
            "in the worst month %": max(excess[arm]),
            "promotions": sum(move.outcome == "promote" for move in moves),
            "harmful": len(harm),
            "not undone in a month": sum(one.undone is False for one in harm),
            "missed improvements": len(arms.missed(moves, scored, following, trained)),
            "red runs": sum(move.red for move in moves),
            "monitor alarms": len(alarms),
            "notices of keeps": arms.keep_notices(moves) if arm in arms.GATES else 0,
        }
    return rows


def month_rows(months: Sequence[world.Month], made: dict[str, Any]) -> list[dict[str, Any]]:
    """A row a month: what happened, what each arm decided at its end, and how far it fell behind in it."""
    excess = excess_of(made)
    return [
        {
            "month": month.name,
            "events": month.events,
            **{f"{arm} %": None if place == 0 else excess[arm][place - 1] for arm in ARMS},
            **{arm: made["moves"][arm][place].outcome for arm in (arms.GATE, arms.ESTIMATE)},
        }
        for place, month in enumerate(months)
    ]


def run(months: Sequence[world.Month], terms: Terms, *, processes: int, results: Path, picture: Path) -> None:
    """Measure, print, and keep the results and the picture."""
    made = measure(months, terms, processes=processes)
    draw(picture, excess_of(made), made["moves"], {month.name: month.events for month in months})
    by_month = month_rows(months, made)
    show("year, month by month", by_month)
    report("year_months", by_month, results)
    report("year", summary_rows(summarise(made, terms)), results)


def main() -> None:
    """Measure the months."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--months", type=int, default=24)
    parser.add_argument("--links", type=int, default=8, help="links in the first month")
    parser.add_argument("--days", type=int, default=18, help="days of telemetry in each month")
    parser.add_argument("--epochs", type=int, default=4)
    parser.add_argument("--windows", type=int, default=6000, help="training windows for each epoch")
    parser.add_argument("--seed", type=int, default=world.SEED, help="of the network and its days")
    parser.add_argument(
        "--processes", type=int, default=2, help="processes that train, in addition to the one that decides"
    )
    parser.add_argument(
        "--folder", type=Path, default=DEFAULT_FOLDER, help="folder for results; continues an interrupted benchmark"
    )
    arguments = parser.parse_args()
    logging.getLogger("bwpredict").setLevel(logging.ERROR)
    training = TrainingConfig(epochs=arguments.epochs, windows_per_epoch=arguments.windows, validation_windows=2000)
    terms = Terms(arguments.folder.absolute(), arguments.days, training)
    require_same(terms, arguments.links, arguments.seed)
    months = world.year(arguments.months, arguments.links, arguments.seed)
    published = arguments.folder == DEFAULT_FOLDER
    results, picture = (RESULTS, PICTURE) if published else (terms.folder, terms.folder / "year.png")
    run(months, terms, processes=arguments.processes, results=results, picture=picture)


if __name__ == "__main__":
    main()
