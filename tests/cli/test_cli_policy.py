"""`bwpredict policy`: listing, showing and suggesting, and what a user may get wrong."""

import pytest

from bwpredict.config import load_policy
from bwpredict.simulation.fleet import FleetConfig
from bwpredict.simulation.writer import write_partitioned


@pytest.fixture(scope="module")
def telemetry(tmp_path_factory):
    folder = tmp_path_factory.mktemp("telemetry")
    write_partitioned(FleetConfig(links=2, days=8, start="2026-10-01"), folder)
    return folder


def test_the_list_has_the_shipped_policies_and_the_users_own(cli, monkeypatch, tmp_path):
    (tmp_path / "radio.yaml").write_text("# For radio.\nname: radio\n")
    monkeypatch.setenv("BWPREDICT_POLICIES", str(tmp_path))
    code, out, _ = cli("policy", "list")
    assert code == 0
    assert [name for name in ("guide", "relative", "radio", "For radio.") if name not in out] == []


def test_a_policy_is_shown_with_its_reasons_and_its_digest(cli):
    code, out, _ = cli("policy", "show", "relative")
    assert code == 0
    assert "# Non-inferiority" in out
    assert "minimum_average_correlation: null" in out
    assert "# shipped with bwpredict, sha256 " in out


def test_a_suggestion_is_written_where_it_was_asked_for_and_is_a_policy(cli, telemetry, tmp_path):
    code, _, err = cli("policy", "suggest", "--data-path", telemetry, "--output", tmp_path)
    assert (code, err) == (0, "")
    (path,) = tmp_path.glob("suggested-*.yaml")
    assert load_policy(path).name == path.stem
    before = path.read_bytes()
    code, _, err = cli("policy", "suggest", "--data-path", telemetry, "--output", tmp_path)
    assert code == 2
    assert f"{path}: exists" in err
    path.write_text("# reviewed\n")
    assert cli("policy", "suggest", "--data-path", telemetry, "--output", path, "--force")[0] == 0
    assert path.read_bytes() == before


def test_a_month_of_the_store_is_measured_like_a_folder_and_printed(cli, telemetry):
    code, out, _ = cli("policy", "suggest", "--month", "2026-10", "--telemetry", telemetry)
    assert code == 0
    assert "Throughput: a correlation of 0.98" in out
    assert "\nname: suggested-" in out


@pytest.mark.parametrize(
    ("arguments", "named"),
    [
        (("show", "lenient"), "'lenient' is not a policy; expected guide, relative"),
        (("show", "missing.yaml"), "missing.yaml: cannot be read"),
        (("suggest",), "give --telemetry (a file or folder) or --month"),
        (("suggest", "--data-path", "missing.csv"), "missing.csv: no such file"),
        (("suggest", "--month", "October", "--telemetry", "."), "month='October'"),
    ],
)
def test_a_mistake_is_one_sentence_and_exit_code_2(cli, tmp_path, arguments, named):
    code, _, err = cli("policy", *arguments)
    assert code == 2
    assert err.startswith("error: ")
    assert named in err
    assert list(tmp_path.iterdir()) == []


def test_an_existing_file_is_refused_before_anything_is_measured(cli, tmp_path):
    mine = tmp_path / "mine.yaml"
    mine.write_text("name: mine\n")
    code, _, err = cli("policy", "suggest", "--data-path", "missing.csv", "--output", mine)
    assert code == 2
    assert "mine.yaml: exists" in err
    assert mine.read_text() == "name: mine\n"


@pytest.mark.parametrize("policy", ["lenient", "missing.yaml"])
def test_retrain_names_a_policy_it_cannot_use_before_it_starts(cli, tmp_path, policy):
    code, _, err = cli("retrain", "--month", "2026-10", "--work", tmp_path / "work", "--policy", policy)
    assert code == 2
    assert policy in err
    assert not (tmp_path / "work").exists()


def test_a_suggestion_for_a_folder_that_is_not_there_yet_makes_the_folder(cli, telemetry, tmp_path):
    folder = tmp_path / "policies"
    code, _, err = cli("policy", "suggest", "--data-path", telemetry, "--output", folder)
    assert (code, err) == (0, "")
    (path,) = folder.glob("*.yaml")
    assert load_policy(path).name == path.stem
