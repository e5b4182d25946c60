"""Windows: rows per second compared with a loop that slices a data frame for each window, and memory."""

from __future__ import annotations

import argparse
import time
import tracemalloc

import numpy as np
import pandas as pd
from common import median_seconds, report, synthetic_frame

from bwpredict import schema
from bwpredict.datasets.windows import index_windows

WINDOWS_OF_THE_LOOP = 2_000


def loop_rows_per_second(table: pd.DataFrame) -> float:
    """The published way: `iloc` for each window, here on the first windows of one link only."""
    began = time.perf_counter()
    inputs, targets = [], []
    features, names = list(schema.FEATURES), list(schema.TARGETS)
    to_target = schema.WINDOW_SIZE + schema.HORIZON_MINUTES - 1
    for start in range(WINDOWS_OF_THE_LOOP):
        inputs.append(table.iloc[start : start + schema.WINDOW_SIZE][features].to_numpy())
        targets.append(table.iloc[start + to_target][names].to_numpy())
    np.array(inputs), np.array(targets)
    return WINDOWS_OF_THE_LOOP / (time.perf_counter() - began)


def main() -> None:
    """Measure both on the same rows."""
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--links", type=int, default=20)
    parser.add_argument("--days", type=int, default=30)
    arguments = parser.parse_args()
    frame = synthetic_frame(arguments.links, arguments.days)
    table = pd.DataFrame(frame.values[: 10 * WINDOWS_OF_THE_LOOP], columns=list(schema.FEATURES))
    loop = loop_rows_per_second(table)
    seconds = median_seconds(lambda: index_windows(frame, schema.WINDOW_SIZE, schema.HORIZON_MINUTES))
    tracemalloc.start()
    index = index_windows(frame, schema.WINDOW_SIZE, schema.HORIZON_MINUTES)
    _, peak_bytes = tracemalloc.get_traced_memory()
    tracemalloc.stop()
    raw_bytes = frame.values.nbytes + frame.timestamps.nbytes + frame.link.nbytes
    order = np.random.default_rng(0).permutation(len(index))[:100_000]
    gather = median_seconds(lambda: [index.inputs(order[at : at + 256]) for at in range(0, len(order), 256)])
    report(
        "windows",
        [
            {"what": "iloc loop", "rows/s": loop, "times the loop": 1.0, "memory / raw columns": None},
            {
                "what": "index",
                "rows/s": frame.rows / seconds,
                "times the loop": frame.rows / seconds / loop,
                "memory / raw columns": (raw_bytes + peak_bytes) / raw_bytes,
            },
            {
                "what": "index and gather",
                "rows/s": 1 / (seconds / frame.rows + gather / len(order)),
                "times the loop": 1 / (seconds / frame.rows + gather / len(order)) / loop,
                "memory / raw columns": (raw_bytes + peak_bytes) / raw_bytes,
            },
        ],
    )


if __name__ == "__main__":
    main()
