import json
import subprocess
import sys

import pytest
from sample_documents import sample_artifact, sample_comparison, sample_metadata, sample_run, sample_split

from bwpredict import schema
from bwpredict.core.guide import meets_guide
from bwpredict.documents import decode_document, encode_document, read_document, write_document
from bwpredict.errors import DocumentError
from bwpredict.models.network import ARCHITECTURES, describe
from bwpredict.reports.metadata import measure_environment, predictor_report


@pytest.fixture
def comparison():
    return sample_comparison()


@pytest.fixture
def metadata(comparison):
    return sample_metadata(comparison)


def test_the_metadata_is_a_valid_document_and_reads_back_the_same(tmp_path, metadata):
    path = write_document(tmp_path / "model_metadata.json", "model_metadata", metadata)
    assert read_document(path, "model_metadata") == metadata


@pytest.mark.parametrize("name", ARCHITECTURES)
def test_the_metadata_of_every_architecture_is_a_valid_document(metadata, name):
    described = {**metadata["model_architecture"], **describe(name)}
    encode_document("model_metadata", {**metadata, "model_architecture": described}, name=name)


def test_the_metadata_keeps_the_guides_fields(metadata):
    assert {
        "version",
        "created_at",
        "training_duration_seconds",
        "model_size_mb",
        "target_achieved",
        "training_config",
        "performance_metrics",
        "model_architecture",
        "features",
        "targets",
        "scaler_params",
    } <= metadata.keys()
    assert {"overall", "per_target"} <= metadata["performance_metrics"].keys()
    assert metadata["performance_metrics"]["per_target"].keys() == set(schema.TARGETS)
    assert metadata["model_architecture"]["input_shape"] == ["batch", 20, 9]
    assert metadata["model_architecture"]["output_shape"] == ["batch", 4]
    assert metadata["model_architecture"]["total_parameters"] == 546_672
    assert metadata["model_size_mb"] == 2.214


def test_accuracy_is_a_hundred_times_the_average_correlation(metadata):
    overall = metadata["performance_metrics"]["overall"]
    assert overall["accuracy_percent"] == pytest.approx(100 * overall["average_correlation"])


@pytest.mark.parametrize(
    ("correlation", "mape", "met"),
    [(0.98, 5.0, True), (0.9799, 5.0, False), (0.98, 5.01, False), (None, 1.0, False), (0.99, None, False)],
)
def test_the_guides_headline_needs_both_figures(correlation, mape, met):
    assert meets_guide(correlation, mape) is met


def test_the_contract_names_units_bounds_horizon_and_calendar(metadata):
    contract = metadata["contract"]
    assert [column["name"] for column in contract["input"]["columns"]] == list(schema.FEATURES)
    assert contract["output"]["columns"][2] == {"name": "packet_loss", "unit": "share", "minimum": 0, "maximum": 1}
    assert (contract["window_size"], contract["horizon_minutes"], contract["cadence_seconds"]) == (20, 15, 60)
    assert contract["calendar"]["sentence"] == schema.CALENDAR.sentence


def test_another_window_and_horizon_stand_in_the_contract(comparison):
    run = sample_run(training={"window_size": 30, "horizon_minutes": 5})
    metadata = sample_metadata(comparison, run=run)
    assert metadata["contract"]["window_size"] == metadata["model_architecture"]["input_shape"][1] == 30
    assert metadata["contract"]["horizon_minutes"] == 5


def test_the_metadata_tells_where_the_model_comes_from(metadata):
    assert metadata["data"]["windows"] == {name: part["windows"] for name, part in sample_split()["parts"].items()}
    assert metadata["data"]["split"]["embargo_minutes"] == 35.0
    assert metadata["run"] == sample_run().model_dump(mode="json")
    assert metadata["environment"]["torch"]
    assert metadata["environment"]["device"] == "cpu"


def test_filled_features_are_named_with_their_constants(comparison):
    metadata = sample_metadata(comparison, filled={"queue_depth": 0.0})
    assert metadata["filled_features"] == {"queue_depth": 0.0}
    encode_document("model_metadata", metadata, name="metadata")


def test_an_undefined_figure_is_null_and_does_not_reach_the_target():
    metadata = sample_metadata(sample_comparison(error=float("nan")))
    assert metadata["target_achieved"] is False
    assert metadata["performance_metrics"]["overall"]["accuracy_percent"] is None
    decode_document("model_metadata", encode_document("model_metadata", metadata, name="m"), name="m")


def test_a_target_that_the_telemetry_lacks_is_named_and_has_no_figures():
    metrics = sample_metadata(sample_comparison(targets=("rtt_ms", "jitter_ms")))["performance_metrics"]
    assert metrics["absent_targets"] == ["throughput_mbps", "packet_loss"]
    assert set(metrics["per_target"]["packet_loss"].values()) == {None}
    assert metrics["overall"]["average_correlation"] is not None


def test_the_skill_over_each_baseline_is_kept(metadata):
    skill = metadata["performance_metrics"]["skill"]["rtt_ms"]
    assert {"last_value", "mean_15_minutes", "same_minute_yesterday"} <= skill.keys()
    assert 0 < skill["last_value"] < 1


def test_the_report_keeps_the_guides_fields_and_agrees_with_the_metadata(tmp_path, metadata):
    report = predictor_report(metadata)
    write_document(tmp_path / "bandwidth_predictor_report.json", "bandwidth_predictor_report", report)
    overall = metadata["performance_metrics"]["overall"]
    assert report["target_metrics"] == {"correlation": 0.98, "mape": 5.0}
    assert report["achieved_metrics"] == {
        "correlation": overall["average_correlation"],
        "mape": overall["average_mape"],
        "accuracy_percent": overall["accuracy_percent"],
    }
    assert report["success"] is metadata["target_achieved"]
    assert report["detailed_metrics"].keys() == set(schema.TARGETS)


@pytest.mark.parametrize("key", ["onnx", "contract", "data", "environment", "mape_floors", "seed", "code_version"])
def test_metadata_that_lacks_a_part_is_refused_by_name(metadata, key):
    del metadata[key]
    with pytest.raises(DocumentError, match=key):
        encode_document("model_metadata", metadata, name="metadata")


def test_a_checksum_that_is_none_is_refused(metadata):
    metadata["onnx"]["sha256"] = "abc"
    with pytest.raises(DocumentError, match=r"onnx\.sha256"):
        encode_document("model_metadata", metadata, name="metadata")


def test_the_environment_holds_the_digest_of_the_lock(tmp_path):
    lock = tmp_path / "requirements.txt"
    lock.write_text("torch==2.13.0\n")
    assert len(measure_environment(lock)["lock_sha256"]) == 64
    assert measure_environment(tmp_path / "missing.txt")["lock_sha256"] is None
    json.dumps(measure_environment())


def test_importing_metadata_is_light():
    code = "import sys, bwpredict.reports.metadata; print({'torch', 'onnxruntime', 'matplotlib'} & set(sys.modules))"
    run = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, check=True)
    assert run.stdout.strip() == "set()"


def test_the_contract_lists_the_bounds_with_their_units_and_level(metadata):
    further = metadata["contract"]["further_outputs"]
    assert [(one["name"], one["level"]) for one in further] == [("lower", 0.9), ("upper", 0.9)]
    for one in further:
        assert one["columns"] == metadata["contract"]["output"]["columns"]
    assert metadata["intervals"]["confidence"]["formula"]
    assert metadata["performance_metrics"]["intervals"]["level"] == 0.9


def test_a_model_without_intervals_has_no_further_outputs_and_says_why():
    without = sample_metadata(sample_comparison(half_width=None), artifact=sample_artifact(intervals=False))
    encode_document("model_metadata", without, name="x")
    assert without["contract"]["further_outputs"] == []
    assert without["performance_metrics"]["intervals"] is None
    assert without["intervals"] == {"made": False, "reason": "The split has no calibration part."}


@pytest.mark.parametrize("missing", ["level", "method", "confidence", "reason"])
def test_metadata_that_tells_half_of_its_intervals_is_refused(metadata, missing):
    del metadata["intervals"][missing]
    with pytest.raises(DocumentError, match=missing):
        encode_document("model_metadata", metadata, name="x")
