"""Traffic matrices of SNDlib, one XML file for each time, as the one CSV that `geant.yaml` reads.

python recipes/sndlib.py directed-geant-uhlig-15min-over-4months-ALL geant.csv.gz
"""

from __future__ import annotations

import argparse
from datetime import UTC, datetime
from pathlib import Path
from xml.etree import ElementTree as ET

import pandas as pd

XML = {"": "http://sndlib.zib.de/network"}


def demands_of(path: Path) -> dict[tuple[str, str], float]:
    """Mbit/s of each pair of nodes; the files leave out pairs without traffic."""
    unit = (root := ET.parse(path).getroot()).findtext("meta/unit", "", XML)  # noqa: S314 - the user's files
    if unit != "MBITPERSEC":
        raise SystemExit(f"{path}: is in {unit}; expected MBITPERSEC")
    return {
        (demand.findtext("source", "", XML), demand.findtext("target", "", XML)): float(
            demand.findtext("demandValue", "", XML)
        )
        for demand in root.iterfind("demands/demand", XML)
    }


def time_of(path: Path) -> int:
    """Unix seconds, from the end of the file's name: …-20050504-1500.xml."""
    stem = "-".join(path.stem.split("-")[-2:])
    return int(datetime.strptime(stem, "%Y%m%d-%H%M").replace(tzinfo=UTC).timestamp())


def rows_of(folder: Path) -> pd.DataFrame:
    """A row for each matrix and pair. A matrix without any demand is a gap; a pair that one lacks had no traffic."""
    matrices = {time_of(path): demands_of(path) for path in sorted(folder.glob("*.xml"))}
    matrix = pd.DataFrame.from_dict({time: demands for time, demands in matrices.items() if demands}, orient="index")
    matrix = matrix.loc[:, [source != target for source, target in matrix.columns]].fillna(0.0).sort_index()
    matrix.index.name, matrix.columns.names = "timestamp", ["node_id", "peer_id"]
    return matrix.melt(ignore_index=False, value_name="throughput_mbps").reset_index()


def main() -> None:
    """Read the folder and write the CSV."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("folder", type=Path, help="with the XML files")
    parser.add_argument("output", type=Path, help="the CSV; .csv.gz is compressed")
    options = parser.parse_args()
    rows_of(options.folder).to_csv(options.output, index=False)


if __name__ == "__main__":
    main()
