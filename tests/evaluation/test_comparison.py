import json
from dataclasses import replace

import numpy as np
import pytest

from bwpredict import schema
from bwpredict.documents import encode_document
from bwpredict.errors import DocumentError
from bwpredict.evaluation.baselines import BASELINES, REFERENCES
from bwpredict.evaluation.comparison import compare
from bwpredict.evaluation.forecasts import collect, read_forecasts, write_forecasts
from bwpredict.evaluation.metrics import MINIMUM_LINK_SAMPLES

CHALLENGER = {"challenger_version": "v20261101_000000", "challenger_sha256": "a" * 64}
CHAMPION = {"champion_version": "v20261001_000000", "champion_sha256": "b" * 64}


@pytest.fixture(scope="module")
def windows(gappy_index):
    return gappy_index.spread(2000)


def noisy(windows, size, seed=1):
    targets = windows.targets()
    return (targets * np.random.default_rng(seed).lognormal(0, size, targets.shape)).astype(np.float32)


@pytest.fixture(scope="module")
def forecasts(windows):
    return collect(windows, {"challenger": noisy(windows, 0.01), "champion": noisy(windows, 0.02)})


@pytest.fixture(scope="module")
def comparison(forecasts):
    return compare(forecasts, **CHALLENGER, **CHAMPION)


def checked(document):
    """The document as a reader gets it."""
    return json.loads(encode_document("comparison", document, name="comparison.json"))


def with_models(forecasts, **models):
    return replace(forecasts, models={**forecasts.models, **models})


def without_champion(forecasts):
    return replace(forecasts, models={name: v for name, v in forecasts.models.items() if name != "champion"})


def test_every_model_and_baseline_has_every_figure_on_every_target(comparison):
    models = checked(comparison)["models"]
    assert set(models) == {"challenger", "champion", *BASELINES}
    for model in models.values():
        assert set(model["per_target"]) == set(schema.TARGETS)
        assert all(figure is not None for figures in model["per_target"].values() for figure in figures.values())


def test_the_guides_overall_figures_are_means_over_the_targets(comparison):
    model = comparison["models"]["challenger"]
    figures = model["per_target"].values()
    assert model["overall"]["average_correlation"] == pytest.approx(np.mean([f["correlation"] for f in figures]))
    assert model["overall"]["average_mape"] == pytest.approx(np.mean([f["mape"] for f in figures]))
    assert model["overall"]["accuracy_percent"] == 100 * model["overall"]["average_correlation"]
    assert model["overall"]["target_met"] is True


def test_the_test_set_is_described(comparison, windows):
    assert comparison["test"]["windows"] == 2000
    assert comparison["test"]["links"] == 3
    assert comparison["test"]["days"] == 3
    assert comparison["test"]["start"] == "2025-09-01T00:34:00+00:00"
    assert comparison["test"]["end"] == "2025-09-03T01:58:00+00:00"


def test_skill_is_against_the_best_of_last_value_mean_and_median(comparison, forecasts):
    for place, target in enumerate(schema.TARGETS):
        errors = {
            name: np.abs(values[:, place].astype(float) - forecasts.actual[:, place]).mean()
            for name, values in forecasts.models.items()
        }
        best = min(("last_value", "mean_15_minutes", "median_15_minutes"), key=errors.__getitem__)
        skill = comparison["skill"][target]
        assert skill["best_baseline"] == best
        for model in ("challenger", "champion"):
            figures = comparison["models"][model]["per_target"][target]
            expected = 1 - errors[model] / errors[best]
            assert figures["baseline"] == best
            assert figures["skill"] == pytest.approx(expected)
            assert skill[model]["best_baseline"] == pytest.approx(expected)
            assert skill[model]["last_value"] == pytest.approx(1 - errors[model] / errors["last_value"])


def test_the_best_baseline_is_chosen_target_by_target(windows, forecasts):
    errors = np.float32([[1.1, 1.2, 1.3], [1.2, 1.3, 1.1], [1.3, 1.1, 1.2], [1.1, 1.3, 1.2]])
    by_name = {name: forecasts.actual * errors[:, place] for place, name in enumerate(REFERENCES)}
    document = checked(compare(with_models(forecasts, **by_name), **CHALLENGER, **CHAMPION))
    chosen = [document["skill"][target]["best_baseline"] for target in schema.TARGETS]
    assert chosen == ["last_value", "median_15_minutes", "mean_15_minutes", "last_value"]
    assert [document["models"]["challenger"]["per_target"][target]["baseline"] for target in schema.TARGETS] == chosen
    assert document["models"]["mean_15_minutes"]["per_target"]["packet_loss"]["skill"] == 0


def test_where_one_of_the_references_has_no_error_there_is_no_best_one(forecasts):
    last = forecasts.models["last_value"].copy()
    last[5, 1] = np.nan
    document = checked(compare(with_models(forecasts, last_value=last), **CHALLENGER, **CHAMPION))
    assert document["skill"]["rtt_ms"]["best_baseline"] is None
    figures = document["models"]["challenger"]["per_target"]["rtt_ms"]
    assert (figures["baseline"], figures["skill"]) == (None, None)


def test_yesterday_is_scored_where_there_is_one_and_models_against_it_on_the_same_windows(comparison, forecasts):
    yesterday = forecasts.models["same_minute_yesterday"]
    there = np.isfinite(yesterday).all(axis=1)
    document = comparison["models"]["same_minute_yesterday"]
    assert document["share_scored"] == pytest.approx(there.mean())
    assert 0 < document["share_scored"] < 1
    errors = [
        np.abs(values[there, 1].astype(float) - forecasts.actual[there, 1]).mean()
        for values in (yesterday, forecasts.models["challenger"])
    ]
    assert document["per_target"]["rtt_ms"]["mae"] == pytest.approx(errors[0])
    skill = comparison["skill"]["rtt_ms"]["challenger"]["same_minute_yesterday"]
    assert skill == pytest.approx(1 - errors[1] / errors[0])
    assert comparison["models"]["challenger"]["share_scored"] == 1


def test_telemetry_of_less_than_a_day_has_no_yesterday_and_says_so(index):
    first_hours = index.take(slice(600))
    document = checked(compare(collect(first_hours, {"challenger": noisy(first_hours, 0.01)}), **CHALLENGER))
    yesterday = document["models"]["same_minute_yesterday"]
    assert yesterday["share_scored"] == 0
    assert yesterday["per_target"]["rtt_ms"]["mae"] is None
    assert document["skill"]["rtt_ms"]["challenger"]["same_minute_yesterday"] is None
    assert document["skill"]["rtt_ms"]["challenger"]["best_baseline"] is not None


@pytest.mark.parametrize("model", ["challenger", "champion"])
@pytest.mark.parametrize("broken", [np.nan, np.inf, -np.inf])
def test_a_forecast_that_is_not_finite_is_counted_and_leaves_no_figure(forecasts, model, broken):
    values = forecasts.models[model].copy()
    values[[3, 700], 1] = broken
    document = checked(compare(with_models(forecasts, **{model: values}), **CHALLENGER, **CHAMPION))["models"][model]
    assert document["non_finite_forecasts"] == 2
    assert document["per_target"]["rtt_ms"]["mae"] is None
    assert document["per_target"]["rtt_ms"]["skill"] is None
    assert document["overall"]["average_correlation"] is None
    assert document["overall"]["accuracy_percent"] is None
    assert document["overall"]["target_met"] is False
    assert document["per_target"]["throughput_mbps"]["mae"] is not None


def test_forecasts_outside_the_physical_bounds_are_counted(forecasts):
    values = forecasts.models["challenger"].copy()
    values[0, 2], values[1, 2], values[2, 0], values[2, 1] = 1.01, -0.01, -1, -1
    document = compare(with_models(forecasts, challenger=values), **CHALLENGER, **CHAMPION)
    assert document["models"]["challenger"]["out_of_bounds_forecasts"] == 3
    assert document["models"]["champion"]["out_of_bounds_forecasts"] == 0


def test_an_absent_target_is_named_has_no_figures_and_does_not_enter_the_averages(windows):
    without_loss = replace(windows, frame=replace(windows.frame, filled={"packet_loss": 0.0}))
    document = checked(compare(collect(without_loss, {"challenger": noisy(windows, 0.01)}), **CHALLENGER))
    assert document["absent_targets"] == ["packet_loss"]
    assert document["targets"] == ["throughput_mbps", "rtt_ms", "jitter_ms"]
    challenger = document["models"]["challenger"]
    assert set(challenger["per_target"]["packet_loss"].values()) == {None}
    measured = [challenger["per_target"][target]["mape"] for target in document["targets"]]
    assert challenger["overall"]["average_mape"] == pytest.approx(np.mean(measured))


def test_an_idle_target_has_no_mape_and_its_share_left_out_is_told(forecasts):
    actual = forecasts.actual.copy()
    actual[:, 2] = 0
    document = checked(compare(replace(forecasts, actual=actual), **CHALLENGER, **CHAMPION))["models"]["challenger"]
    assert document["per_target"]["packet_loss"]["mape"] is None
    assert document["per_target"]["packet_loss"]["mape_share_left_out"] == 1
    assert document["overall"]["average_mape"] is None


def test_the_links_with_the_worst_median_and_best_skill_are_named(forecasts):
    values = forecasts.models["challenger"].copy()
    values[forecasts.link == 1, 0] = forecasts.actual[forecasts.link == 1, 0]
    values[forecasts.link == 0, 0] *= 3
    links = compare(with_models(forecasts, challenger=values), **CHALLENGER, **CHAMPION)["links"]["throughput_mbps"]
    assert (links["best"]["node_id"], links["best"]["peer_id"]) == (1, 101)
    assert links["best"]["mae"] == 0
    assert links["best"]["skill"] == 1
    assert links["worst"]["node_id"] == 0
    assert links["worst"]["skill"] < 0
    assert links["worst"]["windows"] == (forecasts.link == 0).sum()


def test_a_link_with_few_windows_is_not_held_up_as_an_example(forecasts, comparison):
    assert 0 < (forecasts.link == 2).sum() < MINIMUM_LINK_SAMPLES
    assert all(link["node_id"] != 2 for ranked in comparison["links"].values() for link in ranked.values())


def test_without_a_champion_there_is_none_in_the_document(forecasts):
    document = checked(compare(without_champion(forecasts), **CHALLENGER))
    assert document["champion_version"] is None
    assert "champion" not in document["models"]
    assert all("champion" not in skill for skill in document["skill"].values())


def test_a_champion_that_cannot_be_run_is_named_with_its_problem(forecasts):
    problem = "champion.onnx: inputs are 'input' tensor(float) ['batch', 30, 9]; expected 20."
    document = checked(compare(without_champion(forecasts), **CHALLENGER, **CHAMPION, champion_problem=problem))
    assert document["champion_version"] == CHAMPION["champion_version"]
    assert document["champion_problem"] == problem
    assert "champion" not in document["models"]


def test_a_champion_cannot_get_lost_between_scoring_and_document(forecasts, comparison):
    with pytest.raises(ValueError, match="champion"):
        compare(without_champion(forecasts), **CHALLENGER, **CHAMPION)
    with pytest.raises(ValueError, match="champion"):
        compare(forecasts, **CHALLENGER)
    for lost in ({"champion_version": None}, {"champion_problem": "broken"}, {"champion_sha256": None}):
        with pytest.raises(DocumentError):
            checked({**comparison, **lost})


def test_swapping_the_models_swaps_their_figures(forecasts, comparison):
    models = {
        **forecasts.models,
        "challenger": forecasts.models["champion"],
        "champion": forecasts.models["challenger"],
    }
    swapped = compare(replace(forecasts, models=models), **CHALLENGER, **CHAMPION)
    assert swapped["models"]["challenger"] == comparison["models"]["champion"]
    assert swapped["models"]["champion"] == comparison["models"]["challenger"]


def test_the_comparison_can_be_made_again_from_the_stored_forecasts(tmp_path, forecasts, comparison):
    stored = read_forecasts(write_forecasts(tmp_path / "forecasts.parquet", forecasts))
    assert compare(stored, **CHALLENGER, **CHAMPION) == comparison


def test_an_empty_test_set_gives_a_document_without_figures(windows):
    empty = collect(windows.take(slice(0)), {"challenger": np.empty((0, 4), np.float32)})
    document = checked(compare(empty, **CHALLENGER))
    assert document["test"] == {"start": None, "end": None, "windows": 0, "links": 0, "days": 0}
    assert document["models"]["challenger"]["overall"]["average_correlation"] is None
    assert document["models"]["challenger"]["per_target"]["rtt_ms"]["skill"] is None
