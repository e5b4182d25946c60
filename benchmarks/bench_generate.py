"""Telemetry generator: rows per second, peak memory, and the accuracy that is possible in each regime.

Measures MAPE, pooled correlation and median within-link correlation, 15 minutes ahead, of the last value, the mean of
the last 15 minutes, and the oracle. The skill is the oracle's, over the better of the two simple forecasts.
The full run is `--links 1000 --days 30`.
"""

from __future__ import annotations

import argparse
import json
import subprocess
import sys
import tempfile
from pathlib import Path
from typing import Any, get_args

import numpy as np
import numpy.typing as npt
from common import report

from bwpredict import schema
from bwpredict.simulation.fleet import FleetConfig, RegimeName
from bwpredict.simulation.simulator import Simulation, oracle

MEAN_MINUTES = 15

# Runs in its own process, so that the peak memory is the generator's alone.
WRITE = """
import json, resource, sys, time
from pathlib import Path
from bwpredict.simulation.fleet import FleetConfig
from bwpredict.simulation.writer import write_partitioned
links, days, folder, oracle = int(sys.argv[1]), int(sys.argv[2]), Path(sys.argv[3]), sys.argv[4] == "1"
began = time.perf_counter()
write_partitioned(FleetConfig(links=links, days=days), folder, oracle=oracle)
seconds, peak_kb = time.perf_counter() - began, resource.getrusage(resource.RUSAGE_SELF).ru_maxrss
print(json.dumps([seconds, time.process_time(), peak_kb]))
"""


def writing(links: int, days: int, *, with_oracle: bool) -> dict[str, Any]:
    with tempfile.TemporaryDirectory() as folder:
        command = [sys.executable, "-c", WRITE, str(links), str(days), f"{folder}/telemetry", str(int(with_oracle))]
        answer = subprocess.run(command, check=True, capture_output=True, text=True).stdout
        size_bytes = sum(path.stat().st_size for path in Path(folder).rglob("*.parquet"))
    seconds, cpu_seconds, peak_kb = json.loads(answer)
    rows = links * days * 1440
    return {
        "what": "with oracle" if with_oracle else "telemetry",
        "rows": rows,
        "seconds": seconds,
        "rows/s": rows / seconds,
        "rows/CPU s": rows / cpu_seconds,
        "bytes/row": size_bytes / rows,
        "peak MB": peak_kb / 1024,
    }


def reachable(regime: RegimeName, links: int, days: int) -> list[dict[str, Any]]:
    actual, foreseen = series(FleetConfig(links=links, days=days, regime=regime))
    return [{"regime": regime, "target": name, **scores(actual[name], foreseen[name])} for name in schema.TARGETS]


def series(config: FleetConfig) -> tuple[dict[str, npt.NDArray[Any]], dict[str, npt.NDArray[Any]]]:
    """Measured targets and the oracle's forecasts made at each minute, both (links, minutes)."""
    simulation = Simulation(config)
    actual: dict[str, list[Any]] = {name: [] for name in schema.TARGETS}
    foreseen: dict[str, list[Any]] = {name: [] for name in schema.TARGETS}
    for day in range(config.first_day, config.first_day + config.days):
        chunks = list(simulation.chunks(day))
        forecasts = [oracle(chunk, config.regime, schema.HORIZON_MINUTES) for chunk in chunks]
        for name in schema.TARGETS:
            actual[name].append(np.concatenate([chunk.columns[name] for chunk in chunks]))
            foreseen[name].append(np.concatenate([forecast[name] for forecast in forecasts]))
    return tuple({name: np.concatenate(parts, axis=1) for name, parts in side.items()} for side in (actual, foreseen))


def scores(actual: npt.NDArray[Any], foreseen: npt.NDArray[Any]) -> dict[str, float]:
    horizon, first = schema.HORIZON_MINUTES, MEAN_MINUTES - 1
    future = actual[:, first + horizon :]
    recent = np.lib.stride_tricks.sliding_window_view(actual[:, :-horizon], MEAN_MINUTES, axis=1).mean(axis=2)
    forecasts = {"last": actual[:, first:-horizon], "mean15": recent, "oracle": foreseen[:, first:-horizon]}
    row: dict[str, float] = {}
    errors = {name: np.abs(forecast - future) for name, forecast in forecasts.items()}
    row |= {f"MAPE {name}": float(100 * (error / future).mean()) for name, error in errors.items()}
    row |= {f"r {name}": _correlation(forecast, future) for name, forecast in forecasts.items()}
    for name, forecast in forecasts.items():
        row[f"link r {name}"] = float(np.median([_correlation(*pair) for pair in zip(forecast, future, strict=True)]))
    row["skill"] = float(1 - errors["oracle"].mean() / min(errors["last"].mean(), errors["mean15"].mean()))
    return row


def _correlation(left: npt.NDArray[Any], right: npt.NDArray[Any]) -> float:
    return float(np.corrcoef(left.ravel(), right.ravel())[0, 1])


def main() -> None:
    """Measure the speed at the asked size, and what is reachable on 20 links and 14 days."""
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--links", type=int, default=100)
    parser.add_argument("--days", type=int, default=7)
    parser.add_argument("--reachable-links", type=int, default=20)
    parser.add_argument("--reachable-days", type=int, default=14)
    arguments = parser.parse_args()
    report("generate", [writing(arguments.links, arguments.days, with_oracle=flag) for flag in (False, True)])
    rows = [
        row
        for regime in get_args(RegimeName)
        for row in reachable(regime, arguments.reachable_links, arguments.reachable_days)
    ]
    report("generate_reachable", rows)


if __name__ == "__main__":
    main()
