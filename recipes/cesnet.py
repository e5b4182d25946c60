"""Series of CESNET-TimeSeries24 with their times, as the one CSV that `cesnet_timeseries24.yaml` reads.

python recipes/cesnet.py times/times_10_minutes.csv institutions/agg_10_minutes cesnet.csv.gz
"""

from __future__ import annotations

import argparse
from collections.abc import Iterator
from pathlib import Path

import pandas as pd

COLUMNS = ["id_time", "n_bytes"]


def rows_of(times: Path, folder: Path) -> Iterator[pd.DataFrame]:
    """A row for each interval of each series, which is named after its file."""
    known = pd.read_csv(times, usecols=["id_time", "time"])
    for path in sorted(folder.glob("*.csv")):
        yield pd.read_csv(path, usecols=COLUMNS).merge(known, on="id_time").assign(series=path.stem)


def main() -> None:
    """Read the files and write the CSV."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("times", type=Path, help="times_10_minutes.csv")
    parser.add_argument("folder", type=Path, help="with the series: 1.csv, 2.csv, …")
    parser.add_argument("output", type=Path, help="the CSV; .csv.gz is compressed")
    options = parser.parse_args()
    pd.concat(rows_of(options.times, options.folder)).drop(columns="id_time").to_csv(options.output, index=False)


if __name__ == "__main__":
    main()
