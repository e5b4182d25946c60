"""`--json`: stdout is one document that a script can parse, and nothing else."""

import json
import subprocess
import sys

import pytest
from challengers import V2, V3, three_published
from guests import POLICY, smoothing_onnx
from typer.main import get_command

from bwpredict.cli.main import app
from bwpredict.simulation.fleet import FleetConfig
from bwpredict.simulation.writer import write_partitioned
from bwpredict.store.factory import open_store

WITHOUT = {
    "collect": "a group",
    "exporter": "serves until it is stopped",
    "generate": "writes files, and prints their path",
    "model-card": "prints JSON",
    "policy": "a group",
    "policy show": "prints YAML",
    "policy suggest": "prints YAML",
    "push": "a group",
    "tune approve": "records a decision",
}
"""Commands that have no `--json`, and why."""


def names_without_json(command, path=()):
    for name, child in getattr(command, "commands", {}).items():
        if not any("--json" in option.opts for option in child.params):
            yield " ".join((*path, name))
        yield from names_without_json(child, (*path, name))


def test_every_command_whose_result_a_script_may_want_prints_it_as_json():
    assert set(names_without_json(get_command(app))) == set(WITHOUT)


@pytest.fixture
def root(tmp_path):
    three_published(open_store(str(tmp_path / "root")), tmp_path)
    return tmp_path / "root"


def test_each_move_of_production_is_printed_as_it_is_recorded(cli, root):
    code, out, _ = cli("rollback", "--registry", root, "--reason", "worse", "--json")
    assert (code, json.loads(out)["version"], json.loads(out)["reason"]) == (0, V2, "worse")
    code, out, _ = cli("promote", V3, "--registry", root, "--json")
    moved = json.loads(out)
    assert (code, moved["version"], moved["kind"]) == (0, V3, "promotion")
    assert moved == json.loads(cli("status", "--registry", root, "--json")[1])["history"][0]


def test_a_canary_is_printed_with_its_share_and_null_once_it_has_ended(cli, root):
    code, out, _ = cli("canary", V2, "--share", 0.1, "--registry", root, "--json")
    document = json.loads(out)
    assert (code, document["production"], document["canary"]["version"]) == (0, V3, V2)
    assert document["canary"]["share"] == 0.1
    assert json.loads(cli("canary", "--end", "--registry", root, "--json")[1])["canary"] is None


def test_the_list_of_policies_names_what_a_run_may_ask_for(cli):
    code, out, _ = cli("policy", "list", "--json")
    assert (code, {"guide", "relative"} <= {policy["name"] for policy in json.loads(out)}) == (0, True)


def test_watch_has_no_end_and_therefore_no_document(cli, root, tmp_path):
    code, _, err = cli("pull", "--dest", tmp_path / "models", "--registry", root, "--watch", "--json")
    assert (code, "--watch never ends" in err) == (2, True)


@pytest.fixture(scope="module")
def place(tmp_path_factory):
    """A folder with a week of telemetry, a policy, and a model trained elsewhere."""
    folder = tmp_path_factory.mktemp("place")
    write_partitioned(FleetConfig(links=1, days=7, start="2026-10-01", seed=5), folder / "telemetry")
    (folder / "policy.yaml").write_text(POLICY)
    smoothing_onnx(folder / "guest.onnx", trained_through="never")
    return folder


def as_a_script(place, *words):
    """Run the command line in a separate process; return the exit code, the document on stdout, and stderr."""
    ran = subprocess.run(
        [sys.executable, "-c", "from bwpredict.cli.main import main; main()", *words, "--json"],
        cwd=place, capture_output=True, text=True, check=False,
    )  # fmt: skip
    return ran.returncode, json.loads(ran.stdout), ran.stderr


PLACES = ("--telemetry", "telemetry", "--registry", "registry", "--work", "work", "--policy", "policy.yaml")


@pytest.mark.slow
@pytest.mark.timeout(1200)
def test_a_run_prints_its_decision_and_the_commands_after_it_what_they_made(place):
    code, document, err = as_a_script(place, "judge", "guest.onnx", "--month", "2026-10", *PLACES)
    assert (code, document["published"], document["decision"]["outcome"]) == (0, True, "bootstrap")
    assert (place / document["model_card"]).is_file()
    assert "-- validate" in err
    pulled = as_a_script(place, "pull", "--dest", "models", "--registry", "registry")[1]
    assert pulled["version"] == document["decision"]["version"]
    days = ("--first-day", "2026-10-07", "--every", "60")
    made = as_a_script(place, "predict", "--telemetry", "telemetry", "--registry", "registry", "--output", "out", *days)
    assert (made[1]["mode"], made[1]["days"], made[1]["forecasts"]) == ("windows", 1, 24)


@pytest.mark.slow
@pytest.mark.timeout(1200)
def test_a_rejected_run_prints_its_decision_too(place):
    (place / "strict.yaml").write_text(POLICY.replace("-0.5", "0.99"))
    strict = ("--policy", "strict.yaml", "--registry", "another")
    code, document, err = as_a_script(place, "judge", "guest.onnx", "--month", "2026-10", *PLACES, *strict)
    assert (code, document["published"], document["decision"]["outcome"]) == (1, False, "reject")
    assert "Nothing was published" in err


def test_an_import_prints_the_days_and_what_the_files_lack(cli, tmp_path):
    rows = [f"{1_790_812_800 + 60 * minute},1,2,{10 + minute % 7}" for minute in range(60)]
    (tmp_path / "probes.csv").write_text("\n".join(["timestamp,node_id,peer_id,rtt_ms", *rows]))
    code, out, _ = cli("import", "probes.csv", "--output", "days", "--json")
    document = json.loads(out)
    assert (code, document["days"], document["rows"], document["links"]) == (0, ["2026-10-01"], 60, 1)
    assert "throughput_mbps" in document["absent_columns"]
