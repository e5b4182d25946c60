"""Reading generated partitions, for the tests of the generator."""

from pathlib import Path

import pandas as pd
import pyarrow.parquet as pq


def read_files(folder: Path, day: str = "*") -> pd.DataFrame:
    """The rows of every Parquet file of the days that fit, without a partition column."""
    paths = sorted(folder.glob(f"date={day}/*.parquet"))
    return pd.concat([pq.ParquetFile(path).read().to_pandas() for path in paths], ignore_index=True)
