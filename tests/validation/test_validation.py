import logging
import re

import numpy as np
import pandas as pd
import pyarrow.parquet as pq
import pytest
from profiles import measure
from quality_telemetry import FIRST, SECOND, errors, failures, generate, rewrite, snapshot_of, warnings

from bwpredict import schema
from bwpredict.documents import read_document
from bwpredict.errors import SnapshotError
from bwpredict.profiling.batches import batches
from bwpredict.profiling.drift import LIMITS, drift_of
from bwpredict.simulation.data_faults import inject
from bwpredict.validation import gx_runner
from bwpredict.validation.expectations import SCHEMA_SUITE, schema_checks
from bwpredict.validation.gx_runner import Session
from bwpredict.validation.messages import format_row
from bwpredict.validation.result import drift_sentence, reported, stopped_sentence, summary
from bwpredict.validation.verdict import FIRST_MONTH_NOTE, validate

LOCAL = 1_000
"""Rows from here on that a fault of single rows meets: in the first link, on the first day."""


@pytest.fixture(scope="module")
def healthy_result(healthy, champion_profile, tmp_path_factory):
    return validate(healthy, snapshot_of(healthy), champion_profile, tmp_path_factory.mktemp("run") / "validation")


def test_healthy_telemetry_passes_every_check(healthy_result):
    assert failures(healthy_result) == {}
    assert healthy_result["passed"]
    assert healthy_result["counts"]["evaluated"] == healthy_result["counts"]["declared"] > 100
    assert summary(healthy_result).startswith("Validation passed: ")


def test_every_column_has_checks_of_its_type_nulls_and_drift(healthy_result):
    ids = {check["id"] for check in healthy_result["checks"]}
    for column in schema.COLUMNS:
        assert {f"schema.{column.name}.type", f"schema.{column.name}.nulls"} <= ids
        if column.name not in (*schema.LINK_KEY, "timestamp"):
            assert f"distributions.drift.{column.name}" in ids


def test_the_next_week_of_a_calm_network_has_not_drifted_and_that_of_a_congested_one_has(tmp_path):
    fleet = {"links": 6, "days": 7, "seed": 42}
    last = measure(generate(tmp_path / "last", **fleet, start="2026-10-26"))
    week = (FIRST, 7)
    calm = generate(tmp_path / "calm", **fleet)
    result = validate(calm, snapshot_of(calm, *week), last, tmp_path / "calm results")
    assert (errors(result), drift_sentence(result)) == (set(), "")
    congested = generate(tmp_path / "congested", **fleet, regime="congested")
    result = validate(congested, snapshot_of(congested, *week), last, tmp_path / "congested results")
    assert (result["passed"], errors(result)) == (True, set())  # drift is a reason to retrain, not to stop
    assert {f"distributions.drift.{name}" for name in ("queue_depth", "throughput_mbps")} <= warnings(result)
    assert re.fullmatch(r"Drift since the champion's training data: \w[^.]*, \d+ more\.", drift_sentence(result))
    drifting = generate(tmp_path / "drifting", **fleet, regime="drifting", drift_from="2026-01-01")
    result = validate(drifting, snapshot_of(drifting, *week), last, tmp_path / "drifting results")
    assert (result["passed"], errors(result)) == (True, set())
    assert "distributions.drift.packet_loss" in warnings(result)


def test_the_next_month_of_a_calm_network_passes_every_drift_check(tmp_path):
    last, this = (
        measure(generate(tmp_path / start, links=8, days=days, start=start, seed=42))
        for start, days in (("2026-10-01", 31), ("2026-11-01", 30))
    )
    assert all(drift_of(name, this, last) < limit.moved for name, limit in LIMITS.items())


def _overwrite(column, rows, value):
    def change(frame):
        frame.loc[frame.index[rows], column] = value
        return frame

    return change


def _many_faults(frame):
    """One fault for each column or pair of columns, each in rows of its own where it is one of single rows."""
    for column, rows, value in (
        ("rtt_ms", slice(LOCAL, LOCAL + 37), -12.0),
        ("packet_loss", slice(LOCAL + 50, LOCAL + 52), 1.5),
        ("jitter_ms", slice(LOCAL + 60, LOCAL + 63), np.nan),
        ("throughput_mbps", slice(LOCAL + 70, LOCAL + 71), np.inf),
        ("queue_depth", slice(LOCAL + 80, LOCAL + 84), None),
        ("retransmits", slice(LOCAL + 90, LOCAL + 91), -1),
        ("timestamp", slice(LOCAL + 100, LOCAL + 101), pd.Timestamp("2026-12-24", tz="UTC").timestamp()),
        ("timestamp", slice(LOCAL + 110, LOCAL + 111), frame["timestamp"].iloc[LOCAL + 110] + 17),
    ):
        frame = _overwrite(column, rows, value)(frame)
    for column, row, value in (("dwcp_mode", LOCAL, "warp"), ("region", LOCAL + 1, None)):
        frame[column] = frame[column].astype("object")
        frame.loc[frame.index[row], column] = value
    frame["day_of_week"] = (frame["day_of_week"] + 6) % 7
    frame["time_of_day"] = (frame["time_of_day"] + 3) % 24
    frame["bytes_tx"] //= 1000
    copies = frame.iloc[[LOCAL + 120, LOCAL + 121]].assign(throughput_mbps=1.0)
    return pd.concat([frame, copies], ignore_index=True)


@pytest.fixture(scope="module")
def broken_result(tmp_path_factory):
    telemetry = generate(tmp_path_factory.mktemp("broken") / "telemetry")
    rewrite(telemetry, FIRST, _many_faults)
    output = telemetry.parent / "validation"
    result = validate(telemetry, snapshot_of(telemetry), None, output)
    assert read_document(output / "result.json", "validation") == result
    return result


@pytest.mark.parametrize(
    ("check", "sentence"),
    [
        ("rtt_ms.range", r"rtt_ms: 37 of 8,642 values are below 0 ms \(.*: -12 ms\); expected 0 ms or more\."),
        ("packet_loss.range", r"packet_loss: 2 of 8,642 values are outside 0 to 1 \(.*: 1\.5\); expected 0 to 1\."),
        ("jitter_ms.nulls", r"jitter_ms: 3 of 8,642 values are missing or NaN \(.*\); expected none\."),
        ("queue_depth.nulls", r"queue_depth: 4 of 8,642 values are missing or NaN"),
        ("region.nulls", r"region: 1 of 8,642 values are missing or NaN"),
        ("throughput_mbps.finite", r"throughput_mbps: 1 of 8,642 values are infinite \(.*: inf\); expected finite"),
        ("retransmits.range", r"retransmits: 1 of 8,642 values are below 0 packets"),
        ("dwcp_mode.categories", r"dwcp_mode: 1 of .* no known category \(.*: warp\); expected one of standard, turbo"),
        ("unique", r"telemetry: 4 of 8,642 rows share their link and timestamp with another row"),
        (
            "timestamp.period",
            r"timestamp: 1 of .* outside the snapshot's period \(.* at 2026-12-24T00:00Z.*2026-11-02T",
        ),
        (
            "timestamp.cadence",
            r"timestamp: 2 of 8,642 steps .* off the cadence \(.*: 17 s off\); expected steps of a multiple of 60 s",
        ),
        ("day_of_week.calendar", r"as if 0 = Monday; expected .* day_of_week counts from 0 = Sunday\."),
        ("time_of_day.calendar", r"a clock 3 h ahead; expected .* time_of_day is the hour in UTC"),
        (
            "throughput_mbps.bytes",
            r"throughput_mbps: 4,3\d\d of 8,642 values do not agree with the rate of bytes_tx \(.*: 0\.001",
        ),
    ],
)
def test_a_fault_fails_with_a_sentence_that_names_the_column(broken_result, check, sentence):
    found = failures(broken_result)[f"schema.{check}"]
    assert pd.Series([found]).str.contains(sentence, regex=True).all(), found


def test_the_most_serious_errors_come_first(broken_result):
    told = reported(broken_result)
    assert [check["severity"] for check in told] == sorted(check["severity"] for check in told)
    shares = [check["unexpected_share"] for check in told if check["severity"] == "error"]
    known = [share for share in shares if share is not None]
    assert shares == [None] * (len(shares) - len(known)) + sorted(known, reverse=True)
    assert stopped_sentence(broken_result).startswith(
        f"The telemetry is not fit to train on. {len(shares)} errors, the m"
    )
    assert told[0]["sentence"] in stopped_sentence(broken_result)


def test_faults_fail_nothing_but_their_own_checks(broken_result):
    # Fourteen above, and the row in December leaves a gap behind it.
    assert len(errors(broken_result)) == 15
    assert not broken_result["passed"]


@pytest.mark.parametrize(("value", "told"), [(-1.5e9, "-1,500,000,000 B"), (0.25, "0.25 B"), (7, "7 B")])
def test_the_value_of_an_example_is_written_for_people(value, told):
    row = {"node_id": 3, "peer_id": 7, "timestamp": "2026-11-02T16:40Z", "value": value}
    assert format_row(row, " B") == f"link 3→7 at 2026-11-02T16:40Z: {told}"


def test_offending_rows_are_kept_with_link_time_and_value(broken_result):
    (check,) = (check for check in broken_result["checks"] if check["id"] == "schema.rtt_ms.range")
    assert check["unexpected_share"] == pytest.approx(37 / 8642)
    assert len(check["examples"]) == 5
    first = check["examples"][0]
    assert (first["timestamp"], first["value"]) == ("2026-11-02T16:40Z", -12.0)
    assert f"link {first['node_id']}→{first['peer_id']} at 2026-11-02T16:40Z: -12 ms" in check["sentence"]


def test_the_summary_has_errors_first_a_limit_and_the_first_months_note(broken_result):
    lines = summary(broken_result, most=4).splitlines()
    assert lines[0].endswith("15 errors, 0 warnings.")
    assert all(line.startswith("- ERROR ") for line in lines[1:5])
    assert lines[5:] == ["- and 11 more.", FIRST_MONTH_NOTE]


def test_the_first_month_says_so_and_has_no_drift_checks(broken_result):
    assert broken_result["first_month"]
    assert broken_result["note"] == FIRST_MONTH_NOTE
    assert not any(".drift." in check["id"] or "ratio" in check["id"] for check in broken_result["checks"])


def test_a_missing_column_and_text_in_a_number_are_named(break_all, tmp_path):
    telemetry = break_all(lambda frame: frame.drop(columns="peer_id").assign(rtt_ms="fast"))
    result = validate(telemetry, snapshot_of(telemetry), None, tmp_path / "validation")
    found = failures(result)
    assert found["schema.columns"] == (
        "telemetry: columns are missing (peer_id); expected all 20 columns of the telemetry schema."
    )
    assert found["schema.rtt_ms.type"] == "rtt_ms: the values are of type str; expected numbers (float64)."
    assert "could not be checked, since a column it needs is missing" in found["schema.timestamp.cadence"]
    assert "could not be checked, since the values are of the wrong type" in found["schema.rtt_ms.range"]
    assert result["counts"]["evaluated"] < result["counts"]["declared"]
    assert not result["passed"]


@pytest.mark.parametrize("folder", ["nothing", "no rows"])
def test_empty_telemetry_fails_although_no_row_offends(break_all, tmp_path, folder):
    telemetry = break_all(lambda frame: frame[:0]) if folder == "no rows" else tmp_path / "nowhere"
    result = validate(telemetry, {**snapshot_of(telemetry), "rows": 0}, None, tmp_path / "validation")
    assert failures(result)["schema.rows"] == "telemetry: there are 0 rows; expected 1 row or more."
    assert not result["passed"]


def test_a_constant_target_stops_the_run_and_a_constant_feature_does_not(break_all, tmp_path):
    telemetry = break_all(lambda frame: frame.assign(jitter_ms=1.0))
    result = validate(telemetry, snapshot_of(telemetry), None, tmp_path / "target")
    assert errors(result) == {"distributions.constant.jitter_ms"}
    assert "jitter_ms: the column is constant" in summary(result)
    telemetry = generate(tmp_path / "other")
    for day in (FIRST, SECOND):
        rewrite(telemetry, day, lambda frame: frame.assign(retransmits=0))
    result = validate(telemetry, snapshot_of(telemetry), None, tmp_path / "feature")
    assert set(failures(result)) == {"distributions.constant.retransmits"}
    assert result["passed"]
    assert "- WARNING retransmits: the column is constant" in summary(result)


def test_a_link_that_never_changes_and_a_unit_that_does_are_warnings_that_name_the_link(telemetry, tmp_path):
    def freeze(frame):
        return frame.assign(rtt_ms=frame["rtt_ms"].where(frame["peer_id"] != frame["peer_id"].min(), 7.5))

    def rescale(frame):
        frame = freeze(frame)
        factor = 1 + 999 * (frame["peer_id"] == frame["peer_id"].max())
        return frame.assign(
            throughput_mbps=frame["throughput_mbps"] * factor, bytes_tx=frame["bytes_tx"] * factor.astype("int64")
        )

    rewrite(telemetry, FIRST, freeze)
    rewrite(telemetry, SECOND, rescale)
    result = validate(telemetry, snapshot_of(telemetry), None, tmp_path / "result")
    found = {check["id"]: check for check in result["checks"] if not check["passed"]}
    assert set(found) == {"distributions.constant_links_rtt_ms", "distributions.unit_changes_throughput_mbps"}
    assert {check["severity"] for check in found.values()} == {"warning"}
    assert result["passed"]
    sentences = {name: check["sentence"] for name, check in found.items()}
    assert re.match(
        r"rtt_ms: never changes on 1 of 3 links: \d+→\d+ \(always 7.5\)",
        sentences["distributions.constant_links_rtt_ms"],
    )
    assert re.match(
        r"throughput_mbps: jumps as if its unit changed on 1 of 3 links: \d+→\d+"
        r" \(about 1,000 times as much from 2026-11-03T00:00Z\); expected one unit throughout",
        sentences["distributions.unit_changes_throughput_mbps"],
    )


def test_a_day_that_a_source_sends_again_under_the_next_date_is_a_warning(telemetry, tmp_path):
    yesterday = pq.ParquetFile(telemetry / f"date={FIRST}/part-0.parquet").read().to_pandas()

    def restamped(_):
        day_of_week = (yesterday["day_of_week"] + 1) % 7
        return yesterday.assign(timestamp=yesterday["timestamp"] + 86_400, day_of_week=day_of_week)

    rewrite(telemetry, SECOND, restamped)
    result = validate(telemetry, snapshot_of(telemetry), None, tmp_path / "result")
    assert failures(result) == {
        "distributions.repeated_days": f"timestamp: 1 day repeats the values of the previous recorded day: {SECOND}"
        " (on 3 of 3 links); expected new values every day."
    }
    assert result["passed"]


@pytest.mark.parametrize(
    ("fault", "expected"),
    [
        ("impossible_values", {"schema.rtt_ms.range", "schema.packet_loss.range"}),
        ("wrong_unit", {"schema.throughput_mbps.bytes"}),
        ("wrong_calendar", {"schema.day_of_week.calendar"}),
        ("missing_values", {"schema.rtt_ms.nulls", "schema.throughput_mbps.nulls"}),
    ],
)
def test_every_fault_that_the_generator_can_inject_is_caught(telemetry, champion_profile, tmp_path, fault, expected):
    inject(telemetry, fault)
    result = validate(telemetry, snapshot_of(telemetry), champion_profile, tmp_path / "validation")
    assert errors(result) == expected


def test_drift_is_told_once_with_its_statistic_and_what_moved(break_all, champion_profile, tmp_path):
    telemetry = break_all(lambda frame: frame.assign(rtt_ms=frame["rtt_ms"] * 30, dwcp_mode="turbo"))
    result = validate(telemetry, snapshot_of(telemetry), champion_profile, tmp_path / "validation")
    assert (result["passed"], errors(result)) == (True, set())
    moved = {one["column"]: one for one in result["distributions"]}
    assert list(moved) == ["dwcp_mode", "rtt_ms"]
    for one in moved.values():
        assert len(one["bins"]) == len(one["now"]) == len(one["then"]) <= 25
        assert sum(one["now"]) == pytest.approx(1, abs=1e-3)
        assert one["now"] != one["then"]
    assert warnings(result) == {"distributions.drift.rtt_ms", "distributions.drift.dwcp_mode"}
    told = [check["sentence"] for check in reported(result)]
    assert len(told) == 2
    assert told[0].startswith("rtt_ms: the distribution has drifted (median ")
    assert " ms): PSI " in told[0]
    assert told[1].startswith("dwcp_mode: the distribution has drifted (share of ")
    assert "%): Jensen–Shannon distance 0.9" in told[1]


@pytest.mark.parametrize("factor", [1000, 1 / 1000])
def test_a_month_in_another_unit_than_the_champions_is_an_error(break_all, champion_profile, tmp_path, factor):
    telemetry = break_all(lambda frame: frame.assign(rtt_ms=frame["rtt_ms"] * factor))
    result = validate(telemetry, snapshot_of(telemetry), champion_profile, tmp_path / "validation")
    assert errors(result) == {"distributions.unit.rtt_ms"}
    assert "as if the unit had changed" in failures(result)["distributions.unit.rtt_ms"]


def test_fewer_links_and_rows_than_the_champions_are_errors(break_all, champion_profile, tmp_path):
    telemetry = break_all(lambda frame: frame[frame["peer_id"] == frame["peer_id"].iloc[0]])
    result = validate(telemetry, snapshot_of(telemetry), champion_profile, tmp_path / "validation")
    found = failures(result)
    assert "the row count is 0.3333 times that of the champion's" in found["distributions.rows_per_day_ratio.error"]
    assert "the link count is 0.3333 times that of the champion's" in found["distributions.links_ratio.error"]


@pytest.mark.parametrize(("kept", "passes"), [(0.9, True), (0.6, False)])
def test_gaps_are_a_warning_first_and_then_an_error(break_all, tmp_path, kept, passes):
    telemetry = break_all(lambda frame: frame[frame["timestamp"] // 60 % 10 < kept * 10])
    result = validate(telemetry, snapshot_of(telemetry), None, tmp_path / "validation")
    assert "of the links' minutes hold no sample" in failures(result)["distributions.gaps.warning"]
    assert result["passed"] is passes
    assert ("distributions.gaps.error" in errors(result)) is not passes


def test_rows_that_the_snapshot_does_not_know_are_an_error(healthy, champion_profile, tmp_path):
    snapshot = {**snapshot_of(healthy), "rows": 8639}
    result = validate(healthy, snapshot, champion_profile, tmp_path / "validation")
    assert failures(result) == {
        "distributions.rows": "telemetry: there are 8,640 rows; expected 8,639 as in the snapshot."
    }


def test_a_snapshot_without_its_period_and_a_broken_file_are_errors_and_write_nothing(telemetry, tmp_path):
    with pytest.raises(SnapshotError, match="lacks end, rows; take the snapshot again"):
        validate(telemetry, {"start": "2026-11-02T00:00:00+00:00"}, None, tmp_path / "validation")
    assert [path.name for path in tmp_path.iterdir()] == ["telemetry"]


@pytest.mark.parametrize("spared", [[], [*schema.LINK_KEY, "timestamp"]])
def test_spared_work_gives_the_results_of_a_plain_frame_of_texts(healthy, tmp_path, monkeypatch, spared):
    start, end = (pd.Timestamp(day, tz="UTC").to_pydatetime() for day in (FIRST, "2026-11-04"))
    checks = schema_checks(start, end)
    (batch,) = batches(healthy)
    kept_as_categories = batch.frame.select_dtypes("category").columns
    assert set(kept_as_categories) == {column.name for column in schema.COLUMNS if column.kind in ("category", "text")}
    plain = batch.frame.astype(dict.fromkeys(kept_as_categories, "str"))
    random = np.random.default_rng(5)
    for name in plain.columns.difference(spared):
        # Some columns of few wrong values, some of many, some of none but wrong ones.
        share = random.choice([0.0, 0.001, 0.3, 1.0], p=[0.3, 0.3, 0.3, 0.1])
        rows = random.random(len(plain)) < share
        wrong = (
            random.choice(["?", None]) if name in kept_as_categories else random.choice([-5.0, np.nan, 1e12, np.inf])
        )
        if rows.any():
            values = plain[name] if name in kept_as_categories else plain[name].astype("float64")
            plain[name] = values.where(~rows, wrong)
    spare = plain.astype(dict.fromkeys(kept_as_categories, "category"))
    shared = Session(tmp_path / "shared").run(SCHEMA_SUITE, checks, [gx_runner.Batch("b", spare)])
    monkeypatch.setattr(gx_runner, "_Rows", pd.DataFrame)
    copied = Session(tmp_path / "copied").run(SCHEMA_SUITE, checks, [gx_runner.Batch("b", plain)])
    assert repr(shared) == repr(copied)
    assert sum(not outcome.passed for outcome in shared) > 12


def test_the_verdict_is_the_same_whatever_the_batches(telemetry, tmp_path):
    rewrite(telemetry, SECOND, _overwrite("rtt_ms", slice(0, 7), -1.0))
    start, end = (pd.Timestamp(day, tz="UTC").to_pydatetime() for day in (FIRST, "2026-11-04"))
    whole, by_link = (
        Session(tmp_path).run(SCHEMA_SUITE, schema_checks(start, end), batches(telemetry, rows=rows))
        for rows in (10**6, 1)
    )
    assert [batch.name for batch in batches(telemetry)] == [f"{FIRST} to {SECOND}"]
    names = [day + part for day in (FIRST, SECOND) for part in ("", ", part 2", ", part 3")]
    assert [batch.name for batch in batches(telemetry, rows=1)] == names
    for one, other in zip(whole, by_link, strict=True):
        assert (one.passed, one.unexpected, one.total, one.examples) == (
            other.passed,
            other.unexpected,
            other.total,
            other.examples,
        )


def test_great_expectations_is_silent(healthy, tmp_path, caplog, capfd):
    with caplog.at_level(logging.INFO):
        validate(healthy, snapshot_of(healthy), None, tmp_path / "validation")
    assert [record.message for record in caplog.records if record.name.startswith("great_expectations")] == []
    assert capfd.readouterr() == ("", "")
