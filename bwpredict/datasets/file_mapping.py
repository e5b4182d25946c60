"""How the columns of a user's files become those of the schema: a YAML file for `bwpredict import`."""

from __future__ import annotations

import codecs
from pathlib import Path
from typing import Any, Literal, Self
from zoneinfo import ZoneInfo, ZoneInfoNotFoundError

from pydantic import AwareDatetime, BaseModel, ConfigDict, Field, field_validator, model_validator

from bwpredict import schema
from bwpredict.config import load_yaml
from bwpredict.errors import ConfigError
from bwpredict.telemetry.sources import CsvFormat

LINK = "link"
"""A column that names the pair of nodes as a whole."""
DERIVED = ("timestamp", *schema.CALENDAR_FEATURES)
"""Columns that follow from the time."""
NAMES: dict[str, str] = {**schema.OLD_NAMES, "time": "timestamp", "unix_time": "timestamp", "link_id": LINK}
"""Other names of columns, read as the schema's without a mapping."""

_RATES = {"bit": 1e-6, "kbit": 1e-3, "Mbit": 1.0, "Gbit": 1e3, "B": 8e-6, "kB": 8e-3, "MB": 8.0, "GB": 8e3}
_UNITS: dict[str, dict[str, float]] = {
    "Mbit/s": {f"{name}/s": factor for name, factor in _RATES.items()},
    "ms": {"ms": 1.0, "s": 1e3, "us": 1e-3, "ns": 1e-6},
    "share": {"share": 1.0, "%": 0.01},
    "B": {"B": 1.0, "kB": 1e3, "MB": 1e6, "GB": 1e9, "bit": 0.125, "kbit": 125.0, "Mbit": 125e3},
    "packets": {"packets": 1.0},
}
"""Unit of the schema → unit of a file → what its values are multiplied by."""

Function = Literal["none", "rate", "increase", "per_second"]


class _Strict(BaseModel):
    model_config = ConfigDict(frozen=True, extra="forbid", allow_inf_nan=False)


class Source(_Strict):
    """Where one column of the schema comes from."""

    column: str = Field(min_length=1)
    """The file's."""
    unit: str = ""
    """Of the file's column; empty: the schema's."""
    scale: float = Field(1.0, gt=0)
    """What the values are multiplied by besides."""
    function: Function = "none"
    """`rate` and `increase`: the column is a counter, and a second's or a sample's share of its growth is meant;
    `per_second`: it is the amount of one sample's time."""


class TimeZones(_Strict):
    """A time zone for each link."""

    column: str = Field(min_length=1)
    """The file's column with an IANA name, or with a text that `names` holds."""
    names: dict[str, str] = {}
    """Text in the column → IANA name."""

    @field_validator("names")
    @classmethod
    def _are_zones(cls, names: dict[str, str]) -> dict[str, str]:
        for name in names.values():
            check_zone(name)
        return names


class Provenance(_Strict):
    """Where public data comes from, and what may be done with it."""

    title: str = Field(min_length=1)
    url: str = Field(min_length=1)
    license: str = Field(min_length=1)
    commit: str = ""
    """Of the repository at `url`."""
    files: dict[str, str] = {}
    """Name → SHA-256 of the files that the mapping was tried with."""


class FileMapping(_Strict):
    """The YAML file: which columns, units, constants and time zone a user's files have."""

    time: str = ""
    """Column with the time; empty: `timestamp`, `time` or `unix_time`."""
    time_format: str = "unix"
    """`unix`, `unix_ms`, `unix_us`, `iso` (ISO 8601), or a pattern such as `%d.%m.%Y %H:%M:%S`."""
    times_in: str = "UTC"
    """Time zone of times that are written without an offset."""
    start: AwareDatetime | None = None
    """Where times count from the start of a recording: that moment."""
    time_zone: str | TimeZones = "UTC"
    """Of `time_of_day` and `day_of_week`: one for all links, or one for each."""
    separator: str = Field(",", min_length=1, max_length=1)
    """Between the columns of a CSV."""
    decimal: Literal[".", ","] = "."
    """The decimal sign of a CSV's numbers."""
    encoding: str = "utf-8"
    """Of a CSV's text, by a name that Python knows."""
    missing: tuple[str, ...] = ()
    """Texts of a CSV that stand for a missing value, such as `-`; an empty cell, null and NA do anyway."""
    columns: dict[str, Source] = {}
    """Column of the schema, or `link` → column of the files."""
    constants: dict[str, str | float] = {}
    """Column of the schema → the one value of all rows."""
    cadence_seconds: int | None = Field(None, ge=1, le=3600)
    """Between two samples of a link; None: the median step."""
    sessions: bool = False
    """Links are measured in sessions, not around the clock: gaps are no fault."""
    source: Provenance | None = None
    """Of a recipe: the public data that it is for."""

    @field_validator("columns", mode="before")
    @classmethod
    def _columns_by_name(cls, columns: Any) -> Any:
        if not isinstance(columns, dict):
            return columns
        return {name: {"column": source} if isinstance(source, str) else source for name, source in columns.items()}

    @field_validator("times_in", "time_zone")
    @classmethod
    def _is_zone(cls, zone: str | TimeZones) -> str | TimeZones:
        if isinstance(zone, str):
            check_zone(zone)
        return zone

    @field_validator("encoding")
    @classmethod
    def _is_encoding(cls, encoding: str) -> str:
        try:
            codecs.getincrementaldecoder(encoding)  # as pandas reads a file
        except LookupError as error:
            raise ValueError(f"{encoding!r} is not an encoding; expected such as latin-1, cp1252 or utf-16") from error
        return encoding

    @model_validator(mode="after")
    def _signs_differ(self) -> Self:
        if self.decimal == self.separator:
            raise ValueError(f"decimal and separator are both {self.decimal!r}; give the separator between the columns")
        return self

    @model_validator(mode="after")
    def _names_known_columns(self) -> Self:
        for name in (*self.columns, *self.constants):
            if name in DERIVED:
                raise ValueError(f"{name} follows from the time: map it with `time` and `time_zone`")
            if name not in schema.COLUMN and name != LINK:
                raise ValueError(
                    f"{name}: unknown column of telemetry; expected one of {', '.join(schema.COLUMN_NAMES)}"
                )
        if both := sorted(self.columns.keys() & self.constants.keys()):
            raise ValueError(f"{both[0]} is mapped twice; keep the column or the constant")
        sources = [source.column for source in self.columns.values()]
        if twice := sorted({column for column in sources if sources.count(column) > 1}):
            raise ValueError(f"the file's column {twice[0]!r} is mapped twice; keep one of them")
        return self

    @model_validator(mode="after")
    def _constants_fit(self) -> Self:
        for name, value in self.constants.items():
            column = schema.COLUMN[name] if name != LINK else schema.COLUMN["region"]
            if name in schema.TARGETS:
                raise ValueError(f"{name} is to be forecast, so it cannot be a constant; leave it out")
            if column.kind in ("integer", "number") and not isinstance(value, float):
                raise ValueError(f"the constant {value!r} of {name} is not a number")
            if column.categories and value not in column.categories:
                raise ValueError(f"the constant {value!r} of {name} is none of {', '.join(column.categories)}")
        return self

    @model_validator(mode="after")
    def _units_fit(self) -> Self:
        for name, source in self.columns.items():
            self.factor(name)
            if source.function != "none" and (name == LINK or schema.COLUMN[name].kind not in ("integer", "number")):
                raise ValueError(f"{name} is not a number and takes no function")
        return self

    @property
    def csv_format(self) -> CsvFormat:
        """How the CSV files are written."""
        return CsvFormat(self.separator, self.decimal, self.encoding, self.missing)

    def factor(self, name: str) -> float:
        """What values of the column are multiplied by, after its function. Raises ValueError: its unit is unknown."""
        source = self.columns.get(name)
        if source is None:
            return 1.0
        if not source.unit:
            return source.scale
        known = _UNITS.get(schema.COLUMN[name].unit if name != LINK else "", {})
        if source.function in ("rate", "per_second"):
            known = {unit.removesuffix("/s"): factor for unit, factor in known.items() if unit.endswith("/s")}
        if source.unit not in known:
            units = ", ".join(known) or "none; leave the unit out, or give a scale"
            raise ValueError(f"{name} comes from a column in {source.unit!r}; expected one of {units}")
        return source.scale * known[source.unit]

    def aliases(self) -> dict[str, str]:
        """Name in the files → name in the schema; a column of the schema's name that is mapped to another is hidden."""
        mapped = {source.column: name for name, source in self.columns.items()}
        if self.time:
            mapped[self.time] = "timestamp"
        if isinstance(self.time_zone, TimeZones) and self.time_zone.column not in mapped:
            mapped[self.time_zone.column] = ZONE
        taken = {*mapped.values(), *self.constants}
        others = {old: name for old, name in NAMES.items() if name not in taken}
        hidden = {name: f"{name} (not used)" for name in taken if mapped.get(name) != name}
        return {**others, **hidden, **mapped}

    @property
    def zone_column(self) -> str:
        """The column, as `aliases` calls it, that tells a link's time zone; empty: one zone for all."""
        if isinstance(self.time_zone, str):
            return ""
        return self.aliases()[self.time_zone.column]

    def zone_of(self, text: str | None) -> str:
        """The time zone that a link's text stands for. Raises ConfigError."""
        if isinstance(self.time_zone, str):
            return self.time_zone
        try:
            check_zone(zone := self.time_zone.names.get(text or "", text or ""))
        except ValueError as error:
            raise ConfigError(
                f"column {self.time_zone.column!r}: {error}; add it to `names` of `time_zone`."
            ) from error
        return zone


ZONE = "time zone"
"""What `aliases` calls a column that is read for the time zone alone."""


def check_zone(name: str) -> None:
    """Raise a ValueError if the machine knows no time zone of this name."""
    try:
        ZoneInfo(name)
    except (ZoneInfoNotFoundError, ValueError, OSError) as error:
        raise ValueError(f"{name!r} is not a time zone; expected such as Europe/Berlin or UTC") from error


def load_mapping(path: Path) -> FileMapping:
    """The mapping in the YAML file. Raises ConfigError."""
    return load_yaml(FileMapping, path, "mapping of telemetry")
