"""The in-memory form of telemetry that windows are cut from: a few plain arrays, sorted per link."""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np
import numpy.typing as npt
import pandas as pd

from bwpredict import schema


@dataclass(frozen=True)
class TelemetryFrame:
    """Telemetry of all links, rows sorted by (link, timestamp), unique, without NaN in used rows.

    A row with a missing (NaN) feature stays in place: no window may contain it.
    """

    values: npt.NDArray[np.float32]
    """[rows, len(schema.FEATURES)], raw units, in the order of `schema.FEATURES`."""
    timestamps: npt.NDArray[np.int64]
    """[rows], unix seconds, UTC."""
    link: npt.NDArray[np.int32]
    """[rows], position of the row's link in `links`; ascending."""
    links: pd.DataFrame
    """One row per link: `schema.LINK_KEY` and those of `schema.LINK_ATTRIBUTES` that are known."""
    cadence_seconds: int = schema.CADENCE_SECONDS
    filled: dict[str, float] | None = None
    """Features that the source lacks, with the constant that fills them (None or empty: none)."""

    @property
    def rows(self) -> int:
        """Number of samples, over all links."""
        return len(self.timestamps)
