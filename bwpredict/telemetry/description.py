"""`telemetry.json`, beside imported partitions: the columns that they lack, their cadence and calendar.

A store without this document holds all columns, a row each minute, with the calendar in UTC.
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, field
from typing import Any

from bwpredict import schema
from bwpredict.documents import decode_document
from bwpredict.errors import ObjectMissingError
from bwpredict.store.base import Store

NAME, KIND = "telemetry.json", "telemetry_description"

Document = dict[str, Any]


@dataclass(frozen=True)
class Description:
    """The part of the document that decides how the rows are read."""

    absent: tuple[str, ...] = ()
    """Columns of the schema that the telemetry lacks, in the schema's order."""
    cadence_seconds: int = schema.CADENCE_SECONDS
    sessions: bool = False
    """Links are measured in sessions, not around the clock."""
    imported: bool = False
    """Imported from files: measured columns may have empty cells, and clocks may jitter."""
    calendar: schema.Calendar = field(default_factory=schema.Calendar)

    @classmethod
    def read(cls, document: Mapping[str, Any] | None) -> Description:
        """From a `telemetry.json`, or its part in a snapshot; None: the default."""
        if document is None:
            return cls()
        zones = {(node, peer): zone for node, peer, zone in document["link_time_zones"]}
        return cls(
            tuple(document["absent_columns"]),
            document["cadence_seconds"],
            document["sessions"],
            imported=True,
            calendar=schema.Calendar(document["time_zone"], link_zones=zones),
        )

    @classmethod
    def of_snapshot(cls, snapshot: Mapping[str, Any]) -> Description:
        """The description in a snapshot."""
        return cls.read(snapshot.get("description"))

    def document(self) -> Document:
        """This part of `telemetry.json`, which snapshots contain too."""
        return {
            "absent_columns": list(self.absent),
            "cadence_seconds": self.cadence_seconds,
            "sessions": self.sessions,
            "time_zone": self.calendar.time_zone,
            "link_time_zones": [[*link, zone] for link, zone in sorted(self.calendar.link_zones.items())],
        }


def read_description(store: Store, prefix: str = "") -> Document | None:
    """The `telemetry.json` of the telemetry under `prefix`; None: there is none.

    Raises:
        DocumentError: it is not such a document.
    """
    key = f"{prefix.strip('/')}/{NAME}".lstrip("/")
    try:
        return decode_document(KIND, store.read(key)[0], name=f"{store.uri}/{key}")
    except ObjectMissingError:
        return None
