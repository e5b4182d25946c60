from pathlib import Path

import pytest

from bwpredict.config import GatePolicy, RunConfig, load, load_policy
from bwpredict.errors import ConfigError

INVALID = sorted(Path(__file__).with_name("invalid_policies").glob("*.yaml"))


@pytest.mark.parametrize("path", INVALID, ids=lambda path: path.stem)
def test_an_invalid_policy_is_refused_in_a_sentence_that_names_its_file(path):
    with pytest.raises(ConfigError) as error:
        load_policy(path)
    said = str(error.value)
    assert path.name in said
    assert said.endswith(".")
    assert "\n" not in said


def test_the_folder_of_invalid_policies_is_not_empty():
    assert len(INVALID) > 20


def test_a_missing_policy_is_refused_by_name(tmp_path):
    with pytest.raises(ConfigError, match=r"none\.yaml"):
        load_policy(tmp_path / "none.yaml")


def test_the_default_policy_is_the_guides():
    policy = GatePolicy()
    assert policy.name == "guide"
    assert policy.minimum_average_correlation == 0.98
    assert policy.maximum_average_mape_percent == 5
    assert policy.minimum_accuracy_percent == 98
    assert policy.minimum_skill == 0
    assert policy.mape_excluded_targets == []


def test_a_policy_of_another_name_may_ask_for_other_figures(tmp_path):
    (tmp_path / "mine.yaml").write_text(
        "name: radio links\nversion: 3\nminimum_average_correlation: 0.5\nmape_left_out: [packet_loss]\n"
    )
    policy = load_policy(tmp_path / "mine.yaml")
    assert (policy.name, policy.version, policy.minimum_average_correlation) == ("radio links", 3, 0.5)
    assert policy.mape_excluded_targets == ["packet_loss"]


def test_the_guide_may_be_made_stricter_only_in_what_it_does_not_say():
    assert GatePolicy(minimum_skill=0.05, minimum_test_windows=100).name == "guide"
    with pytest.raises(ConfigError, match="needs another name"):
        load(GatePolicy, {"maximum_average_mape_percent": 4.0}, origin="mine.yaml")


def test_a_policy_survives_the_run_document():
    policy = GatePolicy(
        name="mine",
        mape_excluded_targets=["rtt_ms"],
        minimum_skill=0.01,
        minimum_skill_by_target={"rtt_ms": -0.02},
        minimum_accuracy_percent=None,
    )
    assert GatePolicy.model_validate_json(policy.model_dump_json()) == policy
    assert RunConfig.model_fields["policy"].annotation is GatePolicy
