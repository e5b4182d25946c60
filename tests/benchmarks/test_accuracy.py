"""The accuracy benchmark in its quick form."""

import math

import numpy as np
import pytest
from accuracy.cache import Cache
from accuracy.data import TEST, UNSEEN
from accuracy.run import Terms, chosen_entries, run_dataset
from accuracy.scores import PERSISTENCE, Outcome, reading, score
from accuracy.tables import ACCURACY, tables
from accuracy.task import Budget, Entry, Fitted, Task, absolute_errors

from bwpredict import schema
from bwpredict.errors import ConfigError
from bwpredict.evaluation.baselines import baseline_forecasts

PARTIAL = {"seasonal_profile"}


def rows(result, test=TEST, **wanted):
    return [row for row in result["tests"][test]["rows"] if all(row[key] == value for key, value in wanted.items())]


@pytest.mark.parametrize("test", [TEST, UNSEEN])
def test_the_table_has_every_model_for_every_target(result, test):
    models = ["last_value", "mean_15_minutes", "seasonal_profile", "ridge", "bwpredict", "oracle"]
    assert [(row["target"], row["model"]) for row in rows(result, test)] == [
        (target, model) for target in schema.TARGETS for model in models
    ]


@pytest.mark.parametrize("test", [TEST, UNSEEN])
def test_no_figure_of_a_model_that_answers_for_all_windows_is_missing(result, test):
    once = {"mae_spread", "skill_spread"}  # a single seed has no spread
    for row in rows(result, test):
        if row["model"] not in PARTIAL:
            assert {key for key, value in row.items() if value is None} <= once, row


@pytest.mark.parametrize("test", [TEST, UNSEEN])
@pytest.mark.parametrize("target", schema.TARGETS)
def test_nothing_beats_the_oracle(result, test, target):
    errors = {row["model"]: row["mae"] for row in rows(result, test, target=target) if row["model"] not in PARTIAL}
    assert min(errors, key=errors.get) == "oracle"


def test_the_gap_closed_is_0_for_persistence_and_1_for_the_oracle(result):
    assert {row["gap_closed"] for row in rows(result, model=PERSISTENCE)} == {0.0}
    assert {row["gap_closed"] for row in rows(result, model="oracle")} == {1.0}


def test_the_skill_lies_within_its_interval(result):
    for row in rows(result):
        if row["share_scored"] == 1:
            assert row["skill_low"] <= row["skill"] <= row["skill_high"]


def test_ridge_learns_something_on_every_target(result):
    assert all(row["skill"] > 0 for row in rows(result, model="ridge"))


def test_links_that_training_never_saw_have_no_profile(result):
    assert all(
        row["share_scored"] == 0 and row["mae"] is None for row in rows(result, UNSEEN, model="seasonal_profile")
    )


def test_every_target_has_a_verdict_on_ours_and_only_on_ours(result):
    for test in result["tests"].values():
        assert [(each["target"], each["model"]) for each in test["verdicts"]] == [
            (target, "bwpredict") for target in schema.TARGETS
        ]
        assert all(each["rival"] != "oracle" for each in test["verdicts"])


def test_the_document_is_json_without_nan(result):
    def plain(value):
        if isinstance(value, dict):
            return all(isinstance(key, str) and plain(each) for key, each in value.items())
        if isinstance(value, (list, tuple)):
            return all(map(plain, value))
        return value is None or isinstance(value, (str, bool, int)) or math.isfinite(value)

    assert plain(result)


def test_the_printed_tables_have_a_line_for_every_row(result):
    printed = list(tables(result))
    assert [table.row_count for table in printed] == [*(len(rows(result, test)) for test in result["tests"]), 5]
    assert len(printed[0].columns) == len(ACCURACY)


def test_all_models_are_fitted_and_scored_on_identical_windows(dataset):
    seen = {}

    def entry(name):
        def fit(task):
            windows = seen.setdefault(name, [task.train.starts, task.validation.starts, task.sample().starts])

            def forecast(index):
                windows.append(index.starts)
                return baseline_forecasts(index)[PERSISTENCE]

            return Fitted(forecast)

        return Entry(name, fit, ours=name == "b")

    terms = Terms(Budget(windows=100, epochs=2, validation_windows=50), seeds=(1, 2))
    result = run_dataset(dataset, [entry(PERSISTENCE), entry("a"), entry("b")], terms)
    assert len(seen["a"]) == len(seen["b"])
    for one, other in zip(seen["a"], seen["b"], strict=True):
        np.testing.assert_array_equal(one, other)
    assert {each["place"] for each in result["tests"][TEST]["verdicts"]} == {"tied"}


def counting_entry(name, fits, *, ours=False):
    def fit(task):
        fits.append((name, task.seed))
        return Fitted(lambda index: baseline_forecasts(index)[PERSISTENCE], parameters=7, choice="none")

    return Entry(name, fit, ours=ours)


def test_a_rival_that_was_kept_is_not_trained_again_and_ours_always_is(dataset, tmp_path):
    fits = []
    entries = [counting_entry(PERSISTENCE, fits), counting_entry("ours", fits, ours=True)]
    terms = Terms(Budget(100, 1, 50), seeds=(1, 2), cache=Cache(tmp_path))
    first, second = (run_dataset(dataset, entries, terms) for _ in range(2))
    assert fits.count((PERSISTENCE, 1)) == fits.count((PERSISTENCE, 2)) == 1
    assert fits.count(("ours", 1)) == fits.count(("ours", 2)) == 2
    assert first["tests"] == second["tests"]
    assert first["models"][0] == second["models"][0]


def test_rivals_may_have_seeds_of_their_own(dataset):
    fits = []
    entries = [counting_entry(PERSISTENCE, fits), counting_entry("ours", fits, ours=True)]
    result = run_dataset(dataset, entries, Terms(Budget(100, 1, 50), seeds=(1, 2), rival_seeds=(3,)))
    assert fits == [(PERSISTENCE, 3), ("ours", 1), ("ours", 2)]
    assert (result["seeds"], result["rival_seeds"]) == ([1, 2], [3])
    assert [model["seeds"] for model in result["models"]] == [1, 2]


@pytest.mark.parametrize("budget", [Budget(100, 2, 50), Budget(101, 1, 50), Budget(100, 1, 51)])
def test_other_terms_train_again(dataset, tmp_path, budget):
    fits = []
    entries = [counting_entry(PERSISTENCE, fits)]
    for each in (Budget(100, 1, 50), budget):
        run_dataset(dataset, entries, Terms(each, (1,), cache=Cache(tmp_path)))
    assert len(fits) == 2


def test_no_model_gets_more_windows_than_the_budget(dataset):
    task = Task(dataset.split, Budget(windows=100, epochs=3), seed=5)
    assert len(task.sample()) == 300
    assert [len(task.epoch(number)) for number in (1, 2, 3)] == [100] * 3
    assert set(task.sample().starts) <= set(task.train.starts)


def outcomes_of(index, **factors):
    actual = index.targets()
    last = baseline_forecasts(index)[PERSISTENCE]
    return {PERSISTENCE: Outcome([last])} | {
        name: Outcome([actual + factor * (last - actual) for factor in each], ours=name == "ours")
        for name, each in factors.items()
    }


def test_a_model_with_seeds_is_judged_by_its_mean_error_over_seeds(dataset):
    index = dataset.tests[TEST]
    result = score(index, [1], outcomes_of(index, ours=(0.4, 0.6)))
    (row,) = [each for each in result["rows"] if each["model"] == "ours"]
    assert row["skill"] == pytest.approx(0.5, abs=1e-3)
    assert row["skill_spread"] == pytest.approx(np.std([0.4, 0.6], ddof=1), abs=1e-3)
    assert result["verdicts"][0]["place"] == "first"


@pytest.mark.parametrize(("rival", "place"), [(0.3, "beaten"), (0.5, "tied"), (0.7, "first")])
def test_the_verdict_follows_the_paired_errors(dataset, rival, place):
    index = dataset.tests[TEST]
    (verdict,) = score(index, [1], outcomes_of(index, ours=(0.5,), rival=(rival,)))["verdicts"]
    assert verdict["place"] == place


def test_a_forecast_of_ours_that_is_not_finite_has_no_place(dataset):
    index = dataset.tests[TEST]
    outcomes = outcomes_of(index, ours=(0.1,))
    outcomes["ours"].forecasts[0][3] = np.nan
    (verdict,) = score(index, [1], outcomes)["verdicts"]
    assert verdict["place"] == "undefined"


def test_errors_agree_with_a_scalar_version(dataset):
    index = dataset.tests[TEST].take(slice(0, 5))
    forecasts = baseline_forecasts(index)[PERSISTENCE]
    errors = absolute_errors(index, forecasts)
    frame = index.frame
    for number, start in enumerate(index.starts):
        for place in range(4):
            expected = abs(float(frame.values[start + 19, place]) - float(frame.values[start + 34, place]))
            assert errors[number, place] == pytest.approx(expected)


@pytest.mark.parametrize(
    ("values", "read"),
    [
        ([50.0] * 100, "MAPE"),
        ([0.0] * 6 + [50.0] * 94, "WAPE"),
        ([0.15] * 100, "WAPE"),
        ([0.0] * 5 + [50.0] * 95, "MAPE"),
    ],
)
def test_where_a_target_idles_the_table_says_to_read_wape(values, read):
    assert reading(np.array(values), schema.TARGETS.index("throughput_mbps")) == read


def test_an_unknown_model_is_refused_by_name():
    with pytest.raises(ConfigError, match="'prophet' is not known"):
        chosen_entries(["prophet"])
