"""Telemetry in other formats, for `bwpredict train --telemetry`: files as users have them, or an imported folder.

What is missing:

- `time_of_day` and `day_of_week` follow from `timestamp` by `schema.CALENDAR`.
- Any other feature is `FILL_VALUE` in every row: a constant, so that the model can learn nothing from it.
- An empty cell is a missing value: no window contains it.
"""

from __future__ import annotations

import logging
from collections.abc import Iterator
from pathlib import Path

import numpy as np
import pandas as pd

from bwpredict import schema
from bwpredict.datasets.file_mapping import FileMapping
from bwpredict.datasets.frame import FILL_VALUE, TelemetryFrame
from bwpredict.datasets.recording import Recording, read_recording
from bwpredict.datasets.resampling import Samples
from bwpredict.documents import read_document
from bwpredict.telemetry import description
from bwpredict.telemetry.description import Description

logger = logging.getLogger(__name__)


def read_data_path(path: Path) -> TelemetryFrame:
    """Read a CSV or Parquet file, or a folder of them, with all of the schema's columns or a part.

    `filled` of the result lists the features that are missing (absent targets among them) with their constant.
    Cadence and calendar of a folder that `bwpredict import` wrote are those of its `telemetry.json`.

    Raises:
        TelemetryError: as `read_recording`.
    """
    described = path / description.NAME
    known = Description.read(read_document(described, description.KIND)) if described.is_file() else None
    mapping = FileMapping(cadence_seconds=known.cadence_seconds if known else None)
    wanted = ["timestamp", *schema.LINK_KEY, *schema.LINK_ATTRIBUTES, *schema.FEATURES]
    recording = read_recording([path], mapping, wanted, dtype=np.float32)
    return _frame(recording, known)


def missing_features(frame: TelemetryFrame) -> list[str]:
    """One sentence for each feature that the source lacks, for people."""
    return [
        f"{name} is missing; it is {constant:g} in every row{' and is not forecast' if name in schema.TARGETS else ''}."
        for name, constant in (frame.filled or {}).items()
    ]


def _frame(recording: Recording, known: Description | None) -> TelemetryFrame:
    samples, calendar = recording.samples, known.calendar if known else schema.CALENDAR
    timestamps = np.round(samples.time).astype(np.int64)
    derived = {"time_of_day": calendar.hours(timestamps), "day_of_week": calendar.days(timestamps)}
    values = np.empty((len(timestamps), len(schema.FEATURES)), dtype=np.float32)
    filled = {}
    for number, name in enumerate(schema.FEATURES):
        if name in samples.features:
            values[:, number] = samples.values[:, samples.features.index(name)]
            if name in derived and not known and (values[:, number] != derived[name]).any():
                logger.warning("%s does not agree with timestamp: %s", name, calendar.sentence)
        elif name in derived:
            values[:, number] = derived[name]
        else:
            values[:, number] = filled[name] = FILL_VALUE
    links, cadence = _with_attributes(samples), recording.cadence_seconds
    frame = TelemetryFrame(values, timestamps, samples.link, links, cadence, calendar, filled)
    for sentence in (*missing_features(frame), *_empty_cells(frame)):
        logger.warning("%s", sentence)
    return frame


def _empty_cells(frame: TelemetryFrame) -> Iterator[str]:
    for name, missing in zip(schema.FEATURES, np.isnan(frame.values).sum(axis=0), strict=True):
        if missing:
            yield f"{name} is empty in {missing:,} of {frame.rows:,} rows; no window contains them."


def _with_attributes(samples: Samples) -> pd.DataFrame:
    """The links with their attributes as of their latest sample."""
    last = np.searchsorted(samples.link, np.arange(len(samples.links)), side="right") - 1
    return samples.links.assign(**{name: text[last] for name, text in samples.attributes.items()})
