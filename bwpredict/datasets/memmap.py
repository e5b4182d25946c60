"""A frame as files that are mapped into memory: written once in a work area, then read where it is needed.

Memory holds the pages that are in use, not the frame; several steps, and several processes, share the files.
"""

from __future__ import annotations

import logging
import mmap
import os
import shutil
import tempfile
from contextlib import suppress
from functools import partial
from pathlib import Path

import numpy as np
import pyarrow as pa
import pyarrow.parquet as pq

from bwpredict import schema
from bwpredict.datasets.frame import Arrays, TelemetryFrame, load_frame
from bwpredict.documents import read_document, write_document
from bwpredict.errors import DocumentError, TelemetryError
from bwpredict.store.files import sha256_of
from bwpredict.telemetry.description import Description

VALUES, TIMESTAMPS, LINK, LINKS = "values.f32", "timestamps.i64", "link.i32", "links.parquet"
DOCUMENT = "frame.json"

logger = logging.getLogger(__name__)


def mapped_frame(telemetry: Path, area: Path, digest: str, description: Description | None = None) -> TelemetryFrame:
    """The frame of a telemetry folder, as files `area/frame-<digest>/` that are written if they are not there.

    `digest` names the content of `telemetry` (hex); the frames of other content in `area` are deleted. Files that
    are not as they were written are written again. The frame's arrays are read-only. `description` as for `load_frame`.

    Raises:
        TelemetryError: as `load_frame`; or the disk is too full for the files.
    """
    folder = area / f"frame-{digest[:16]}"
    if not _is_whole(folder, digest):
        for other in area.glob("frame-*"):
            shutil.rmtree(other)
        _write(telemetry, folder, digest, description)
    return _open(folder, description or Description())


def _is_whole(folder: Path, digest: str) -> bool:
    if not folder.is_dir():
        return False
    with suppress(DocumentError, OSError):
        document = read_document(folder / DOCUMENT, "frame")
        files = document["files"]
        if document["telemetry_sha256"] == digest and all(sha256_of(folder / name) == files[name] for name in files):
            return True
    logger.warning("%s: is not as it was written; it is made again", folder)
    return False


def _write(telemetry: Path, folder: Path, digest: str, description: Description | None) -> None:
    with tempfile.TemporaryDirectory(prefix=".frame-", dir=folder.parent) as name:
        staging = Path(name) / folder.name
        staging.mkdir()
        try:
            frame = load_frame(telemetry, partial(mapped_arrays, staging), description=description)
            pq.write_table(pa.Table.from_pandas(frame.links, preserve_index=False), staging / LINKS)
            files = {each: sha256_of(staging / each) for each in (VALUES, TIMESTAMPS, LINK, LINKS)}
            document = {"telemetry_sha256": digest, "rows": frame.rows, "files": files}
            write_document(staging / DOCUMENT, "frame", document)
        except OSError as error:
            raise TelemetryError(
                f"{folder}: cannot be written ({error.strerror or error}); free some space and run the step again."
            ) from error
        # Fails if another process was faster; its files have the same content.
        with suppress(OSError):
            staging.rename(folder)


def _open(folder: Path, description: Description) -> TelemetryFrame:
    arrays = mapped_arrays(folder, read_document(folder / DOCUMENT, "frame")["rows"], create=False)
    return arrays.frame(pq.read_table(folder / LINKS).to_pandas(), description)


def mapped_arrays(folder: Path, rows: int, *, create: bool = True) -> Arrays:
    """Arrays for a frame of this many rows, in files of the folder; `create` False: those that are there, read-only."""
    row_bytes = {VALUES: 4 * len(schema.FEATURES), TIMESTAMPS: 8, LINK: 4}
    values, timestamps, link = (_map(folder / name, rows * size, create=create) for name, size in row_bytes.items())
    return Arrays(
        np.frombuffer(values, np.float32).reshape(rows, -1),
        np.frombuffer(timestamps, np.int64),
        np.frombuffer(link, np.int32),
        (values, timestamps, link),
    )


def _map(path: Path, size: int, *, create: bool) -> mmap.mmap:
    with path.open("w+b" if create else "rb") as file:
        if create:
            # Reserve the space now: a disk that fills up while a mapped page is written kills the process.
            os.posix_fallocate(file.fileno(), 0, size)
        return mmap.mmap(file.fileno(), size, access=mmap.ACCESS_WRITE if create else mmap.ACCESS_READ)
