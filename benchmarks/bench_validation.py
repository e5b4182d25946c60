"""The schema suite on one shard (a day of telemetry) by engine: pandas, as in the product, DuckDB and Spark.

The same expectations run on Great Expectations' own backends; the engine computes the columns that the suite derives.
Seconds cover reading the day's Parquet, deriving and checking: the median of several runs in one process. The first
run, which starts the engine, is listed separately. The table also lists engines that cannot run, or whose package is
missing (`pip install duckdb duckdb-engine`, or `pyspark`, which needs Java).
"""

from __future__ import annotations

import argparse
import json
import os
import subprocess
import sys
import tempfile
import time
from collections.abc import Callable, Sequence
from datetime import UTC, datetime, timedelta
from pathlib import Path
from statistics import median
from typing import Any

FIRST_DAY = datetime(2026, 10, 1, tzinfo=UTC)
SUITE = "telemetry_schema"
DERIVED = f"""
    CASE WHEN before IS NULL THEN NULL ELSE
        abs((timestamp - before) - greatest(1, round((timestamp - before) / 60.0)) * 60) END AS seconds_off_cadence,
    (time_of_day - CAST(floor(timestamp / 3600.0) AS BIGINT) % 24 + 24) % 24 AS time_of_day_offset,
    (day_of_week - CAST(floor(timestamp / 86400.0) + 4 AS BIGINT) % 7 + 7) % 7 AS day_of_week_offset,
    (bytes_tx * 8 / 60.0 / 1e6 + {0.01}) / (throughput_mbps + {0.01}) AS bytes_tx_over_throughput
"""
"""As `quality.partitions` derives them: 60 s apart, UTC, 0 = Sunday."""
ROWS = """SELECT *, lag(timestamp) OVER (PARTITION BY node_id, peer_id ORDER BY timestamp) AS before FROM {source}"""
TYPES = {
    "DuckDB": {"int64": "BIGINT", "float64": "DOUBLE", "str": "VARCHAR"},
    "Spark": {"int64": "LongType", "float64": "DoubleType", "str": "StringType"},
}

Run = Callable[[], Any]
"""Reads a day and checks it; gives Great Expectations' results."""


def with_pandas(telemetry: Path, day: str) -> Run:
    from bwpredict.profiling.batches import batches

    definition = _definition(lambda context: context.data_sources.add_pandas("telemetry"), _expectations(None))

    def run() -> Any:
        (batch,) = batches(telemetry, [day], rows=1 << 40)
        return _run(definition, dataframe=batch.frame)

    return run


def with_duckdb(telemetry: Path, day: str) -> Run:
    import duckdb_engine  # noqa: F401 - tells SQLAlchemy of the engine
    import great_expectations as gx

    files = f"read_parquet('{telemetry}/date={day}/*.parquet', hive_partitioning = false)"
    query = f"SELECT *, {DERIVED} FROM ({ROWS.format(source=files)}) AS telemetry_rows"  # noqa: S608 - our own names
    suite = gx.ExpectationSuite(name=SUITE, expectations=_expectations(TYPES["DuckDB"]))

    def run() -> Any:
        with tempfile.TemporaryDirectory() as folder:
            context = gx.get_context(mode="ephemeral")
            source = context.data_sources.add_sql("telemetry", connection_string=f"duckdb:///{folder}/telemetry.db")
            asset = source.add_query_asset(SUITE, query=query)
            return asset.add_batch_definition_whole_table(SUITE).get_batch().validate(suite, result_format="SUMMARY")

    return run


def with_spark(telemetry: Path, day: str) -> Run:
    from pyspark.sql import SparkSession

    cores = os.cpu_count() or 1
    builder = SparkSession.builder.master(f"local[{cores}]").config("spark.driver.memory", "4g")
    spark = builder.config("spark.ui.enabled", "false").config("spark.sql.shuffle.partitions", 2 * cores).getOrCreate()
    spark.sparkContext.setLogLevel("ERROR")
    definition = _definition(lambda context: context.data_sources.add_spark("telemetry"), _expectations(TYPES["Spark"]))

    def run() -> Any:
        spark.read.parquet(f"{telemetry}/date={day}/part-0.parquet").createOrReplaceTempView("telemetry_day")
        rows = ROWS.format(source="telemetry_day")
        return _run(definition, dataframe=spark.sql(f"SELECT *, {DERIVED} FROM ({rows})"))  # noqa: S608 - our own names

    return run


ENGINES: dict[str, Callable[[Path, str], Run]] = {"pandas": with_pandas, "DuckDB": with_duckdb, "Spark": with_spark}


def _expectations(types: dict[str, str] | None) -> list[Any]:
    """The product's suite; types by the engine's names."""
    import great_expectations.expectations as gxe

    from bwpredict.validation.expectations import schema_checks

    made = []
    for check in schema_checks(FIRST_DAY, FIRST_DAY + timedelta(days=1)):
        arguments = dict(check.arguments)
        if types and "type_" in arguments:
            arguments["type_"] = types[arguments["type_"]]
        made.append(getattr(gxe, check.expectation)(**arguments, meta={"check": check.id}))
    return made


def _definition(source_of: Callable[[Any], Any], expectations: Sequence[Any]) -> Any:
    import great_expectations as gx

    context = gx.get_context(mode="ephemeral")
    data = source_of(context).add_dataframe_asset(SUITE).add_batch_definition_whole_dataframe(SUITE)
    suite = context.suites.add(gx.ExpectationSuite(name=SUITE, expectations=expectations))
    return context.validation_definitions.add(gx.ValidationDefinition(name=SUITE, data=data, suite=suite))


def _run(definition: Any, **parameters: Any) -> Any:
    return definition.run(batch_parameters=parameters, result_format={"result_format": "SUMMARY"})


def measure_here(engine: str, telemetry: Path, day: str, repeats: int) -> dict[str, Any]:
    """What a child process does: the engine's figures, or why there are none."""
    import bwpredict.validation.gx_runner  # noqa: F401 - quiets Great Expectations

    try:
        began = time.perf_counter()
        run = ENGINES[engine](telemetry, day)
        found = run()
        seconds = [time.perf_counter() - began]
        for _ in range(repeats):
            began = time.perf_counter()
            found = run()
            seconds.append(time.perf_counter() - began)
    except ImportError as error:
        return {"note": f"left out: the package {error.name} is missing"}
    except Exception as error:  # noqa: BLE001 - whatever an engine raises is the finding
        return {"note": f"cannot run: {type(error).__name__}: {str(error).strip().splitlines()[0][:300]}"}
    raised = [each.exception_info for each in found.results if each.exception_info.get("raised_exception") is not False]
    failed = sorted(each.expectation_config.meta["check"] for each in found.results if not each.success)
    note = f"failed: {', '.join(failed[:5])}" if failed else "all passed"
    return {
        "first run s": seconds[0],
        "seconds": median(seconds[1:]),
        "checks": len(found.results),
        "not evaluated": len(raised),
        "note": f"first reason: {_first_message(raised[0])}" if raised else note,
    }


def _first_message(raised: dict[str, Any]) -> str:
    """Of what Great Expectations caught, by metric or for the check as a whole."""
    told = raised.get("exception_message") or next(iter(raised.values())).get("exception_message", "")
    return str(told).strip().splitlines()[0][:300]


def _peak_mb() -> float:
    status = Path("/proc/self/status").read_text()
    return int(status.partition("VmHWM:")[2].split()[0]) / 1024


def main() -> None:
    """Make a day, then measure each engine in a separate process."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--links", type=int, default=1000)
    parser.add_argument("--repeats", type=int, default=3)
    parser.add_argument("--engines", nargs="+", choices=list(ENGINES), default=list(ENGINES))
    parser.add_argument("--engine", nargs=3, help=argparse.SUPPRESS)
    arguments = parser.parse_args()
    if arguments.engine:
        engine, telemetry, day = arguments.engine
        answer = measure_here(engine, Path(telemetry), day, arguments.repeats)
        print(json.dumps(answer | {"peak MB": _peak_mb()}))
        return
    from common import report

    with tempfile.TemporaryDirectory() as name:
        rows = _telemetry(Path(name), arguments.links)
        found = {engine: _in_a_process(engine, Path(name), arguments.repeats) for engine in arguments.engines}
    report("validation", [_row(engine, rows, each) for engine, each in found.items()])


def _telemetry(folder: Path, links: int) -> int:
    """A day as a snapshot holds it; its rows."""
    from bwpredict.simulation.fleet import FleetConfig
    from bwpredict.simulation.writer import write_partitioned
    from bwpredict.store.factory import open_store
    from bwpredict.telemetry.snapshot import take_snapshot

    write_partitioned(FleetConfig(links=links, days=1, start=f"{FIRST_DAY:%Y-%m-%d}", seed=42), folder / "store")
    document = take_snapshot(open_store(str(folder / "store")), "", FIRST_DAY, FIRST_DAY + timedelta(days=1), folder)
    return int(document["rows"])


def _in_a_process(engine: str, folder: Path, repeats: int) -> dict[str, Any]:
    options = [str(folder / "telemetry"), f"{FIRST_DAY:%Y-%m-%d}", "--repeats", str(repeats)]
    output = subprocess.check_output([sys.executable, __file__, "--engine", engine, *options], text=True)
    answer: dict[str, Any] = json.loads(output.splitlines()[-1])
    return answer


def _row(engine: str, rows: int, found: dict[str, Any]) -> dict[str, Any]:
    seconds = found.get("seconds")
    return {
        "engine": engine,
        "rows": rows,
        "first run s": found.get("first run s"),
        "seconds": seconds,
        "rows/s": rows / seconds if seconds else None,
        "peak MB": found["peak MB"],
        "checks": found.get("checks"),
        "not evaluated": found.get("not evaluated"),
        "note": found["note"],
    }


if __name__ == "__main__":
    main()
