"""Rolling origin: each month is forecast by models that have not seen it."""

import numpy as np
import pytest

from bwpredict.config import RunConfig, TrainingConfig
from bwpredict.documents import read_document
from bwpredict.errors import ConfigError
from bwpredict.pipeline.backtest import _together, backtest
from bwpredict.schema import TARGETS
from bwpredict.simulation.fleet import FleetConfig
from bwpredict.simulation.writer import write_partitioned

TINY = TrainingConfig(epochs=1, windows_per_epoch=640, validation_windows=200, batch_size=64)


def run_config(telemetry, **changes):
    values = {
        "run_id": "backtest",
        "version": "v20261201_000000",
        "month": "2026-10",
        "telemetry": str(telemetry),
        "registry": "",
        "code_version": "test",
        "created_at": "2026-12-01T00:00:00+00:00",
        "training": TINY,
    }
    return RunConfig.model_validate(values | changes)


@pytest.fixture(scope="module")
def result(tmp_path_factory):
    """Three months of two links: trained on August and September, September and October forecast."""
    telemetry, output = tmp_path_factory.mktemp("telemetry"), tmp_path_factory.mktemp("output")
    for start in ("2026-08-01", "2026-09-01", "2026-10-01"):
        write_partitioned(FleetConfig(links=2, days=10, start=start, seed=3), telemetry)
    return backtest(run_config(telemetry), 2, output), output


@pytest.mark.slow
def test_each_month_is_forecast_by_a_model_of_the_month_before_and_by_the_first(result):
    document, output = result
    assert document["frozen_month"] == "2026-08"
    assert [(row["month"], row["trained_on"]) for row in document["months"]] == [
        ("2026-09", "2026-08"),
        ("2026-10", "2026-09"),
    ]
    assert read_document(output / "backtest.json", "backtest") == document
    assert (output / "backtest.png").read_bytes().startswith(b"\x89PNG")


@pytest.mark.slow
def test_in_the_first_month_both_models_are_the_same_and_later_they_differ(result):
    first, second = result[0]["months"]
    for target in TARGETS:
        assert first["per_target"][target]["percent"] == 0
        figures = second["per_target"][target]
        assert figures["percent"] != 0
        assert figures["low"] < figures["percent"] < figures["high"]
        assert figures["retrained_mae"] != figures["frozen_mae"]


@pytest.mark.slow
def test_the_conclusion_of_each_target_follows_its_interval(result):
    for figures in result[0]["overall"].values():
        told = "was worth it" if figures["high"] < 0 else "did harm" if figures["low"] > 0 else "no difference"
        assert told in figures["conclusion"]


def test_one_month_is_no_backtest(tmp_path):
    with pytest.raises(ConfigError, match="expected 2 or more"):
        backtest(run_config(tmp_path), 1, tmp_path / "output")


def test_links_of_several_months_keep_their_identity():
    from sample_documents import sample_forecasts

    first, second = sample_forecasts(links=4), sample_forecasts(links=2)
    both = _together([first, second])
    for one, rows in ((first, slice(None, len(first))), (second, slice(len(first), None))):
        expected = one.links["node_id"].to_numpy()[one.link]
        np.testing.assert_array_equal(both.links["node_id"].to_numpy()[both.link[rows]], expected)
    assert len(both) == len(first) + len(second)
