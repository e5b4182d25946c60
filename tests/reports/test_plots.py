import warnings

import numpy as np
import pytest
from matplotlib import image, rcParams
from sample_documents import sample_comparison

from bwpredict import schema
from bwpredict.reports.forecast_plots import horizon
from bwpredict.reports.plots import DOTS_PER_INCH, figure_file, predictions_scatter, training_history

METRICS = {target: {"r2_score": 0.98, "correlation": 0.99, "mape": 4.1} for target in schema.TARGETS}


@pytest.fixture(autouse=True)
def _warnings_are_errors():
    with warnings.catch_warnings():
        warnings.simplefilter("error")
        yield


def forecasts(count, seed=1):
    """Actual values over the ranges of real telemetry, some losses zero, and forecasts 10 % off."""
    rng = np.random.default_rng(seed)
    columns = [np.exp(rng.uniform(2, 9, count)), rng.uniform(5, 90, count), rng.exponential(1e-3, count), rng.gamma(2, 1, count)]  # fmt: skip  # noqa: E501
    columns[2][: count // 5] = 0
    actual = np.stack(columns, axis=1)
    return actual, actual * np.exp(rng.normal(0, 0.1, actual.shape))


def dark_red_and_blue(path):
    """Shares of pixels in the colours of the identity line and of the points."""
    pixels = image.imread(path)[..., :3]
    red, blue = pixels[..., 0], pixels[..., 2]
    return float((red - blue > 0.4).mean()), float((blue - red > 0.2).mean())


def test_the_training_curve_is_the_same_bytes_for_the_same_history(tmp_path, history):
    first = training_history(tmp_path / "first.png", history).read_bytes()
    assert training_history(tmp_path / "second.png", history).read_bytes() == first
    assert image.imread(tmp_path / "first.png").shape[1] == 9 * DOTS_PER_INCH


def test_the_training_curve_follows_the_history(tmp_path, history):
    first = training_history(tmp_path / "first.png", history).read_bytes()
    history["best_epoch"] -= 1
    assert training_history(tmp_path / "second.png", history).read_bytes() != first


def test_one_epoch_makes_a_training_curve(tmp_path, history):
    history["records"], history["best_epoch"] = history["records"][:1], 1
    assert training_history(tmp_path / "one.png", history).stat().st_size > 10_000


@pytest.mark.parametrize("count", [3, 5_000], ids=["points", "density"])
def test_the_scatter_is_the_same_bytes_for_the_same_forecasts(tmp_path, count):
    actual, forecast = forecasts(count)
    first = predictions_scatter(tmp_path / "first.png", actual, forecast, METRICS).read_bytes()
    assert predictions_scatter(tmp_path / "second.png", actual, forecast, METRICS).read_bytes() == first


def test_a_picture_for_a_page_keeps_the_ids_that_it_refers_to(monkeypatch, tmp_path):
    referred = '<path id="C0_0_1234567890"/><use href="#C0_0_1234567890"/>'

    def drawn(_figure, path, *, format, **_):  # noqa: A002 - matplotlib's name
        if format == "svg":
            path.write(f'<?xml?><svg><g id="axes_1">{referred}</g></svg>')

    monkeypatch.setattr("matplotlib.figure.Figure.savefig", drawn)
    with figure_file(tmp_path / "picture.png", 1, 1) as figure:
        figure.subplots()
    assert (tmp_path / "picture.svg").read_text("utf-8") == f"<svg><g>{referred}</g></svg>"


def test_values_and_the_identity_line_are_drawn(tmp_path):
    nothing = np.full((1, 4), np.nan)
    empty_line, empty_points = dark_red_and_blue(predictions_scatter(tmp_path / "empty.png", nothing, nothing, {}))
    line, points = dark_red_and_blue(predictions_scatter(tmp_path / "full.png", *forecasts(300), METRICS))
    assert empty_line == empty_points == 0
    assert line > 0.001
    assert points > 0.005


@pytest.mark.parametrize(("value", "count"), [(0.0, 3_000), (1e9, 1)])
def test_constant_values_are_drawn_without_warnings(tmp_path, value, count):
    constant = np.full((count, 4), value)
    line, _ = dark_red_and_blue(predictions_scatter(tmp_path / "constant.png", constant, constant, {}))
    assert line > 0.001


def test_absent_targets_and_undefined_metrics_leave_the_other_panels(tmp_path):
    actual, forecast = forecasts(200)
    actual[:, 2] = np.nan
    metrics = METRICS | {"packet_loss": {"r2_score": None, "correlation": None, "mape": None}}
    line, points = dark_red_and_blue(predictions_scatter(tmp_path / "three.png", actual, forecast, metrics))
    assert line > 0.0005
    assert points > 0.003


def test_targets_that_were_not_measured_leave_their_panels_empty(tmp_path):
    actual, forecast = forecasts(200)
    two, four = (
        dark_red_and_blue(
            predictions_scatter(tmp_path / "some.png", actual[:, :n], forecast[:, :n], METRICS, targets=names)
        )
        for n, names in ((2, schema.TARGETS[:2]), (4, schema.TARGETS))
    )
    assert 0 < two[0] < four[0]


def test_no_forecasts_at_all_still_make_a_picture(tmp_path):
    path = predictions_scatter(tmp_path / "none.png", np.empty((0, 4)), np.empty((0, 4)), {})
    assert image.imread(path).shape[2] == 4


def test_the_drawing_leaves_no_pyplot_state_behind(tmp_path, history):
    before = dict(rcParams)
    training_history(tmp_path / "curve.png", history)
    assert dict(rcParams) == before
    assert sorted(file.name for file in tmp_path.iterdir()) == ["curve.png", "curve.svg"]


def test_a_target_that_is_not_forecast_leaves_its_panel_empty_and_no_warning(tmp_path):
    comparison = sample_comparison()
    comparison["targets"] = list(schema.TARGETS[1:])
    assert horizon(tmp_path / "horizon.png", comparison, 15).stat().st_size > 10_000
