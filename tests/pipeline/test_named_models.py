"""The file of models: what it may say, what is refused, and that two models stay apart."""

from __future__ import annotations

from datetime import UTC, datetime
from pathlib import Path
from typing import Any

import pytest
import yaml
from challengers import V1, V2, a_challenger, published

from bwpredict.config import RunConfig, Settings, TrainingConfig
from bwpredict.errors import ConfigError
from bwpredict.pipeline.model_catalog import NamedModel, find_model, model_of_dag, read_models
from bwpredict.pipeline.run_config import run_config
from bwpredict.registry.promotion import read_history, read_production
from bwpredict.store.factory import open_store

EU = {"name": "eu-west", "telemetry": "s3://telemetry/eu-west"}
US = {"name": "us-east", "telemetry": "s3://telemetry/us-east"}
NOW = datetime(2026, 11, 24, 3, 4, 5, tzinfo=UTC)


def installed(folder: Path, *entries: Any, **settings: Any) -> Settings:
    """An installation with a file of these entries."""
    path = folder / "models.yaml"
    path.write_text(yaml.safe_dump({"models": list(entries)}))
    return Settings(**{"registry": "s3://models/bandwidth", "work": Path("/work"), "models": str(path), **settings})


def configured(model: NamedModel, settings: Settings, **params: Any) -> RunConfig:
    return run_config(
        params,
        run_id="scheduled__1",
        interval_start=None,
        run_after=NOW,
        now=NOW,
        settings=model.settings(settings),
        code_version="abc",
        model=model,
    )


def test_without_a_file_there_is_the_default_model_with_the_settings_and_names_as_they_are():
    settings = Settings(telemetry="s3://telemetry", registry="s3://models", work=Path("/work"))
    (model,) = read_models(settings)
    assert model.settings(settings) == settings
    assert model.named("bandwidth_predictor_retrain") == "bandwidth_predictor_retrain"
    assert configured(model, settings).training == TrainingConfig()


def test_the_default_model_comes_first_and_is_there_even_if_the_file_does_not_name_it(tmp_path):
    assert [model.name for model in read_models(installed(tmp_path, EU, US))] == ["default", "eu-west", "us-east"]
    models = read_models(installed(tmp_path, EU, {"name": "default", "policy": "relative"}))
    assert [(model.name, model.policy) for model in models] == [("default", "relative"), ("eu-west", "guide")]


def test_a_model_has_telemetry_registry_work_area_and_names_of_its_own(tmp_path):
    settings = installed(tmp_path, EU, {**US, "registry": "s3://elsewhere/us"})
    eu, us = (find_model(name, settings) for name in ("eu-west", "us-east"))
    own = eu.settings(settings)
    assert (own.telemetry, own.registry, own.work) == (
        "s3://telemetry/eu-west", "s3://models/bandwidth/eu-west", Path("/work/eu-west"),
    )  # fmt: skip
    assert us.settings(settings).registry == "s3://elsewhere/us"
    assert eu.named("bandwidth_model") == "bandwidth_model__eu-west"
    assert model_of_dag(eu.named("bandwidth_predictor_retrain"), settings) == eu
    assert model_of_dag("bandwidth_predictor_tune", settings).name == "default"


def test_a_run_of_a_model_is_configured_by_its_entry_unless_asked_otherwise(tmp_path):
    entry = {**EU, "policy": "relative", "history_months": 3, "training": {"epochs": 7, "learning_rate": 0.001}}
    settings = installed(tmp_path, entry)
    model = find_model("eu-west", settings)
    run = configured(model, settings)
    assert (run.model_name, run.policy.name, run.history_months) == ("eu-west", "relative", 3)
    assert run.training == TrainingConfig(epochs=7, learning_rate=0.001)
    asked = configured(model, settings, epochs=2, policy="guide", history_months=1)
    assert (asked.training.epochs, asked.policy.name, asked.history_months) == (2, "guide", 1)


@pytest.mark.parametrize(
    ("entries", "sentence"),
    [
        ([{**EU, "polcy": "guide"}], "model 'eu-west': polcy: no such key; check its spelling"),
        ([{"name": "eu-west"}], "model 'eu-west': telemetry: missing"),
        ([{"telemetry": "x"}], "model number 1: name: Field required"),
        (["eu-west"], "model number 1: expected a mapping of keys to values, not 'eu-west'"),
        ([{**EU, "name": "EU/west"}], "model 'EU/west': name: .*given: 'EU/west'"),
        ([{**EU, "name": "eu__west"}], "model 'eu__west': name: "),
        ([{**EU, "name": "history"}], "model 'history': name: is a folder of every registry"),
        ([{**EU, "policy": "guid"}], "model 'eu-west': policy: 'guid' is not a policy; .*Did you mean 'guide'"),
        ([{**EU, "schedule": "monthly"}], "model 'eu-west': schedule: expected a cron expression of five fields"),
        ([{**EU, "schedule": "0 0 31 2 *"}], "model 'eu-west': schedule: expected .* that fires"),
        ([{**EU, "schedule": "* * * * * *"}], "model 'eu-west': schedule: "),
        ([{**EU, "history_months": "3"}], "model 'eu-west': history_months: .*given: '3'"),
        ([{**EU, "training": {"epoch": 3}}], "model 'eu-west': training: epoch: Extra inputs"),
        ([{**EU, "training": {"epochs": 0}}], "model 'eu-west': training: epochs: "),
        ([EU, EU], "model 'eu-west': is named twice"),
        ([EU, {**US, "registry": "s3://models/bandwidth/eu-west/"}], "model 'us-east': registry: .*'eu-west' too"),
        ([{**EU, "registry": "s3://models/bandwidth"}], "model 'eu-west': registry: .*'default' too"),
    ],
)
def test_a_file_that_cannot_be_used_is_refused_with_one_sentence_that_names_model_and_key(tmp_path, entries, sentence):
    with pytest.raises(ConfigError, match=f"models.yaml: {sentence}") as refused:
        read_models(installed(tmp_path, *entries))
    assert "\n" not in str(refused.value)


@pytest.mark.parametrize("text", ["", "models: {}", "- name: eu", "models: []\npolicy: guide"])
def test_a_file_of_another_shape_is_refused(tmp_path, text):
    settings = installed(tmp_path)
    Path(settings.models).write_text(text)
    with pytest.raises(ConfigError, match="expected one key, 'models', with a list"):
        read_models(settings)


@pytest.mark.parametrize("content", [b"models: [", b"\xff\xfe\x00"])
def test_a_file_that_is_no_yaml_is_refused(tmp_path, content):
    settings = installed(tmp_path)
    Path(settings.models).write_bytes(content)
    with pytest.raises(ConfigError, match=r"models\.yaml: cannot be read .*\(BWPREDICT_MODELS\)"):
        read_models(settings)


def test_a_file_that_is_not_there_is_named():
    with pytest.raises(ConfigError, match=r"^nowhere\.yaml: cannot be read .*\(BWPREDICT_MODELS\)"):
        read_models(Settings(models="nowhere.yaml"))


def test_an_unknown_model_is_named_with_those_that_there_are(tmp_path):
    with pytest.raises(ConfigError, match=r"'eu-wst' is not a model; there are: default, eu-west .*Did you mean"):
        find_model("eu-wst", installed(tmp_path, EU))


def test_two_models_in_one_registry_folder_have_pointers_and_histories_of_their_own(tmp_path):
    settings = installed(tmp_path, EU, registry=str(tmp_path / "registry"))
    default, eu = (open_store(model.settings(settings).registry) for model in read_models(settings))
    published(default, a_challenger(tmp_path / "a", V1))
    published(eu, a_challenger(tmp_path / "b", V1, salt="eu"))
    published(eu, a_challenger(tmp_path / "b", V2, champion=V1))
    serving = [read_production(store) for store in (default, eu)]
    assert [production and production.version for production in serving] == [V1, V2]
    assert [len(read_history(store)) for store in (default, eu)] == [1, 2]
