"""Abilene's weekly files of traffic matrices as the one CSV that `abilene.yaml` reads.

python recipes/abilene.py X01.gz X02.gz abilene.csv.gz
"""

from __future__ import annotations

import argparse
from pathlib import Path

import numpy as np
import pandas as pd

NODES, STEP_SECONDS = 12, 300
WEEKS = {
    "X01": "2004-03-01", "X02": "2004-03-08", "X03": "2004-04-02", "X04": "2004-04-09", "X05": "2004-04-22",
    "X06": "2004-05-01", "X07": "2004-05-08", "X08": "2004-05-15", "X09": "2004-05-22", "X10": "2004-05-29",
    "X11": "2004-06-05", "X12": "2004-06-12", "X13": "2004-06-19", "X14": "2004-06-26", "X15": "2004-07-03",
    "X16": "2004-07-10", "X17": "2004-07-17", "X18": "2004-07-24", "X19": "2004-07-31", "X20": "2004-08-07",
    "X21": "2004-08-13", "X22": "2004-08-21", "X23": "2004-08-28", "X24": "2004-09-04",
}  # fmt: skip
"""First day of each file, from the data's own README."""


def rows_of(path: Path) -> pd.DataFrame:
    """A row for each matrix and pair of different nodes; each pair's measured value is followed by four estimates."""
    measured = np.loadtxt(path, ndmin=2)[:, ::5]
    start = int(pd.Timestamp(WEEKS[path.name.split(".")[0]], tz="UTC").timestamp())
    node, peer = np.divmod(np.arange(NODES**2), NODES)
    table = pd.DataFrame(
        {
            "timestamp": np.repeat(start + STEP_SECONDS * np.arange(len(measured)), NODES**2),
            "node_id": np.tile(node, len(measured)),
            "peer_id": np.tile(peer, len(measured)),
            "sampled_bytes": measured.ravel(),
        }
    )
    return table[table["node_id"] != table["peer_id"]]


def main() -> None:
    """Read the files and write the CSV."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("files", type=Path, nargs="+", help="X01.gz, X02.gz, …")
    parser.add_argument("output", type=Path, help="the CSV; .csv.gz is compressed")
    options = parser.parse_args()
    weeks = pd.concat([rows_of(path) for path in options.files])
    weeks.drop_duplicates(["timestamp", "node_id", "peer_id"]).to_csv(options.output, index=False)


if __name__ == "__main__":
    main()
