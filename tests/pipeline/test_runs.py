import re
import subprocess
import sys
from datetime import UTC, datetime

import jsonschema
import pytest

from bwpredict import __version__
from bwpredict.config import GatePolicy, RunConfig, Settings, TrainingConfig, load
from bwpredict.core.code_version import code_version
from bwpredict.errors import ConfigError
from bwpredict.pipeline.run_config import gate_overrides_schema, overridden, run_config

NOW = datetime(2026, 11, 24, 3, 4, 5, tzinfo=UTC)


def configured(params: dict | None = None, **changes: object) -> RunConfig:
    arguments = {
        "run_id": "manual__1",
        "interval_start": None,
        "run_after": NOW,
        "now": NOW,
        "settings": Settings(telemetry="s3://telemetry/raw", registry="s3://models"),
        "code_version": "abc",
    }
    return run_config(params or {}, **(arguments | changes))


def test_a_run_without_params_has_the_defaults_of_the_configuration():
    run = configured()
    assert run.training == TrainingConfig()
    assert run.policy == GatePolicy()
    assert (run.telemetry, run.registry, run.code_version) == ("s3://telemetry/raw", "s3://models", "abc")
    assert (run.version, run.created_at) == ("v20261124_030405", "2026-11-24T03:04:05+00:00")


def test_quantisation_can_be_asked_for():
    assert configured({"quantize": True}).quantize


def test_the_configuration_of_an_earlier_model_that_was_not_pruned_is_read_and_that_of_a_pruned_one_is_not():
    earlier = TrainingConfig().model_dump() | {"fine_tune_epochs": 3}
    assert TrainingConfig(**earlier, prune_share=0.0) == TrainingConfig()
    with pytest.raises(ConfigError, match="no such key"):
        load(TrainingConfig, earlier | {"prune_share": 0.5}, origin="earlier")


def test_a_named_month_wins_over_the_data_interval():
    assert configured({"month": "2026-03"}, interval_start=datetime(2026, 9, 1, tzinfo=UTC)).month == "2026-03"


def test_a_scheduled_run_takes_the_month_of_its_data_interval():
    assert configured({"month": None}, interval_start=datetime(2026, 9, 1, tzinfo=UTC)).month == "2026-09"


@pytest.mark.parametrize(
    ("due", "month"),
    [
        (datetime(2026, 11, 24, tzinfo=UTC), "2026-10"),
        (datetime(2026, 11, 1, tzinfo=UTC), "2026-10"),
        (datetime(2026, 1, 31, tzinfo=UTC), "2025-12"),
    ],
)
def test_a_run_with_neither_month_nor_interval_takes_the_last_month_that_is_over(due: datetime, month: str):
    assert configured(run_after=due).month == month


def test_params_reach_the_configuration():
    params = {"epochs": 3, "windows_per_epoch": 640, "seed": 7, "history_months": 4, "force_bootstrap": True}
    params |= {"override_reason": " the champion\n is broken "}
    run = configured({**params, "dry_run": True})
    assert (run.training.epochs, run.training.windows_per_epoch, run.training.seed) == (3, 640, 7)
    assert (run.history_months, run.force_bootstrap, run.dry_run) == (4, True, True)
    assert run.override_reason == "the champion is broken"


@pytest.mark.parametrize(
    ("params", "message"),
    [
        ({"month": "2026-13"}, "month"),
        ({"month": "October"}, "month"),
        ({"epochs": 0}, "epochs"),
        ({"seed": -1}, "seed"),
        ({"history_months": 99}, "history_months"),
        ({"colour": "red"}, "colour: unknown param"),
        ({"force_bootstrap": True}, "force_bootstrap needs a reason"),
        ({"accept_telemetry": True, "override_reason": " "}, "accept_telemetry needs a reason"),
        ({"policy": "lenient"}, "'lenient' is not a policy; expected guide, relative"),
        ({"policy": "missing.yaml"}, "missing.yaml: cannot be read as a YAML gate policy"),
        ({"gate_overrides": {"minimum_corelation": 0.5}}, "gate_overrides: minimum_corelation"),
        ({"gate_overrides": {"minimum_average_correlation": 2}}, "gate_overrides: minimum_average_correlation"),
        ({"gate_overrides": {"name": "guide"}}, "gate_overrides: name: a policy keeps its name"),
    ],
)
def test_an_unusable_param_is_refused_by_its_name(params: dict, message: str):
    with pytest.raises(ConfigError, match=re.escape(message)):
        configured(params)


def test_a_run_id_that_is_no_file_name_is_refused():
    with pytest.raises(ConfigError, match="run_id"):
        configured(run_id="../../etc")


def test_an_overridden_policy_says_so_in_its_name():
    policy = overridden(GatePolicy(), {"minimum_skill": -1, "minimum_average_correlation": 0.5})
    assert policy.name == "guide (overridden: minimum_average_correlation, minimum_skill)"
    assert policy.minimum_average_correlation == 0.5
    assert policy.maximum_average_mape_percent == GatePolicy().maximum_average_mape_percent


def test_a_run_takes_its_policy_by_name_and_records_where_it_came_from(tmp_path):
    run = configured({"policy": "relative"})
    assert (run.policy.name, run.policy_origin) == ("relative", "shipped with bwpredict")
    (tmp_path / "radio.yaml").write_text("name: radio\nminimum_skill: -0.1\n")
    settings = Settings(policies=str(tmp_path))
    for name in ("radio", str(tmp_path / "radio.yaml")):
        own = configured({"policy": name}, settings=settings)
        assert (own.policy.minimum_skill, own.policy_origin) == (-0.1, str(tmp_path / "radio.yaml"))


def test_overrides_apply_on_top_of_the_chosen_policy_and_rename_it():
    run = configured({"policy": "relative", "gate_overrides": {"minimum_skill": 0.02}})
    assert run.policy.name == "relative (overridden: minimum_skill)"
    assert (run.policy.minimum_skill, run.policy.minimum_average_correlation) == (0.02, None)
    assert run.policy_origin == "shipped with bwpredict"


def test_the_form_takes_any_threshold_of_the_policy_and_nothing_else():
    form = jsonschema.Draft202012Validator(gate_overrides_schema())
    thresholds = GatePolicy().model_dump(exclude={"name", "version"})
    assert form.is_valid({})
    assert form.is_valid(thresholds)
    assert not form.is_valid({"name": "mine"})
    assert not form.is_valid({"minimum_average_correlation": 2})


def test_the_code_version_is_the_commit_or_what_the_image_says(monkeypatch: pytest.MonkeyPatch):
    monkeypatch.delenv("BWPREDICT_CODE_VERSION", raising=False)
    assert re.fullmatch(rf"[0-9a-f]{{40}}(-dirty)?|{re.escape(__version__)}", code_version())
    monkeypatch.setenv("BWPREDICT_CODE_VERSION", "image-7")
    assert code_version() == "image-7"


def test_the_configuration_of_a_run_loads_nothing_heavy():
    heavy = "{'torch', 'great_expectations', 'matplotlib', 'pandas', 'onnxruntime', 'airflow'}"
    modules = "bwpredict.pipeline.run_config, bwpredict.core.code_version"
    program = f"import sys, {modules}; print(sorted({heavy} & set(sys.modules)))"
    done = subprocess.run([sys.executable, "-c", program], capture_output=True, text=True, check=True)
    assert done.stdout.strip() == "[]"
