"""The year: its world, what is counted, and a small one from end to end."""

import json
from dataclasses import replace
from itertools import pairwise

import bench_year
import numpy as np
import pandas as pd
import pytest
from year import arms, candidates, scores, world
from year.arms import Move

from bwpredict import schema
from bwpredict.config import TrainingConfig
from bwpredict.documents import read_document
from bwpredict.errors import ValidationFailed
from bwpredict.evaluation.forecasts import Forecasts
from bwpredict.pipeline import steps

A, B, C = "v20250201_000000", "v20250301_000000", "v20250401_000000"
MONTHS = ("2025-01", "2025-02", "2025-03", "2025-04")
FOLLOWING = dict(pairwise(MONTHS))
TRAINED = {"2025-01": A, "2025-02": B, "2025-03": C}
SCORES = {
    "2025-02": {A: {"error": 1.0}},
    "2025-03": {A: {"error": 1.0}, B: {"error": 1.1}},
    "2025-04": {A: {"error": 1.0}, B: {"error": 1.2}, C: {"error": 0.96}},
}


def moves(*outcomes_and_versions):
    return [Move(month, *one) for month, one in zip(MONTHS, outcomes_and_versions, strict=False)]


def terms(folder, days=2):
    training = TrainingConfig(epochs=1, windows_per_epoch=256, validation_windows=128)
    return candidates.Terms(folder, days, training, test_windows=1000)


def collected(folder, month, day=0):
    return pd.read_parquet(folder / "telemetry" / f"date={month.name}-{day + 1:02}" / "part-0.parquet")


def test_the_excess_is_above_the_best_candidate_of_the_month_that_is_served():
    stays = moves(("bootstrap", A), ("keep", A), ("keep", A), ("keep", A))
    assert arms.excess_percent(stays, SCORES, FOLLOWING) == pytest.approx([0, 0, 100 * (1 / 0.96 - 1)])


def test_before_a_first_model_the_simple_forecast_serves():
    none = moves(("reject", ""), ("bootstrap", A))
    assert arms.excess_percent(none, {"2025-02": {A: {"error": 0.8}}}, {"2025-01": "2025-02"}) == pytest.approx([25])


def test_a_harmful_promotion_is_undone_when_another_model_serves_a_month_later():
    undone = moves(("bootstrap", A), ("promote", B), ("promote", C), ("keep", C))
    lasting = moves(("bootstrap", A), ("promote", B), ("keep", B), ("keep", B))
    (one,), (other,) = (arms.harmful(each, SCORES, FOLLOWING) for each in (undone, lasting))
    assert (one.month, one.version, one.percent, one.undone) == ("2025-02", B, 10.0, True)
    assert other.undone is False


def test_an_improvement_is_missed_when_a_challenger_that_would_have_been_better_is_not_promoted():
    for outcome in ("keep", "reject", "stopped"):
        stays = moves(("bootstrap", A), ("keep", A), (outcome, A), ("keep", A))
        assert arms.missed(stays, SCORES, FOLLOWING, TRAINED) == ["2025-03"]
    promoted = moves(("bootstrap", A), ("keep", A), ("promote", C), ("keep", C))
    assert arms.missed(promoted, SCORES, FOLLOWING, TRAINED) == []


def test_people_are_told_from_the_third_keep_in_a_row_on():
    keep = ("keep", A)
    assert arms.keep_notices(moves(keep, keep, ("reject", A), keep)) == 0
    assert arms.keep_notices(moves(keep, keep, keep, keep)) == 2


@pytest.mark.parametrize(("drop", "alarms"), [(0.0, 0), (0.3, 1)])
def test_the_monitor_alarms_once_when_the_skill_stays_below_that_of_publication(drop, alarms):
    skill = dict.fromkeys(schema.TARGETS, 0.4 - drop)
    days = [
        {"day": f"2025-02-{n:02}", "windows": 600, "skill": skill, "coverage": None, "level": None}
        for n in range(1, 19)
    ]
    published = {A: dict.fromkeys(schema.TARGETS, 0.4)}
    found = arms.monitor_alarms(
        moves(("bootstrap", A), ("keep", A)),
        {"2025-02": {A: {"error": 1.0, "days": days}}},
        {"2025-01": "2025-02"},
        published,
    )
    assert len(found) == alarms


def test_every_link_and_target_counts_alike_in_the_error():
    actual = np.zeros((4, 2), np.float32)
    simple = np.array([[1, 2], [1, 2], [100, 10], [100, 10]], np.float32)
    models = {"model": simple * np.array([[0.5], [0.5], [0.7], [0.7]], np.float32), scores.UNIT: simple}
    link, times = np.array([0, 0, 1, 1]), np.arange(4)
    forecasts = Forecasts(schema.TARGETS[:2], actual, models, link, times, pd.DataFrame(index=range(2)))
    assert scores.error_of(forecasts, "model") == pytest.approx(0.6)


def test_the_year_has_every_kind_of_event():
    months = world.year(24, 8)
    faults = [month.fault for month in months if month.fault]
    assert [fault == world.STALE for fault in faults] == [False, False, True]
    assert sum(month.training_fails for month in months) == 1
    assert months[-1].links > months[0].links
    assert {month.name[:4] for month in months} == {"2025", "2026"}
    for word in ("upgraded", "rerouted", "down", "new link", "busy", "drift"):
        assert any(word in month.events for month in months), word


def test_an_upgraded_link_has_twice_the_capacity_from_its_month_on():
    before, after = world.links_in(world.year(4, 8)[2]), world.links_in(world.year(4, 8)[3])
    doubled = np.flatnonzero(after.capacity_mbps == 2 * before.capacity_mbps)
    assert tuple(doubled) == world.UPGRADED[4]


def test_stale_telemetry_repeats_values_and_the_truth_does_not(tmp_path):
    month = replace(world.year(1, 3)[0], fault=world.STALE)
    world.write_month(month, 1, tmp_path)
    rows = collected(tmp_path, month)
    block = rows.groupby(["node_id", "peer_id", rows["timestamp"] // (world.STALE_MINUTES * 60)])
    assert (block["rtt_ms"].max() == block["rtt_ms"].min()).all()
    truth = pd.read_parquet(tmp_path / "truth" / month.name / f"date={month.name}-01" / "part-0.parquet")
    assert truth["rtt_ms"].nunique() > 10 * rows["rtt_ms"].nunique()


def test_a_folder_that_was_made_with_other_options_is_refused(tmp_path):
    bench_year.require_same(terms(tmp_path), links=3)
    bench_year.require_same(terms(tmp_path), links=3)
    with pytest.raises(SystemExit, match="other options"):
        bench_year.require_same(terms(tmp_path), links=4)


@pytest.mark.slow
@pytest.mark.parametrize(("fault", "stops"), [(world.STALE, False), ("impossible_values", True), ("wrong_unit", True)])
def test_validation_stops_broken_telemetry_and_cannot_see_stale_values(tmp_path, fault, stops):
    month = replace(world.year(1, 3)[0], fault=fault)
    world.write_month(month, 2, tmp_path)
    planned = steps.plan(candidates.run_of(month, terms(tmp_path), tmp_path / "registry"), tmp_path / "work")
    pulled = steps.snapshot(planned)
    if stops:
        with pytest.raises(ValidationFailed):
            steps.validate(pulled)
    else:
        steps.validate(pulled)
        result = read_document(tmp_path / "work" / month.name / "validation.json", "validation")
        assert result["passed"]


@pytest.mark.slow
@pytest.mark.timeout(1800)
def test_a_small_year_from_end_to_end_and_once_more_from_what_is_kept(tmp_path):
    first, second, third = world.year(3, 3)
    months = [first, replace(second, fault="impossible_values"), replace(third, training_fails=True)]
    own = terms(tmp_path / "kept", days=10)
    results, picture = tmp_path / "results", tmp_path / "year.png"
    bench_year.run(months, own, processes=1, results=results, picture=picture)
    found = json.loads((results / "year_months.json").read_bytes())["rows"]
    assert [row[arms.GATE] for row in found][1:] == ["stopped", "failed"]
    rows = {row["arm"]: row for row in json.loads((results / "year.json").read_bytes())["rows"]}
    assert set(rows) == set(bench_year.ARMS)
    assert rows[arms.ALWAYS]["promotions"] == 1
    assert picture.read_bytes().startswith(b"\x89PNG")
    models = {path: path.stat().st_mtime_ns for path in (tmp_path / "kept").rglob("*.onnx")}
    bench_year.run(months, own, processes=1, results=results, picture=picture)
    assert models == {path: path.stat().st_mtime_ns for path in (tmp_path / "kept").rglob("*.onnx")}
    assert {row["arm"]: row for row in json.loads((results / "year.json").read_bytes())["rows"]} == rows
