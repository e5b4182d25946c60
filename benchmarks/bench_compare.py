"""How long it takes to compare two models: intervals over days, and slices with 10,000 resamples.

make bench-compare ARGS="--windows 1000000"
"""

from __future__ import annotations

import argparse
import time
from typing import Any

import numpy as np
import pandas as pd
from common import peak_memory_mb, report

from bwpredict import schema
from bwpredict.evaluation.bootstrap import DRAWS
from bwpredict.evaluation.forecasts import Forecasts
from bwpredict.evaluation.paired_difference import differences
from bwpredict.evaluation.slices import compare_slices

DAYS = 5
REGIONS = ("us-east", "us-west", "eu-west", "ap-south")


def made_up(windows: int, links: int) -> Forecasts:
    """Windows of `links` links over a test span of five days, with errors like those of a fleet."""
    generator = np.random.default_rng(0)
    number = np.arange(windows)
    shape = (windows, len(schema.TARGETS))
    errors = {name: generator.exponential(size=shape).astype(np.float32) for name in ("challenger", "champion")}
    return Forecasts(
        targets=schema.TARGETS,
        actual=np.zeros(shape, np.float32),
        models=errors,
        link=number % links,
        timestamps=1_793_000_000 // 86_400 * 86_400 + number * (DAYS * 86_400) // windows // 60 * 60,
        links=pd.DataFrame(
            {
                "node_id": range(links),
                "peer_id": range(links),
                "region": [REGIONS[link % len(REGIONS)] for link in range(links)],
                "link_type": [("dc", "metro", "wan", "edge")[link // 4 % 4] for link in range(links)],
                "network_tier": [("Premium", "Standard", "Economy")[link % 3] for link in range(links)],
                "transport_type": [("tcp", "quic", "udp")[link // 3 % 3] for link in range(links)],
            }
        ),
    )


def measure(windows: int, links: int) -> dict[str, Any]:
    """Seconds of each part, for this many windows and links."""
    forecasts = made_up(windows, links)
    base = np.ones(forecasts.actual.shape)
    began = time.perf_counter()
    document = differences(forecasts)
    compared = time.perf_counter()
    compare_slices(forecasts, base)
    sliced = time.perf_counter()
    return {
        "windows": windows,
        "links": links,
        "days": document["days"]["count"],
        "resamples": DRAWS,
        "difference s": compared - began,
        "slices s": sliced - compared,
        "peak memory MB": peak_memory_mb(),
    }


def main() -> None:
    """Measure at a few sizes of the fleet."""
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--windows", type=int, default=1_000_000)
    parser.add_argument("--links", type=int, nargs="+", default=[20, 140, 1000])
    arguments = parser.parse_args()
    report("compare", [measure(arguments.windows, links) for links in arguments.links])


if __name__ == "__main__":
    main()
