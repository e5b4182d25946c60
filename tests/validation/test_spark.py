"""The schema suite on Spark, in local mode: the outcomes are those of pandas."""

import shutil

import numpy as np
import pandas as pd
import pytest
from quality_telemetry import FIRST, SECOND, rewrite, rewrite_all, snapshot_of

from bwpredict import schema
from bwpredict.documents import read_document
from bwpredict.validation.shards import check_shard, plan_shards
from bwpredict.validation.verdict import aggregate_shards

pytest.importorskip("pyspark", reason="PySpark is not installed (make test-spark)")
if not shutil.which("java"):
    pytest.skip("Spark needs Java", allow_module_level=True)

pytestmark = [
    pytest.mark.timeout(1800),
    # PySpark leaves the sockets to its Java process open.
    pytest.mark.filterwarnings("ignore::ResourceWarning"),
]


@pytest.fixture(scope="module", autouse=True)
def local_spark():
    with pytest.MonkeyPatch.context() as patch:
        options = ("ui.enabled=false", "sql.shuffle.partitions=2", "driver.memory=1g", "log.level=ERROR")
        settings = " ".join(f"--conf spark.{option}" for option in options)
        patch.setenv("PYSPARK_SUBMIT_ARGS", f"--master local[2] {settings} pyspark-shell")
        yield
        from pyspark.sql import SparkSession

        if session := SparkSession.getActiveSession():
            session.stop()


def _good(telemetry):
    del telemetry


def _duplicates(telemetry):
    def twice(frame):
        copies = frame.iloc[[100, 101, 2000]].assign(throughput_mbps=1.0)
        return pd.concat([frame, copies]).sort_values(["node_id", "peer_id", "timestamp"], kind="stable")

    rewrite(telemetry, FIRST, twice)


def _impossible_values(telemetry):
    def change(frame):
        frame.loc[frame.index[100:137], "rtt_ms"] = -12.0
        frame.loc[frame.index[200:203], "jitter_ms"] = np.nan
        frame.loc[frame.index[210:214], "queue_depth"] = None
        frame.loc[frame.index[220:221], "throughput_mbps"] = np.inf
        frame["dwcp_mode"] = frame["dwcp_mode"].where(frame.index != frame.index[230], "warp")
        frame["region"] = frame["region"].where(frame.index != frame.index[240], None)
        return frame.assign(bytes_tx=frame["bytes_tx"] // 1000)

    rewrite(telemetry, FIRST, change)
    rewrite(telemetry, SECOND, lambda frame: frame.assign(packet_loss=1.5))


def _missing_column(telemetry):
    rewrite_all(telemetry, lambda frame: frame.drop(columns="peer_id").assign(rtt_ms="fast"))


def _missing_column_on_one_day(telemetry):
    rewrite(telemetry, SECOND, lambda frame: frame.drop(columns="jitter_ms"))


def _off_cadence(telemetry):
    def late(frame):
        stray = frame.index.isin(frame.index[[1000, 1001, 3000]])
        shifted = frame.assign(timestamp=frame["timestamp"] + 17 * stray)
        return shifted.assign(time_of_day=(frame["time_of_day"] + 3) % 24, day_of_week=(frame["day_of_week"] + 6) % 7)

    rewrite(telemetry, SECOND, late)


@pytest.mark.parametrize(
    "fault",
    [_good, _duplicates, _impossible_values, _missing_column, _missing_column_on_one_day, _off_cadence],
)
def test_spark_tells_what_pandas_tells(telemetry, tmp_path, fault):
    rewrite_all(telemetry, lambda frame: frame.sort_values([*schema.LINK_KEY, "timestamp"]))  # as `pull` writes it
    fault(telemetry)
    snapshot = snapshot_of(telemetry)
    results = {}
    for engine in ("pandas", "spark"):
        shards = [
            check_shard(telemetry, snapshot, days, tmp_path / engine / days[0], engine=engine)
            for days in plan_shards(telemetry, snapshot, engine=engine)
        ]
        results[engine], _ = aggregate_shards(shards, snapshot, None, tmp_path / f"{engine} validation")
    checks = {engine: {check["id"]: check for check in result.pop("checks")} for engine, result in results.items()}
    for name, check in checks["pandas"].items():
        assert checks["spark"][name] == check
    assert results["spark"] == results["pandas"]
    assert results["pandas"]["passed"] is (fault is _good)
    assert list((tmp_path / "spark validation/data_docs/validations").glob("telemetry_schema/*/*/*.html"))


def test_a_day_that_cannot_be_read_is_named_and_the_others_are_checked_on_spark(telemetry, tmp_path):
    path, snapshot = telemetry / f"date={FIRST}" / "part-0.parquet", snapshot_of(telemetry)
    path.write_bytes(path.read_bytes()[:-99])
    shard = check_shard(telemetry, snapshot, [FIRST, SECOND], tmp_path / "shard", engine="spark")
    document = read_document(shard, "validation_shard")
    assert list(document["unreadable"]) == [FIRST]
    rows = {outcome["check"]: outcome["observed"] for outcome in document["outcomes"]}["schema.rows"]
    assert rows == 3 * 1440
