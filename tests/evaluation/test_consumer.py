"""What the consumer does with the forecasts, on windows whose answers can be worked out by hand."""

from dataclasses import replace
from datetime import UTC, datetime

import numpy as np
import pandas as pd
import pytest
import yaml

from bwpredict import schema
from bwpredict.config import Settings, load_yaml
from bwpredict.core.consumer_rules import ConsumerRules, shipped_rules
from bwpredict.errors import ConfigError
from bwpredict.evaluation import consumer
from bwpredict.evaluation.consumer import replay_consumer
from bwpredict.evaluation.forecasts import Forecasts
from bwpredict.inference.onnx_model import Bounds, Forecast
from bwpredict.pipeline.run_config import run_config

RULES = shipped_rules()
DAYS, PER_DAY = 6, 20


def windows(links=3, seed=0):
    """[n, 4] actual values of links of very different size, a few a day."""
    generator = np.random.default_rng(seed)
    size = np.array([100.0, 1000.0, 8000.0])[:links, None, None]
    shape = (links, DAYS, PER_DAY)
    columns = [
        size * generator.lognormal(0, 0.2, shape),
        generator.uniform(5, 60, shape),
        generator.uniform(0, 0.01, shape),
        generator.uniform(0.5, 3, shape),
    ]
    return np.stack([column.ravel() for column in columns], axis=1)


def forecasts_of(actual, last_value, links=3):
    number = np.arange(len(actual))
    seconds = number // PER_DAY % DAYS * 86_400 + number % PER_DAY * 600
    link = number // (DAYS * PER_DAY)
    table = pd.DataFrame({"node_id": range(links), "peer_id": range(links)})
    return Forecasts(schema.TARGETS, actual, {"last_value": last_value}, link, seconds, table)


def served(output, width=0.1):
    """With intervals of this relative half-width: a confidence of 1 / (1 + width)."""
    return Forecast(output, Bounds(output * (1 - width), output * (1 + width), 0.9))


def figures(challenger, actual, last_value, rules=RULES, **more):
    document = replay_consumer(forecasts_of(actual, last_value), {"challenger": challenger, **more}, rules)
    return document["models"]


def test_the_shipped_rules_are_the_formulas_of_the_guide():
    values = {"throughput_mbps": np.array([1000.0, 10.0]), "rtt_ms": np.array([100.0, 40.0])}
    assert RULES.settings["streams"].of(values).tolist() == [48, 1]
    assert RULES.settings["buffer"].of(values).tolist() == [1000e6 / 8 * 0.1, 65_536]
    assert RULES.minimum_confidence == 0.8


def test_perfect_knowledge_has_no_regret_and_overestimates_nothing():
    actual = windows()
    found = figures(served(actual), actual, 1.3 * actual)
    assert found["challenger"]["regret"] == {"percent": 0, "low": 0, "high": 0}
    assert found["challenger"]["acts"]["percent"] == 100
    assert found["challenger"]["overestimates"]["percent"] == 0
    assert found["challenger"]["overestimated_by"]["percent"] is None
    assert found["last_value"]["regret"]["percent"] > 20


def test_the_regret_is_the_mean_deviation_of_the_settings_in_units_of_each_links_own():
    actual, output = windows(), 1.1 * windows(seed=1)
    found = figures(served(output), actual, actual)["challenger"]
    expected = {}
    for name, setting in RULES.settings.items():
        of = {
            key: setting.of({"throughput_mbps": values[:, 0], "rtt_ms": values[:, 1]}).reshape(3, -1)
            for key, values in (("ideal", actual), ("set", output))
        }
        expected[name] = 100 * np.mean(np.abs(of["set"] - of["ideal"]) / of["ideal"].mean(axis=1, keepdims=True))
        assert found["settings"][name]["percent"] == pytest.approx(expected[name])
        assert found["settings"][name]["low"] < expected[name] < found["settings"][name]["high"]
    assert found["regret"]["percent"] == pytest.approx(np.mean(list(expected.values())))


def test_a_consumer_that_does_not_act_pays_what_its_last_measurement_costs():
    actual, last = windows(), windows(seed=2)
    unsure = figures(served(actual, width=0.9), actual, last)
    assert unsure["challenger"]["acts"]["percent"] == 0
    assert unsure["challenger"]["overestimates"]["percent"] is None
    assert unsure["challenger"]["regret"] == unsure["last_value"]["regret"]
    assert unsure["last_value"]["acts"]["percent"] == 100


@pytest.mark.parametrize("broken", ["no intervals", "not finite", "out of order"])
def test_without_a_confidence_the_consumer_does_not_act(broken):
    actual, last = windows(), windows(seed=2)
    sure = served(actual)
    given = {
        "no intervals": Forecast(actual, None),
        "not finite": served(np.where(np.arange(4) == 3, np.nan, actual)),
        "out of order": Forecast(actual, Bounds(sure.bounds.upper, sure.bounds.lower, 0.9)),
    }[broken]
    found = figures(given, actual, last)
    assert found["challenger"]["acts"]["percent"] == 0
    assert found["challenger"]["regret"] == found["last_value"]["regret"]


def test_overestimates_are_counted_where_the_consumer_acts():
    actual = windows()
    output, width = actual.copy(), np.full((len(actual), 1), 0.1)
    output[::4, 0] *= 1.5
    output[1::4, 0] *= 0.5
    width[::8] = 0.9  # half of the overestimates are not acted on
    found = figures(served(output, width), actual, actual)["challenger"]
    assert found["acts"]["percent"] == pytest.approx(87.5)
    assert found["overestimates"]["percent"] == pytest.approx(100 / 7)
    assert found["overestimated_by"]["percent"] == pytest.approx(50)


def test_a_surplus_may_cost_more_than_a_shortfall():
    actual = windows()
    dear = RULES.model_copy(update={"surplus_cost": 3.0, "shortfall_cost": 1.0})
    for factor, costs in ((1.2, 3), (0.8, 1)):
        output = actual * np.array([factor, 1, 1, 1])
        plain, weighted = (figures(served(output), actual, actual, rules) for rules in (RULES, dear))
        expected = costs * plain["challenger"]["settings"]["buffer"]["percent"]
        assert weighted["challenger"]["settings"]["buffer"]["percent"] == pytest.approx(expected)


def test_a_large_test_part_is_replayed_in_parts_with_the_same_result(monkeypatch):
    actual, output = windows(), windows(seed=1)
    whole = figures(served(output), actual, actual, champion=served(1.1 * output))
    monkeypatch.setattr(consumer, "CHUNK_WINDOWS", 37)
    parts = figures(served(output), actual, actual, champion=served(1.1 * output))
    assert set(parts) == {"challenger", "champion", "last_value"}
    for name, model in whole.items():
        for key in ("acts", "overestimates", "overestimated_by", "regret"):
            assert parts[name][key] == pytest.approx(model[key])


def test_telemetry_without_a_target_of_the_rules_cannot_be_replayed():
    actual = windows()
    forecasts = forecasts_of(actual, actual)
    without = replace(
        forecasts,
        targets=("throughput_mbps", "packet_loss"),
        actual=actual[:, [0, 2]],
        models={"last_value": actual[:, [0, 2]]},
    )
    assert replay_consumer(without, {"challenger": served(actual)}, RULES) is None
    one = {"streams": RULES.settings["streams"].model_copy(update={"terms": RULES.settings["streams"].terms[:1]})}
    alone = RULES.model_copy(update={"settings": one})
    assert replay_consumer(without, {"challenger": served(actual)}, alone)["models"]["challenger"]["regret"]["low"] == 0


def test_few_days_have_figures_without_an_interval():
    actual = windows()
    forecasts = forecasts_of(actual, actual)
    document = replay_consumer(replace(forecasts, timestamps=forecasts.timestamps % 86_400), {}, RULES)
    assert document["days"] == {"count": 1, "fewest": 4}
    assert document["models"]["last_value"]["regret"] == {"percent": 0, "low": None, "high": None}


CHANGES = {
    "unknown key": ({"confidence": 0.8}, "confidence"),
    "text for a number": ({"minimum_confidence": "0.8"}, "minimum_confidence"),
    "confidence above one": ({"minimum_confidence": 1.2}, "minimum_confidence"),
    "not a number": ({"surplus_cost": float("nan")}, "surplus_cost"),
    "no setting": ({"settings": {}}, "settings"),
    "nothing costs": ({"surplus_cost": 0, "shortfall_cost": 0}, "at least one must count"),
    "unknown target": ({"settings": {"streams": {"minimum": 1, "terms": [{"factor": 1, "of": ["speed"]}]}}}, "streams"),
    "code": ({"settings": {"streams": {"minimum": 1, "terms": ["throughput / 20"]}}}, "terms"),
    "minimum of zero": ({"settings": {"streams": {"minimum": 0, "terms": [{"factor": 1}]}}}, "minimum"),
    "maximum below": ({"settings": {"a": {"minimum": 5, "maximum": 2, "terms": [{"factor": 1}]}}}, "below minimum"),
}


@pytest.mark.parametrize(("changes", "named"), CHANGES.values(), ids=CHANGES)
def test_rules_that_cannot_be_used_are_refused_in_a_sentence(tmp_path, changes, named):
    path = tmp_path / "rules.yaml"
    path.write_text(yaml.safe_dump(RULES.model_dump(mode="json") | changes))
    with pytest.raises(ConfigError) as error:
        load_yaml(ConsumerRules, path, "document of consumer rules")
    assert str(path) in str(error.value)
    assert named in str(error.value)


def test_a_run_records_the_rules_of_its_installation(tmp_path):
    path = tmp_path / "rules.yaml"
    path.write_text(yaml.safe_dump(RULES.model_dump(mode="json") | {"name": "ours", "minimum_confidence": 0.6}))

    def planned(**settings):
        now = datetime(2026, 11, 1, tzinfo=UTC)
        made = Settings(**settings)
        return run_config({}, run_id="r", interval_start=None, run_after=now, now=now, settings=made, code_version="1")

    assert planned().consumer_rules == RULES
    run = planned(consumer_rules=str(path))
    assert (run.consumer_rules.name, run.consumer_rules.minimum_confidence) == ("ours", 0.6)
    assert type(run).model_validate_json(run.model_dump_json()) == run
    with pytest.raises(ConfigError, match=r"none\.yaml"):
        planned(consumer_rules=str(tmp_path / "none.yaml"))
