"""Validation in shards: as one, whatever the days are dealt out to; what is wrong with a day is told by its name."""

from __future__ import annotations

import itertools
import json
import shutil

import numpy as np
import pandas as pd
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from quality_telemetry import FIRST, SECOND, generate, rewrite, snapshot_of

from bwpredict.documents import read_document
from bwpredict.profiling.batches import parts_of_day, read_day
from bwpredict.store.files import sha256_of
from bwpredict.validation.result import reported, summary
from bwpredict.validation.shards import check_shard, merge_shards, plan_shards
from bwpredict.validation.verdict import aggregate_shards, validate

DAYS = ["2026-11-02", "2026-11-03", "2026-11-04", "2026-11-05"]


@pytest.fixture(scope="module")
def faulty(tmp_path_factory):
    """Four days of two links; different things are wrong on the second and on the last."""
    telemetry = generate(tmp_path_factory.mktemp("faulty") / "telemetry", days=4, links=2)
    rewrite(telemetry, DAYS[1], lambda frame: frame.assign(rtt_ms=np.where(frame.index < 7, -1.0, frame["rtt_ms"])))
    rewrite(
        telemetry, DAYS[3], lambda frame: frame.assign(dwcp_mode=np.where(frame.index < 9, "warp", frame["dwcp_mode"]))
    )
    return telemetry


def pinned(telemetry, days=4):
    snapshot = snapshot_of(telemetry, days=days)
    found = sorted(telemetry.glob("date=*/part-0.parquet"))
    names = [(path.parent.name.removeprefix("date="), sha256_of(path)) for path in found]
    return snapshot | {"days": [{"date": day, "sha256": digest} for day, digest in names]}


@pytest.fixture(scope="module")
def dealt_out(faulty, tmp_path_factory):
    """{days: shard} of every stretch of days, each day a batch of its own."""
    folder = tmp_path_factory.mktemp("shards")
    stretches = [DAYS[first:past] for first, past in itertools.combinations(range(len(DAYS) + 1), 2)]
    return {
        tuple(days): check_shard(faulty, pinned(faulty), days, folder / "-".join(days), rows=1) for days in stretches
    }


@settings(max_examples=16, deadline=None)
@given(st.sets(st.integers(1, 3)))
def test_the_result_of_any_number_of_shards_is_that_of_one(faulty, dealt_out, tmp_path_factory, cuts):
    edges = [0, *sorted(cuts), len(DAYS)]
    shards = [dealt_out[tuple(DAYS[first:past])] for first, past in itertools.pairwise(edges)]
    one, several = (
        merge_shards(each, pinned(faulty), tmp_path_factory.mktemp("results"))
        for each in ([dealt_out[tuple(DAYS)]], shards)
    )
    assert several.outcomes == one.outcomes
    assert several.profile == one.profile | {"numeric": several.profile["numeric"]}
    for name, expected in one.profile["numeric"].items():
        found = several.profile["numeric"][name]
        assert found == expected | {moment: pytest.approx(expected[moment], rel=1e-12) for moment in ("mean", "std")}
    assert several.levels.links == one.levels.links
    np.testing.assert_array_equal(several.levels.quartiles, one.levels.quartiles)


def test_shards_judged_together_give_the_document_of_the_whole(faulty, dealt_out, tmp_path):
    shards = [dealt_out[day,] for day in DAYS]
    result, _ = aggregate_shards(shards, pinned(faulty), None, tmp_path / "in shards")
    whole = validate(faulty, pinned(faulty), None, tmp_path / "whole")
    assert {check["id"]: check["passed"] for check in result["checks"]} == {
        check["id"]: check["passed"] for check in whole["checks"]
    }
    assert (result["rows"], result["links"], result["counts"]) == (whole["rows"], whole["links"], whole["counts"])
    told = {check["id"]: check["sentence"] for check in reported(result)}
    assert told == {check["id"]: check["sentence"] for check in reported(whole)}
    assert {"schema.rtt_ms.range", "schema.dwcp_mode.categories"} <= told.keys()
    pages = {page.parent.parent.name for page in (tmp_path / "in shards/data_docs").glob("validations/*/*/*/*.html")}
    assert set(DAYS) <= pages


def test_a_large_day_is_a_shard_and_small_days_share_one(faulty):
    rows = 2 * 1440
    assert plan_shards(faulty, pinned(faulty), rows=rows) == [[day] for day in DAYS]
    assert plan_shards(faulty, pinned(faulty), rows=3 * rows) == [DAYS[:3], DAYS[3:]]
    assert plan_shards(faulty / "nothing", {"days": []}) == [[]]


@pytest.mark.parametrize(
    ("damage", "known", "why"),
    [
        ("corrupt", False, "cannot be read as Parquet"),
        ("corrupt", True, "is not what was read"),
        ("missing", True, "is missing"),
        ("changed", True, "is not what was read"),
    ],
)
def test_a_day_that_cannot_be_read_is_named_and_the_others_are_checked(faulty, tmp_path, damage, known, why):
    telemetry = shutil.copytree(faulty, tmp_path / "telemetry")
    snapshot = pinned(telemetry) if known else snapshot_of(telemetry, days=4)
    path = telemetry / f"date={DAYS[2]}" / "part-0.parquet"
    if damage == "changed":
        rewrite(telemetry, DAYS[2], lambda frame: frame.assign(rtt_ms=frame["rtt_ms"] + 1))
    elif damage == "corrupt":
        path.write_bytes(path.read_bytes()[:-99])
    else:
        shutil.rmtree(path.parent)
    result = validate(telemetry, snapshot, None, tmp_path / "validation")
    assert not result["passed"]
    failed = {check["id"]: check["sentence"] for check in reported(result)}
    assert failed["schema.readable"].startswith(f"telemetry: 1 of 4 days cannot be checked ({DAYS[2]}: ")
    assert why in failed["schema.readable"]
    assert {"schema.rtt_ms.range", "schema.dwcp_mode.categories"} <= failed.keys()
    assert "schema.readable" not in json.dumps(read_document(tmp_path / "validation/result.json", "validation")["note"])
    assert DAYS[2] in summary(result)


def test_a_skewed_fleet_and_a_clock_that_jumps_are_told_by_day(healthy, tmp_path):
    telemetry = shutil.copytree(healthy, tmp_path / "telemetry")

    def jump(frame):
        late = (frame["node_id"] == frame["node_id"].iloc[0]) & (frame.index % 1440 > 700)
        return frame.assign(timestamp=frame["timestamp"] + np.where(late, 1830, 0))

    rewrite(telemetry, SECOND, jump)
    result = validate(telemetry, snapshot_of(telemetry), None, tmp_path / "validation")
    failed = {check["id"]: check for check in reported(result)}
    assert "schema.timestamp.cadence" in failed
    assert {example["timestamp"][:10] for example in failed["schema.timestamp.cadence"]["examples"]} == {SECOND}
    assert FIRST < SECOND


@pytest.mark.parametrize("rows", [1, 1440, 2000, 5000])
def test_a_day_in_parts_of_whole_links_is_judged_as_the_day(faulty, tmp_path, rows):
    shards = [
        check_shard(faulty, pinned(faulty), DAYS, tmp_path / str(number), rows=most)
        for number, most in enumerate((rows, 10**6))
    ]
    parts, whole = (merge_shards([shard], pinned(faulty), tmp_path / "results") for shard in shards)
    assert [outcome.passed for outcome in parts.outcomes] == [outcome.passed for outcome in whole.outcomes]
    assert [(each.unexpected, each.total) for each in parts.outcomes] == [
        (each.unexpected, each.total) for each in whole.outcomes
    ]
    for name in ("rows", "links", "days", "link_spans", "categorical"):
        assert parts.profile[name] == whole.profile[name]
    np.testing.assert_array_equal(parts.levels.quartiles, whole.levels.quartiles)


def test_parts_of_a_day_hold_whole_links_and_all_rows_and_a_day_in_any_order_is_one_part(faulty, tmp_path):
    folder = faulty / f"date={DAYS[0]}"
    parts = list(parts_of_day(folder, 2000))
    assert [len(part) for part in parts] == [1440, 1440]
    pd.testing.assert_frame_equal(pd.concat(parts, ignore_index=True), read_day(folder))
    telemetry = shutil.copytree(faulty, tmp_path / "telemetry")
    rewrite(telemetry, DAYS[0], lambda frame: frame.sort_values("timestamp", kind="stable"))
    assert [len(part) for part in parts_of_day(telemetry / f"date={DAYS[0]}", 2000)] == [2880]


def test_a_column_that_one_day_of_a_shard_lacks_is_missing_and_the_rows_of_all_days_are_counted(telemetry, tmp_path):
    rewrite(telemetry, SECOND, lambda frame: frame.drop(columns="jitter_ms"))
    shard = check_shard(telemetry, snapshot_of(telemetry), [FIRST, SECOND], tmp_path / "shard")
    outcomes = {each["check"]: each for each in read_document(shard, "validation_shard")["outcomes"]}
    columns, rows = outcomes["schema.columns"], outcomes["schema.rows"]
    assert (columns["passed"], columns["observed"]) == (False, "jitter_ms")
    assert rows["observed"] == sum(len(read_day(telemetry / f"date={day}")) for day in (FIRST, SECOND))
