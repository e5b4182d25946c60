"""Policies by name and by path: those of the package, and those of a folder."""

import shutil
from pathlib import Path

import pytest

import bwpredict.gate.policies
from bwpredict.config import GatePolicy
from bwpredict.errors import ConfigError
from bwpredict.gate.decision import policy_digest
from bwpredict.gate.policies import find_policy, policy_names

SHIPPED = Path(bwpredict.gate.policies.__file__).parent


@pytest.fixture
def folder(tmp_path):
    (tmp_path / "radio.yaml").write_text(
        "# For radio links.\nname: radio\nversion: 2\nmaximum_average_mape_percent: 40.0\n"
    )
    (tmp_path / "notes.txt").write_text("no policy")
    return tmp_path


def test_the_shipped_guide_is_the_default_of_the_gate_to_the_digest():
    assert policy_digest(find_policy("guide").policy) == policy_digest(GatePolicy())


def test_relative_demands_no_absolute_figure_but_skill_the_champion_and_calibration():
    policy = find_policy("relative").policy
    assert policy.minimum_average_correlation is None
    assert policy.maximum_average_mape_percent is None
    assert policy.minimum_accuracy_percent is None
    assert (policy.minimum_skill, policy.mean_margin_percent, policy.champion_margin_percent) == (0, 1, 3)
    assert (policy.minimum_coverage, policy.maximum_coverage) == (0.85, 0.95)


@pytest.mark.parametrize("name", policy_names())
def test_a_shipped_policy_is_called_as_its_file_and_says_why(name):
    found = find_policy(name)
    assert found.policy.name == name
    assert found.origin == "shipped with bwpredict"
    assert len(found.summary) > 20
    assert found.text.count("\n#") > 10


def test_the_default_comes_first_then_the_shipped_then_the_users_own(folder):
    assert policy_names() == ["guide", "relative"]
    assert policy_names(str(folder)) == ["guide", "relative", "radio"]
    assert policy_names(str(folder / "missing")) == ["guide", "relative"]


def test_a_policy_of_the_folder_is_found_by_name_and_any_by_path(folder):
    by_name, by_path = find_policy("radio", str(folder)), find_policy(str(folder / "radio.yaml"))
    assert by_name == by_path
    assert (by_name.policy.name, by_name.policy.version, by_name.summary) == ("radio", 2, "For radio links.")
    assert by_name.origin == str(folder / "radio.yaml")


def test_an_unknown_policy_is_refused_with_those_there_are_and_the_likely_one(folder):
    with pytest.raises(
        ConfigError, match=r"'relatve' is not a policy; expected guide, relative, radio, or .*'relative'\?"
    ):
        find_policy("relatve", str(folder))
    with pytest.raises(ConfigError, match="'radio' is not a policy"):
        find_policy("radio")


def test_a_folder_that_is_not_there_is_named(tmp_path):
    with pytest.raises(ConfigError, match=r"BWPREDICT_POLICIES=.*missing: is not a folder"):
        find_policy("guide", str(tmp_path / "missing"))


@pytest.mark.parametrize("name", policy_names())
def test_a_users_policy_must_not_pass_for_a_shipped_one(tmp_path, name):
    path = tmp_path / f"{name}.yaml"
    text = (SHIPPED / f"{name}.yaml").read_text().replace("minimum_skill: 0.0", "minimum_skill: -0.5")
    path.write_text(text)
    for way in ((str(path),), (name, str(tmp_path))):
        with pytest.raises(ConfigError, match=f"whose minimum_skill differs from that of the built-in '{name}'"):
            find_policy(*way)
    shutil.copy(SHIPPED / f"{name}.yaml", path)
    assert find_policy(str(path)).policy == find_policy(name).policy


def test_a_policy_that_calls_itself_otherwise_than_its_file_is_not_found_by_name(tmp_path):
    (tmp_path / "mine.yaml").write_text("name: yours\n")
    with pytest.raises(ConfigError, match="has the name 'yours'"):
        find_policy("mine", str(tmp_path))
    assert find_policy(str(tmp_path / "mine.yaml")).policy.name == "yours"
