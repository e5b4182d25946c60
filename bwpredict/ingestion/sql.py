"""Telemetry from a SQL database: any that SQLAlchemy has a driver for, read by a server-side cursor."""

from __future__ import annotations

import difflib
import os
from collections.abc import Iterator
from contextlib import contextmanager
from datetime import UTC, datetime
from pathlib import Path
from typing import Any

import pyarrow as pa
import sqlalchemy as sa
from pydantic import BaseModel, ConfigDict, Field
from sqlalchemy.exc import ArgumentError, NoSuchModuleError, NoSuchTableError, OperationalError, SQLAlchemyError

from bwpredict import schema
from bwpredict.config import load_yaml
from bwpredict.errors import ConfigError, StoreUnreachableError, TelemetryError
from bwpredict.ingestion.landing import with_constants
from bwpredict.ingestion.mapping import check_mapped
from bwpredict.telemetry.columns import cast_column

URL_VARIABLE = "BWPREDICT_SQL_URL"
"""Environment variable with the database's URL, which may hold a password."""
FETCH_ROWS = 50_000
"""Rows to fetch at a time, so that the driver never holds a whole day in memory."""


class SqlMapping(BaseModel):
    """The YAML file that maps a table's columns to those of the schema."""

    model_config = ConfigDict(frozen=True, extra="forbid")

    url: str = ""
    """SQLAlchemy URL without a password; empty: the environment variable `BWPREDICT_SQL_URL`."""
    table: str = Field(min_length=1)
    """Table or view."""
    table_schema: str | None = None
    time: str = "timestamp"
    """Column with the time: unix seconds, or a timestamp (in UTC where it has no time zone)."""
    columns: dict[str, str] = {}
    """Column of the schema → column of the table, where they differ."""
    constants: dict[str, str | float] = {}


def load_mapping(path: Path) -> SqlMapping:
    """The mapping in the YAML file. Raises ConfigError."""
    mapping = load_yaml(SqlMapping, path, "mapping of telemetry")
    unsaid = set(schema.COLUMN_NAMES) - mapping.columns.keys() - mapping.constants.keys()
    check_mapped([*mapping.columns, *mapping.constants, *unsaid], str(path))
    return mapping


class SqlSource:
    """A database and how to read it.

    Raises:
        ConfigError: the URL, the table or a column is wrong.
        StoreUnreachableError: the database does not answer, or refuses the user.
        TelemetryError: it refuses the query, or holds a value of the wrong type.
    """

    def __init__(self, mapping: SqlMapping) -> None:
        """Connect lazily: the first query is made by `check` or `read_day`."""
        self.mapping = mapping
        url = mapping.url or os.environ.get(URL_VARIABLE, "")
        try:
            self.engine = sa.create_engine(url, poolclass=sa.NullPool)  # no connection stays open between days
        except (ArgumentError, NoSuchModuleError, ModuleNotFoundError) as error:
            why = "no driver is installed for it" if isinstance(error, ModuleNotFoundError) else "is no SQLAlchemy URL"
            raise ConfigError(
                f"url: {_without_password(url)!r}: {why}; expected a URL such as postgresql+psycopg2://host/database"
                f" (or the variable {URL_VARIABLE})."
            ) from error
        self.where = self.engine.url.render_as_string(hide_password=True)

    def check(self) -> None:
        """Require that the table has the mapped columns."""
        self._columns()

    def read_day(self, first: int, past: int) -> pa.Table:
        """The rows of [first, past) unix seconds."""
        columns = self._columns()
        time = columns.pop("timestamp")
        column: sa.ColumnClause[Any] = sa.column(time["name"])
        bounds = [_instant(seconds, time["type"]) for seconds in (first, past)]
        query = (
            sa.select(column.label("timestamp"), *(sa.column(one["name"]).label(name) for name, one in columns.items()))
            .select_from(sa.table(self.mapping.table, schema=self.mapping.table_schema))
            .where(column >= bounds[0], column < bounds[1])
        )
        names = ["timestamp", *columns]
        with self._explained(), self.engine.connect() as connection:
            streamed = connection.execution_options(stream_results=True, yield_per=FETCH_ROWS).execute(query)
            batches = [self._batch(names, rows) for rows in streamed.partitions()]
        table = pa.concat_tables(batches) if batches else self._batch(names, [])
        return with_constants(table, self.mapping.constants)

    def _batch(self, names: list[str], rows: Any) -> pa.Table:
        """Rows as a table of the schema's types."""
        columns = list(zip(*rows, strict=True)) or [()] * len(names)
        made = {}
        for name, values in zip(names, columns, strict=True):
            kind = schema.COLUMN[name].arrow_type
            made[name] = cast_column(pa.chunked_array([_array(name, values, self.where)]), kind, name, self.where, None)
        return pa.table(made)

    def _columns(self) -> dict[str, Any]:
        """Schema column → the database's description of the column that it is mapped to."""
        with self._explained():
            found = {
                column["name"]: column
                for column in sa.inspect(self.engine).get_columns(self.mapping.table, self.mapping.table_schema)
            }
        wanted = {name: self.mapping.columns.get(name, name) for name in schema.COLUMN_NAMES}
        wanted["timestamp"] = self.mapping.time
        chosen = {}
        for name, column in wanted.items():
            if name in self.mapping.constants or (name in ("time_of_day", "day_of_week") and column not in found):
                continue
            if column not in found:
                close = difflib.get_close_matches(column, found, n=1)
                hint = f" Did you mean {close[0]!r}?" if close else ""
                raise ConfigError(
                    f"{self.where}: table {self.mapping.table} has no column {column!r} for {name}; map it.{hint}"
                )
            chosen[name] = found[column]
        return chosen

    @contextmanager
    def _explained(self) -> Iterator[None]:
        try:
            yield
        except NoSuchTableError as error:
            raise ConfigError(f"{self.where}: has no table {self.mapping.table!r}; check `table`.") from error
        except OperationalError as error:
            raise StoreUnreachableError(f"{self.where}: cannot be used: {_first_line(error)}.") from error
        except SQLAlchemyError as error:
            raise TelemetryError(f"{self.where}: refuses the query: {_first_line(error)}.") from error


def _instant(seconds: int, kind: Any) -> Any:
    """The time in the type of the database's column."""
    if isinstance(kind, sa.DateTime):
        instant = datetime.fromtimestamp(seconds, UTC)
        return instant if getattr(kind, "timezone", False) else instant.replace(tzinfo=None)
    return seconds


def _array(name: str, values: Any, where: str) -> pa.Array:
    try:
        # Databases return NUMERIC as Decimal.
        return pa.array([float(value) if type(value).__name__ == "Decimal" else value for value in values])
    except pa.ArrowException as error:
        raise TelemetryError(f"{where}: column {name!r} holds values of several types; cast it in a view.") from error


def _first_line(error: Exception) -> str:
    return " ".join(str(getattr(error, "orig", error) or error).split())[:300].rstrip(".")


def _without_password(url: str) -> str:
    scheme, _, rest = url.partition("://")
    return f"{scheme}://…{rest.rpartition('@')[2]}" if "@" in rest else url
