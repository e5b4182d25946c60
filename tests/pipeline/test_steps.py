"""The run from telemetry to a published model, step by step, on a folder and on a real S3 server."""

import json
import shutil
import subprocess
from datetime import UTC, datetime
from pathlib import Path

import numpy as np
import pytest

from bwpredict import schema
from bwpredict.cli.main import main
from bwpredict.config import GatePolicy, RunConfig, Settings, TrainingConfig
from bwpredict.datasets.external import read_data_path
from bwpredict.documents import read_document, write_document
from bwpredict.errors import ConfigError, GateRejected, ValidationFailed, WorkAreaError
from bwpredict.models.checkpoint import load_checkpoint
from bwpredict.pipeline import challenger, steps
from bwpredict.provenance.record import record
from bwpredict.provenance.signing import TrustedKeys
from bwpredict.registry.layout import onnx_name
from bwpredict.registry.promotion import read_production
from bwpredict.registry.versions import fetch, list_versions, read_manifest, verify_version
from bwpredict.serving.delivery import deliver
from bwpredict.serving.predictor import Predictor
from bwpredict.simulation.data_faults import inject
from bwpredict.simulation.fleet import FleetConfig
from bwpredict.simulation.writer import write_partitioned
from bwpredict.store.factory import open_store
from bwpredict.store.files import sha256_of
from bwpredict.validation.result import drift_sentence
from bwpredict.workspace.artifacts import read_run

SMALL = TrainingConfig(epochs=2, batch_size=64, windows_per_epoch=3000, validation_windows=500)
LENIENT = GatePolicy(
    name="small test model",
    minimum_average_correlation=0.9,
    minimum_accuracy_percent=90,
    maximum_average_mape_percent=50,
    minimum_skill=-0.2,
    within_link_correlation_margin=0.5,
    mean_margin_percent=50,
    champion_margin_percent=50,
    pooled_margin_percent=50,
    link_margin_percent=None,
    winkler_margin_percent=None,
    maximum_latency_p99_ms=1000,
)
STRICT = LENIENT.model_copy(update={"name": "out of reach", "minimum_skill": 0.99})
TO_DECISION = (steps.snapshot, steps.validate, steps.train, steps.export, steps.compare, steps.decide)


def run_config(month, number, *, telemetry, registry, **changes):
    return RunConfig(
        run_id=f"run-{number}",
        version=f"v20261201_00000{number}",
        month=month,
        telemetry=str(telemetry),
        registry=str(registry),
        code_version="test",
        created_at=datetime(2026, 12, 1, tzinfo=UTC).isoformat(),
        training=SMALL,
        **{"policy": LENIENT, **changes},
    )


def run_to_decision(run, work):
    reference = steps.plan(run, work)
    for step in TO_DECISION:
        reference = step(reference)
    return reference


def document(reference, kind):
    return read_document(Path(reference.path), kind)


@pytest.fixture(scope="module")
def telemetry(tmp_path_factory):
    """Ten days in September and as many in October, of the same links."""
    folder = tmp_path_factory.mktemp("telemetry")
    for start in ("2026-09-01", "2026-10-01"):
        write_partitioned(FleetConfig(links=3, days=10, start=start, seed=5, duplicate_share=0.01), folder)
    return folder


@pytest.fixture(scope="module")
def registry(tmp_path_factory):
    return tmp_path_factory.mktemp("registry")


@pytest.fixture(scope="module")
def bootstrap(telemetry, registry, tmp_path_factory):
    """The first run, published: its decision and its work area."""
    run = run_config("2026-09", 1, telemetry=telemetry, registry=registry)
    decision = run_to_decision(run, tmp_path_factory.mktemp("work"))
    steps.publish(decision)
    return decision


def test_a_first_model_is_a_bootstrap_and_no_win(bootstrap, registry):
    decision = document(bootstrap, "decision")
    assert (decision["outcome"], decision["case"], decision["champion_version"]) == ("bootstrap", "no_champion", None)
    assert any(check["verdict"] == "not_applicable" for check in decision["checks"])
    assert read_production(open_store(str(registry))).kind == "bootstrap"


def test_what_is_published_is_whole_and_names_what_made_it(bootstrap, registry, tmp_path):
    store = open_store(str(registry))
    version = read_production(store).version
    verify_version(store, version)
    fetch(store, version, [f"model_metadata_{version}.json", "snapshot.json"], tmp_path)
    metadata = read_document(tmp_path / f"model_metadata_{version}.json", "model_metadata")
    assert metadata["data"]["snapshot_id"] == read_document(tmp_path / "snapshot.json", "snapshot")["snapshot_id"]
    assert (metadata["seed"], metadata["code_version"]) == (SMALL.seed, "test")
    assert metadata["run"]["training"] == SMALL.model_dump()


def test_what_is_published_gives_intervals_whose_coverage_was_measured(bootstrap, registry, tmp_path):
    store = open_store(str(registry))
    version = read_production(store).version
    fetch(store, version, [f"model_metadata_{version}.json", "comparison.json", "best_model.pth"], tmp_path)
    metadata = read_document(tmp_path / f"model_metadata_{version}.json", "model_metadata")
    measured = read_document(tmp_path / "comparison.json", "comparison")["intervals"]
    assert [one["name"] for one in metadata["contract"]["further_outputs"]] == ["lower", "upper"]
    assert metadata["performance_metrics"]["intervals"] == measured
    model = load_checkpoint(tmp_path / "best_model.pth")
    assert metadata["intervals"]["calibration_windows"] == model.calibration_windows
    assert metadata["streaming"]["state_size"] == model.state_size
    fetch(store, version, [metadata["streaming"]["onnx"]], tmp_path)
    assert all(0.7 < figures["coverage"] < 1 for figures in measured["per_target"].values())
    assert {"region", "link_type", "network_tier", "transport_type", "hour_band"} <= measured["slices"].keys()
    checks = {check["id"]: check for check in document(bootstrap, "decision")["checks"]}
    assert checks["interval_order"]["verdict"] == "pass"
    assert checks["coverage.rtt_ms"]["value"] == measured["per_target"]["rtt_ms"]["coverage"]


def test_what_is_published_can_be_pulled_and_served_and_says_what_it_was_made_from(bootstrap, registry, tmp_path):
    store = open_store(str(registry))
    version = read_production(store).version
    delivery = deliver(store, tmp_path / "dest")
    assert Predictor(tmp_path / "dest").version == version
    vectors = read_document(delivery.folder / "conformance.json", "conformance")
    assert len(vectors["cases"]) == 13
    sequences = {case["case"]: len(case["input"]) for case in vectors["sequences"]["cases"]}
    assert sequences == {"real 1": 40, "real 2": 40, "real 3": 40, "gap": 40}
    fetch(store, version, ["provenance.json", "snapshot.json"], tmp_path)
    statement, pinned = (read_document(tmp_path / f"{kind}.json", kind) for kind in ("provenance", "snapshot"))
    subjects = {subject["name"] for subject in statement["subject"]}
    assert subjects == read_manifest(store, version).sha256.keys() - {"provenance.json"}
    inputs = statement["predicate"]["buildDefinition"]["resolvedDependencies"]
    digests = {digest for one in inputs for digest in one.get("digest", {}).values()}
    assert {day["sha256"] for day in pinned["days"]} | {pinned["snapshot_id"]} <= digests
    assert {"code", "requirements.txt"} <= {one["name"] for one in inputs}
    assert sum(one["name"] == "telemetry" for one in inputs) == len(pinned["objects"])


def test_with_keys_the_version_is_signed_and_again_the_same(bootstrap, tmp_path):
    key, trusted, openssf = (tmp_path / name for name in ("signing.pem", "trusted.pem", "openssf.pem"))
    curve = ("ecparam", "-name", "prime256v1", "-genkey", "-noout")
    subprocess.run(["openssl", *curve, "-out", openssf], check=True, capture_output=True)
    subprocess.run(["openssl", "genpkey", "-algorithm", "ed25519", "-out", key], check=True, capture_output=True)
    subprocess.run(["openssl", "pkey", "-in", key, "-pubout", "-out", trusted], check=True, capture_output=True)
    area = Path(shutil.copytree(Path(bootstrap.path).parent, tmp_path / "area"))
    version = document(bootstrap, "decision")["version"]
    record(area, version, Settings(signing_key=str(key), openssf_key=str(openssf)))
    signatures = [(area / name).read_bytes() for name in ("provenance.dsse.json", "model.sig")]
    files = {name: sha256_of(area / name) for name in (f"bandwidth_lstm_{version}.onnx", "snapshot.json")}
    TrustedKeys.load(str(trusted)).require(area / "provenance.dsse.json", version, files)
    record(area, version, Settings(signing_key=str(key), openssf_key=str(openssf)))
    assert [(area / name).read_bytes() for name in ("provenance.dsse.json", "model.sig")] == signatures
    record(area, version, Settings())
    assert not list(area.glob("provenance.dsse.json")) + list(area.glob("model.sig"))


def test_a_key_that_cannot_sign_publishes_nothing(bootstrap, registry, tmp_path, monkeypatch):
    area = Path(shutil.copytree(Path(bootstrap.path).parent, tmp_path / "area"))
    (tmp_path / "openssf.pem").write_text("no key")
    before = {path: path.read_bytes() for path in registry.rglob("*") if path.is_file()}
    monkeypatch.setenv("BWPREDICT_OPENSSF_KEY", str(tmp_path / "openssf.pem"))
    with pytest.raises(ConfigError, match=r"openssf\.pem"):
        steps.publish(steps.Reference(str(area / "decision.json"), bootstrap.sha256))
    assert {path: path.read_bytes() for path in registry.rglob("*") if path.is_file()} == before


def test_without_settings_for_other_tools_a_version_has_only_its_own_files(bootstrap, registry, tmp_path):
    store = open_store(str(registry))
    files = read_manifest(store, read_production(store).version).sha256.keys()
    assert not files & {"model.sig", "provenance.dsse.json"}
    deliver(store, tmp_path / "dest")
    assert not (tmp_path / "dest" / "triton").exists()


def test_the_provenance_names_the_champion_and_the_person_who_approved(second, tmp_path):
    area = Path(shutil.copytree(Path(second.path).parent, tmp_path / "area"))
    steps.approve(steps.Reference(str(area / "decision.json"), second.sha256), "anna")
    decision = document(second, "decision")
    record(area, decision["version"], Settings())
    built = read_document(area / "provenance.json", "provenance")["predicate"]["buildDefinition"]
    inputs = {one["name"]: one.get("digest") for one in built["resolvedDependencies"]}
    assert inputs[f"champion {decision['champion_version']}"] == {"sha256": decision["champion_sha256"]}
    assert built["internalParameters"]["people"]["approval"]["approved_by"] == "anna"
    assert built["internalParameters"]["people"]["override"] is None


def reproduced(cli, registry, monkeypatch, *options):
    """`bwpredict reproduce` of the bootstrap: exit code, what it printed, and what it said."""
    monkeypatch.setenv("BWPREDICT_CODE_VERSION", "test")
    return cli("reproduce", "v20261201_000001", "--registry", registry, *options)


def test_a_published_version_is_reproduced_byte_for_byte(bootstrap, registry, cli, monkeypatch):
    code, out, _ = reproduced(cli, registry, monkeypatch, "--json")
    found = json.loads(out)
    assert list(found["files"]) == [
        "bandwidth_lstm_v20261201_000001.onnx",
        "bandwidth_lstm_stream_v20261201_000001.onnx",
    ]
    assert (code, found["identical"], found["forecasts"], found["changed"]) == (0, True, None, {})


def test_a_version_that_comes_out_otherwise_says_how_far_forecasts_differ(
    bootstrap, second, registry, cli, monkeypatch, tmp_path
):
    """The second run's models stand in for what another machine would make."""
    other = Path(second.path).parent

    def copied(area, *_):
        for path in [*other.glob("*.onnx"), other / "history.json"]:
            shutil.copy(path, area / path.name.replace("000002", "000001"))

    monkeypatch.setattr(challenger, "fit", copied)
    monkeypatch.setattr(challenger, "export_onnx", copied)
    code, out, _ = reproduced(cli, registry, monkeypatch, "--json", "--output", tmp_path / "again")
    found = json.loads(out)
    differences = found["forecasts"].values()
    assert (code, found["identical"], any(found["files"].values())) == (1, False, False)
    assert all(0 < one["mean"] < one["largest"] and one["percent_of_mae"] > 0 for one in differences)
    assert (tmp_path / "again" / "published" / "snapshot.json").is_file()
    enough = max(one["percent_of_mae"] for one in differences) + 0.01
    code, out, _ = reproduced(cli, registry, monkeypatch, "--tolerance-percent", str(enough))
    assert (code, "RTT, ms" in out) == (0, True)


def test_a_version_of_other_code_or_with_changed_telemetry_is_not_trained_again(
    bootstrap, telemetry, registry, cli, monkeypatch, tmp_path
):
    monkeypatch.setattr(challenger, "fit", lambda *_: pytest.fail("it was trained"))
    changed = shutil.copytree(telemetry, tmp_path / "changed")
    day = next((changed / "date=2026-09-05").glob("*.parquet"))
    shutil.copy(next((changed / "date=2026-09-06").glob("*.parquet")), day)
    code, _, said = reproduced(cli, registry, monkeypatch, "--telemetry", changed)
    assert (code, "has changed since it was read" in said) == (2, True)
    code, _, said = reproduced(cli, registry, monkeypatch, "--output", registry)
    assert (code, "is not an empty folder" in said) == (2, True)
    monkeypatch.setenv("BWPREDICT_CODE_VERSION", "other")
    code, _, said = cli("reproduce", "v20261201_000001", "--registry", registry)
    assert (code, "was trained by code test, and this is other" in said) == (2, True)


def test_publishing_again_changes_nothing(bootstrap, registry):
    before = {path: path.read_bytes() for path in registry.rglob("*") if path.is_file()}
    steps.publish(bootstrap)
    assert {path: path.read_bytes() for path in registry.rglob("*") if path.is_file()} == before


def test_a_step_run_again_writes_the_same(bootstrap):
    area = Path(bootstrap.path).parent
    comparison = steps.Reference(str(area / "comparison.json"), sha256_of(area / "comparison.json"))
    assert steps.decide(comparison) == bootstrap


@pytest.fixture(scope="module")
def second(bootstrap, telemetry, registry, tmp_path_factory):
    """The second month's run up to its decision, against the first one's model."""
    run = run_config("2026-10", 2, telemetry=telemetry, registry=registry)
    return run_to_decision(run, tmp_path_factory.mktemp("work"))


def test_the_second_month_is_judged_against_the_first_ones_model(second):
    decision = document(second, "decision")
    comparison = read_document(Path(second.path).parent / "comparison.json", "comparison")
    assert decision["champion_version"] == "v20261201_000001"
    assert decision["case"] == "champion"
    assert {"champion", "challenger", "last_value", "mean_15_minutes"} <= comparison["models"].keys()
    assert comparison["models"]["champion"]["share_scored"] == comparison["models"]["challenger"]["share_scored"] == 1


def test_the_difference_from_the_champion_has_an_interval_and_slices_in_the_comparison_and_the_decision(second):
    comparison = read_document(Path(second.path).parent / "comparison.json", "comparison")
    for target, found in comparison["difference"]["per_target"].items():
        own, theirs = (comparison["models"][name]["per_target"][target]["mae"] for name in ("challenger", "champion"))
        assert found["pooled"]["percent"] == pytest.approx(100 * (own / theirs - 1))
        assert found["low"] <= found["percent"] <= found["high"]
        against = next(one for one in document(second, "decision")["checks"] if one["id"] == f"champion_error.{target}")
        assert (against["value"], against["interval"]) == (found["high"], [found["low"], found["high"]])
    assert comparison["difference"]["days"]["count"] == 4
    assert comparison["difference"]["days"]["dates"] == [f"2026-10-{day:02}" for day in range(7, 11)]
    assert comparison["anchor"] is None  # nothing served before the champion
    sliced = {row["attribute"] for row in comparison["slices"]["rows"]}
    assert {"hour_band", "congested"} <= sliced
    assert "new_link: the same for all test windows, or unknown." in comparison["slices"]["left_out"]
    assert len(comparison["horizon"]["minutes"]) == 15


@pytest.mark.parametrize("seen", [["2026-10-07"], ["2026-10-07", "2026-10-08", "2026-10-09", "2026-10-10"]])
def test_no_champion_is_judged_on_days_that_it_has_seen(second, tmp_path, seen):
    area = Path(shutil.copytree(Path(second.path).parent, tmp_path / "area"))
    run, version = read_run(area), document(second, "decision")["champion_version"]
    days = np.array(seen, "datetime64[D]").astype(np.int64)
    champion = challenger.Champion(version, area / "champion" / version / onnx_name(version), seen=days)
    split = challenger.make_split(read_data_path(area / "telemetry"), run)
    comparison = challenger.evaluate(area, split, run, read_document(area / "snapshot.json", "snapshot"), champion)
    assert read_document(area / "comparison.json", "comparison") == comparison
    if len(seen) == 1:
        assert comparison["test"]["days_left_out"] == seen
        assert comparison["difference"]["days"]["dates"] == ["2026-10-08", "2026-10-09", "2026-10-10"]
    else:
        assert "trained on all of the test days" in comparison["champion_problem"]
        assert "champion" not in comparison["models"]


@pytest.mark.parametrize(("changed_on", "judged"), [("2026-10-17", range(17, 21)), ("2026-10-18", range(14, 21))])
def test_models_are_compared_on_the_days_after_a_change_of_the_network_if_there_are_four(
    second, tmp_path, changed_on, judged
):
    area = Path(shutil.copytree(Path(second.path).parent, tmp_path / "area"))
    run, version = read_run(area), document(second, "decision")["champion_version"]
    write_partitioned(FleetConfig(links=3, days=20, start="2026-10-01", seed=5), tmp_path / "telemetry")
    frame = read_data_path(tmp_path / "telemetry")
    later = frame.timestamps >= np.datetime64(changed_on, "s").astype(np.int64)
    frame.values[later, schema.FEATURES.index("throughput_mbps")] *= 3
    champion = challenger.Champion(version, area / "champion" / version / onnx_name(version))
    pinned = read_document(area / "snapshot.json", "snapshot")
    comparison = challenger.evaluate(area, challenger.make_split(frame, run), run, pinned, champion)
    days = [f"2026-10-{day:02}" for day in judged]
    assert comparison["difference"]["days"]["dates"] == comparison["stream"]["difference"]["days"]["dates"] == days
    assert comparison["change"]["day"] == changed_on
    assert comparison["change"]["days_before"] == [f"2026-10-{day}" for day in range(14, int(changed_on[-2:]))]
    with (area / "decision.json").open() as file:
        before = json.load(file)
    (area / "decision.json").unlink()
    written = steps.Reference(str(area / "comparison.json"), sha256_of(area / "comparison.json"))
    decision = document(steps.decide(written), "decision")
    assert f"The network changed on {changed_on} (Throughput rose by" in decision["reason"]
    assert f"The network changed on {changed_on}" in (area / "model_card.html").read_text()
    assert not any(check["id"] == "change" for check in before["checks"])


def test_drift_is_measured_from_the_champions_profile(second):
    result = read_document(Path(second.path).parent / "validation.json", "validation")
    assert not result["first_month"]


def test_a_drifting_month_reaches_the_gate_with_a_warning(bootstrap, registry, tmp_path):
    drifting = FleetConfig(links=3, days=10, start="2026-10-01", seed=5, regime="drifting", drift_from="2026-09-20")
    write_partitioned(drifting, tmp_path / "telemetry")
    run = run_config("2026-10", 3, telemetry=tmp_path / "telemetry", registry=registry)
    reference = run_to_decision(run, tmp_path / "work")
    area = Path(reference.path).parent
    validation, decision = read_document(area / "validation.json", "validation"), document(reference, "decision")
    drifted = {
        check["id"]
        for check in validation["checks"]
        if check["id"].startswith("distributions.drift.") and not check["passed"]
    }
    assert (validation["passed"], bool(drifted)) == (True, True)
    assert decision["case"] == "champion"
    assert decision["outcome"] in {"promote", "keep", "reject"}
    assert any(check["id"].startswith("champion_error.") and check["value"] is not None for check in decision["checks"])
    assert "has drifted" in (area / "model_card.html").read_text()
    told = drift_sentence(validation)
    assert told.startswith("Drift since the champion's training data: ")
    assert told in decision["reason"]  # which the run's note and an alert give


@pytest.fixture
def rejected(second, telemetry, registry, tmp_path):
    """The second month's run, judged by a policy that no model can pass."""
    area = shutil.copytree(Path(second.path).parent, tmp_path / "run-2")
    (area / "decision.json").unlink()
    steps.plan(run_config("2026-10", 2, telemetry=telemetry, registry=registry, policy=STRICT), tmp_path)
    return steps.decide(steps.Reference(str(area / "comparison.json"), sha256_of(area / "comparison.json")))


def test_a_rejected_challenger_has_its_reasons_and_its_report(rejected):
    decision = document(rejected, "decision")
    failed = [check for check in decision["checks"] if check["verdict"] == "fail"]
    assert decision["outcome"] == "reject"
    assert {check["threshold"] for check in failed} == {STRICT.minimum_skill}
    assert "Rejected" in (Path(rejected.path).parent / "model_card.html").read_text()


def test_a_rejected_challenger_never_reaches_the_registry(rejected, registry):
    version = document(rejected, "decision")["version"]
    with pytest.raises(GateRejected, match=version):
        steps.publish(rejected)
    assert version not in list_versions(open_store(str(registry)))
    assert not (registry / "models" / version).exists()


def test_broken_telemetry_stops_the_run_before_training(telemetry, registry, tmp_path):
    broken = tmp_path / "telemetry"
    write_partitioned(FleetConfig(links=3, days=3, start="2026-11-01", seed=5), broken)
    inject(broken, "impossible_values")
    planned = steps.plan(run_config("2026-11", 5, telemetry=broken, registry=registry), tmp_path / "work")
    with pytest.raises(ValidationFailed, match="rtt_ms"):
        steps.validate(steps.snapshot(planned))
    area = Path(planned.path).parent
    assert not read_document(area / "validation.json", "validation")["passed"]
    assert (area / "validation" / "data_docs" / "index.html").exists()
    assert not (area / "best_model.pth").exists()


def test_a_person_lets_broken_telemetry_through_with_a_reason(registry, tmp_path):
    broken = tmp_path / "telemetry"
    write_partitioned(FleetConfig(links=3, days=3, start="2026-11-01", seed=5), broken)
    inject(broken, "impossible_values")
    run = run_config("2026-11", 5, telemetry=broken, registry=registry)
    accepting = run.model_copy(update={"accept_telemetry": True, "override_reason": "a probe was broken"})
    checked = steps.validate(steps.snapshot(steps.plan(accepting, tmp_path / "work")))
    assert checked.path.endswith("profile.json")
    area = Path(checked.path).parent
    assert not read_document(area / "validation.json", "validation")["passed"]  # what failed stays on record


def test_a_changed_file_between_two_steps_is_refused(telemetry, registry, tmp_path):
    planned = steps.plan(run_config("2026-09", 6, telemetry=telemetry, registry=registry), tmp_path)
    path = Path(planned.path)
    path.write_text(json.dumps(json.loads(path.read_text()) | {"month": "2026-10"}))
    with pytest.raises(WorkAreaError, match=r"run\.json"):
        steps.snapshot(planned)


def test_a_missing_work_area_is_named(tmp_path):
    with pytest.raises(WorkAreaError, match="BWPREDICT_WORK"):
        steps.train(steps.Reference(str(tmp_path / "profile.json"), "0"))


def test_the_whole_run_works_on_s3(telemetry, s3_bucket, tmp_path):
    uri = f"s3://{s3_bucket}/telemetry"
    store = open_store(uri)
    for path in sorted(telemetry.glob("date=2026-09-*/*.parquet")):
        store.upload(path, path.relative_to(telemetry).as_posix())
    run = run_config("2026-09", 7, telemetry=uri, registry=f"s3://{s3_bucket}/registry")
    steps.publish(run_to_decision(run, tmp_path))
    registry = open_store(run.registry)
    assert read_production(registry).version == run.version
    verify_version(registry, run.version)


def everything_in(folder):
    return {path: path.read_bytes() for path in folder.rglob("*") if path.is_file()}


def replayed(second, tmp_path, capsys, monkeypatch, *options, **policy):
    """`bwpredict decide` on the second run: exit code, what it said, and the decision it wrote."""
    changed = LENIENT.model_dump() | {"name": "another", **policy}
    (tmp_path / "another.yaml").write_text(json.dumps(changed))
    area = Path(second.path).parent
    arguments = ["decide", "--policy", str(tmp_path / "another.yaml"), "--run", str(area)]
    monkeypatch.setattr("sys.argv", ["bwpredict", *arguments, "--output", str(tmp_path / "new.json"), *options])
    with pytest.raises(SystemExit) as ended:
        main()
    return ended.value.code or 0, read_document(tmp_path / "new.json", "decision")


def test_a_past_run_is_decided_again_under_another_policy_and_nothing_in_it_changes(
    second, tmp_path, capsys, monkeypatch
):
    before = everything_in(Path(second.path).parent)
    code, decision = replayed(second, tmp_path, capsys, monkeypatch, minimum_skill=0.99)
    assert (code, decision["outcome"], decision["policy"]["name"]) == (1, "reject", "another")
    assert decision["run_id"] == "run-2"
    assert everything_in(Path(second.path).parent) == before


def test_under_its_own_thresholds_a_past_run_gets_the_same_verdicts(second, tmp_path, capsys, monkeypatch):
    code, decision = replayed(second, tmp_path, capsys, monkeypatch)
    taken = document(second, "decision")
    codes = {"promote": 0, "reject": 1, "keep": 3}
    assert (code, decision["outcome"]) == (codes[taken["outcome"]], taken["outcome"])
    assert [one["verdict"] for one in decision["checks"]] == [one["verdict"] for one in taken["checks"]]


def test_other_weights_are_measured_again_from_the_runs_own_forecasts(second, tmp_path, capsys, monkeypatch):
    weights = {"throughput_mbps": 1.0, "rtt_ms": 0.0, "packet_loss": 0.0, "jitter_ms": 0.0}
    _, decision = replayed(second, tmp_path, capsys, monkeypatch, champion_rule="superior", target_weights=weights)
    comparison = read_document(Path(second.path).parent / "comparison.json", "comparison")
    checks = {one["id"]: one for one in decision["checks"]}
    alone = comparison["difference"]["per_target"]["throughput_mbps"]
    verdict = "pass" if alone["high"] < 0 else "fail" if alone["low"] > 0 else "open"
    assert checks["champion_mean"]["value"] == pytest.approx(alone["high"])
    assert checks["champion_mean"]["verdict"] == verdict


def test_a_comparison_of_before_intervals_over_days_is_measured_again(second, tmp_path, capsys, monkeypatch):
    area = Path(shutil.copytree(Path(second.path).parent, tmp_path / "run-2"))
    comparison = json.loads((area / "comparison.json").read_text())
    old = {key: value for key, value in comparison["difference"].items() if key not in ("days", "links")}
    comparison["difference"] = old | {"draws": 10_000, "blocks": {"of": "link and day", "count": 12}}
    write_document(area / "comparison.json", "comparison", comparison)
    reference = steps.Reference(str(area / "decision.json"), sha256_of(area / "decision.json"))
    _, decision = replayed(reference, tmp_path, capsys, monkeypatch)
    assert decision["checks"] == document(second, "decision")["checks"]


def test_latest_is_the_newest_run_that_came_to_a_decision(second, tmp_path, capsys, monkeypatch):
    area = Path(second.path).parent
    monkeypatch.setenv("BWPREDICT_WORK", str(area.parent))
    monkeypatch.setattr("sys.argv", ["bwpredict", "decide", "--policy", "guide", "--json"])
    with pytest.raises(SystemExit):
        main()
    assert json.loads(capsys.readouterr().out)["run_id"] == area.name


def test_what_is_no_run_cannot_be_decided_again(tmp_path, capsys, monkeypatch):
    monkeypatch.setenv("BWPREDICT_WORK", str(tmp_path))
    (tmp_path / "empty").mkdir()
    for run, sentence in (
        ("run-9", "expected the id of a run"),
        ("latest", "none of the latest"),
        ("empty", "cannot be read as a run's configuration"),
    ):
        monkeypatch.setattr("sys.argv", ["bwpredict", "decide", "--policy", "guide", "--run", run])
        with pytest.raises(SystemExit) as ended:
            main()
        assert ended.value.code == 2
        assert sentence in capsys.readouterr().err
