"""A model trained elsewhere that has a file for streams too: what is refused, and the way to its consumers."""

import json
from datetime import UTC, datetime

import numpy as np
import onnx
import pytest
from frames import whole_days
from guests import POLICY, Graph, smoothing_onnx
from judging import judge_imported
from models import restless_model
from onnx import TensorProto, helper

from bwpredict import schema
from bwpredict.config import Settings, SplitConfig
from bwpredict.datasets.windows import index_windows, split_windows
from bwpredict.documents import read_document
from bwpredict.errors import ConfigError, ModelError
from bwpredict.models.onnx_export import export_onnx, model_properties
from bwpredict.pipeline import challenger
from bwpredict.pipeline.run_config import run_config
from bwpredict.registry.layout import challenger_key, onnx_name, stream_onnx_name
from bwpredict.registry.promotion import read_production
from bwpredict.registry.versions import fetch, read_manifest
from bwpredict.serving.delivery import deliver
from bwpredict.serving.stream import Stream
from bwpredict.simulation.fleet import FleetConfig
from bwpredict.simulation.writer import write_partitioned
from bwpredict.store.factory import open_store
from bwpredict.store.files import sha256_of

NOW = datetime(2026, 11, 24, 3, 4, 5, tzinfo=UTC)
STREAMING = {
    "state_size": 4,
    "state_version": 1,
    "horizons_minutes": [15.0],
    "quantiles": [0.05, 0.5, 0.95],
    "warm_up_minutes": 1,
    "largest_step": 60,
}
PROPERTIES = {
    "features": list(schema.FEATURES),
    "targets": list(schema.TARGETS),
    "window_size": 20,
    "horizon_minutes": 15,
    "cadence_seconds": 60,
    "interval_level": 0.9,
    "streaming": STREAMING,
}


def last_known_onnx(path, *, over_step=False, empty_state_breaks=False, state_size=4, **properties):
    """A formula for streams: each target's last known value, which the state keeps; bounds of half and one and a half.

    `over_step`: the mean over the step's samples instead, so that the length of a step matters.
    """
    graph = Graph()
    targets = graph("Gather", "input", np.arange(4), axis=2)
    newest = (
        graph("ReduceMean", targets, axes=[1], keepdims=0)
        if over_step
        else graph("Gather", targets, np.array(-1), axis=1)
    )
    kept = graph("Gather", "state", np.arange(4), axis=1)
    if empty_state_breaks:
        kept = graph("Div", kept, kept)
    known = graph("Where", graph("IsNaN", newest), kept, newest, name="next_state")
    graph("Identity", known, name="output")
    lower = graph("Mul", known, np.array(0.5, np.float32), name="lower")
    upper = graph("Min", graph("Mul", known, np.array(1.5, np.float32)), np.array([1e9, 1e9, 1, 1e9], np.float32),
                  name="upper")  # fmt: skip
    stacked = [graph("Unsqueeze", one, np.array([1])) for one in (lower, known, upper)]
    graph("Unsqueeze", graph("Concat", *stacked, axis=1), np.array([1]), name="quantiles")
    float32, sizes = TensorProto.FLOAT, {"output": [4], "lower": [4], "upper": [4], "quantiles": [1, 3, 4]}
    made = helper.make_graph(
        graph.nodes,
        "guest",
        [
            helper.make_tensor_value_info("input", float32, ["batch", "t", 9]),
            helper.make_tensor_value_info("state", float32, ["batch", state_size]),
        ],
        [
            helper.make_tensor_value_info(name, float32, ["batch", *size])
            for name, size in (sizes | {"next_state": [state_size]}).items()
        ],
        graph.constants,
    )
    model = helper.make_model(made, opset_imports=[helper.make_opsetid("", 17)], ir_version=9)
    told = {key: json.dumps(value) for key, value in (PROPERTIES | properties).items() if value is not None}
    helper.set_model_props(model, told)
    onnx.save(model, path)
    return path


def planned(params, *, guest=None, stream=None, registry=""):
    return run_config(
        {"month": "2026-10", **params},
        run_id="manual__1",
        interval_start=None,
        run_after=NOW,
        now=NOW,
        settings=Settings(registry=str(registry)),
        code_version="abc",
        requested_by="anna",
        challenger=guest,
        challenger_stream=stream,
    )


def streaming(**changed):
    return {name: value for name, value in (STREAMING | changed).items() if value is not None}


REFUSED = {
    "no model": (lambda path: path.write_bytes(b"no model"), "is not an ONNX model"),
    "a file for windows": (smoothing_onnx, "its property streaming is not usable"),
    "another state": (lambda path: last_known_onnx(path, state_size=5), "inputs are 'state'"),
    "no largest step": (
        lambda path: last_known_onnx(path, streaming=streaming(largest_step=None)),
        "streaming.largest_step is not usable",
    ),
    "a huge state": (
        lambda path: last_known_onnx(path, streaming=streaming(state_size=10**9)),
        "streaming.state_size is not usable",
    ),
    "one quantile": (
        lambda path: last_known_onnx(path, streaming=streaming(quantiles=[0.5])),
        "streaming.quantiles is not usable",
    ),
    "quantiles in another order": (
        lambda path: last_known_onnx(path, streaming=streaming(quantiles=[0.5, 0.05, 0.95])),
        "levels must ascend",
    ),
    "other horizons": (
        lambda path: last_known_onnx(path, streaming=streaming(horizons_minutes=[5.0, 15.0])),
        "outputs are 'quantiles'",
    ),
    "another horizon": (lambda path: last_known_onnx(path, horizon_minutes=5), "was made for horizon_minutes 5"),
    "no level": (lambda path: last_known_onnx(path, interval_level=None), "has no property interval_level"),
    "no cadence": (lambda path: last_known_onnx(path, cadence_seconds=None), "has no property cadence_seconds"),
}


@pytest.mark.parametrize("case", REFUSED)
def test_a_stream_file_that_does_not_keep_the_contract_ends_with_one_sentence_before_any_telemetry_is_read(
    case, tmp_path, cli
):
    make, said = REFUSED[case]
    smoothing_onnx(tmp_path / "guest.onnx")
    make(tmp_path / "stream.onnx")
    code, out, err = cli(
        "judge", "guest.onnx", "--stream", "stream.onnx", "--month", "2026-10", "--telemetry", "nowhere"
    )
    assert code == 2
    assert err.startswith("error: stream.onnx: ")
    assert err.count("\n") == 1
    assert said in err
    assert "snapshot" not in out


def test_a_run_takes_both_files_from_the_registry_by_their_names(tmp_path):
    store, files = open_store(str(tmp_path / "registry")), {}
    for name, make in (("mine.onnx", smoothing_onnx), ("mine_stream.onnx", last_known_onnx)):
        files[name] = make(tmp_path / name)
        store.upload(files[name], challenger_key(name))
    params = {"challenger_model": "mine.onnx", "challenger_stream": "mine_stream.onnx", "trained_through": "never"}
    stream = planned(params, registry=tmp_path / "registry").imported.stream
    assert (stream.name, stream.path, stream.sha256) == ("mine_stream.onnx", None, sha256_of(files["mine_stream.onnx"]))


def test_a_stream_file_without_a_model_for_windows_is_refused():
    with pytest.raises(ConfigError, match="challenger_stream is about a model trained elsewhere"):
        planned({"challenger_stream": "mine_stream.onnx"})


@pytest.mark.slow
@pytest.mark.timeout(1800)
class TestTheImport:
    @pytest.fixture(scope="class")
    @classmethod
    def split(cls):
        return split_windows(index_windows(whole_days(12), 20, 15), SplitConfig())

    def judged(self, area, split, stream, champion=None):
        """The work area's comparison and the checks of the decision."""
        guest = smoothing_onnx(area / "guest.onnx")
        run = planned({"trained_through": "never"}, guest=guest, stream=stream)
        run = run.model_copy(update={"maximum_test_windows": 2000})
        return run, *judge_imported(area, split, run, champion)

    def test_a_formula_is_compared_as_a_stream_and_its_answers_are_published(self, tmp_path, split):
        stream = last_known_onnx(tmp_path / "formula.onnx")
        run, comparison, checks = self.judged(tmp_path, split, stream)
        assert comparison["stream"]["modes"] == {"challenger": "stream"}
        assert checks["stream_step_effect"]["verdict"] == "pass"
        assert not {"stream_parity", "stream_file"} & checks.keys()
        for target, figures in comparison["stream"]["models"]["challenger"]["per_target"].items():
            assert figures["mae"] == pytest.approx(comparison["models"]["last_value"]["per_target"][target]["mae"])
        assert len(read_document(tmp_path / "conformance.json", "conformance")["sequences"]["cases"]) >= 2
        told = read_document(tmp_path / f"model_metadata_{run.version}.json", "model_metadata")["streaming"]
        assert (told["onnx"], told["sha256"]) == (stream_onnx_name(run.version), sha256_of(stream))
        assert (tmp_path / stream_onnx_name(run.version)).read_bytes() == stream.read_bytes()

    def test_a_stream_that_depends_on_how_many_minutes_a_step_takes_does_not_pass(self, tmp_path, split):
        _, _, checks = self.judged(tmp_path, split, last_known_onnx(tmp_path / "formula.onnx", over_step=True))
        assert checks["stream_step_effect"]["verdict"] == "fail"

    def test_a_stream_that_cannot_begin_with_a_state_of_zeros_is_refused(self, tmp_path, split):
        stream = last_known_onnx(tmp_path / "formula.onnx", empty_state_breaks=True)
        with pytest.raises(ModelError, match="expected finite ones from a state of zeros"):
            self.judged(tmp_path, split, stream)

    def test_a_champion_is_compared_with_it_stream_with_stream(self, tmp_path, split):
        model = restless_model(split, std=0.05)
        properties = model_properties(model, version="v20260901_000000", snapshot_id="abc")
        files = tmp_path / "champion.onnx", tmp_path / "champion_stream.onnx"
        export_onnx(model, files[0], properties, stream=files[1])
        champion = challenger.Champion("v20260901_000000", *files)
        _, comparison, checks = self.judged(tmp_path, split, last_known_onnx(tmp_path / "formula.onnx"), champion)
        assert comparison["stream"]["modes"] == {"challenger": "stream", "champion": "stream"}
        assert checks["stream_champion_mean"]["sentence"].startswith("As a stream: ")


@pytest.mark.slow
@pytest.mark.timeout(3600)
def test_the_products_own_pair_trained_in_another_installation_is_judged_published_and_served_as_a_stream(
    tmp_path, cli
):
    for start in ("2026-09-01", "2026-10-01"):
        write_partitioned(FleetConfig(links=3, days=10, start=start, seed=5), tmp_path / "telemetry")
    (tmp_path / "policy.yaml").write_text(POLICY)
    small = ("--epochs", "1", "--windows-per-epoch", "2000", "--output-dir", tmp_path / "elsewhere")
    write_partitioned(FleetConfig(links=3, days=10, start="2026-09-01", seed=5), tmp_path / "september")
    code, _, err = cli("train", "--telemetry", tmp_path / "september", *small)
    assert code == 0, err
    (windows,) = (tmp_path / "elsewhere").glob("bandwidth_lstm_v*.onnx")
    (streams,) = (tmp_path / "elsewhere").glob("bandwidth_lstm_stream_v*.onnx")
    registry = tmp_path / "registry"
    places = ("--telemetry", tmp_path / "telemetry", "--registry", registry, "--work", tmp_path / "work")
    stated = ("--trained-through", "2026-09-30", "--policy", tmp_path / "policy.yaml")
    code, out, err = cli("judge", windows, "--stream", streams, "--month", "2026-10", *stated, *places)
    assert code == 0, out + err
    store = open_store(str(registry))
    version = read_production(store).version
    published = read_manifest(store, version).sha256
    assert published[onnx_name(version)] == sha256_of(windows)
    assert published[stream_onnx_name(version)] == sha256_of(streams)
    names = ["decision.json", "provenance.json", "model_card.html"]
    decision, provenance, card = fetch(store, version, names, tmp_path)
    checks = {check["id"]: check["verdict"] for check in read_document(decision, "decision")["checks"]}
    assert checks["stream_step_effect"] == "pass"
    inputs = read_document(provenance, "provenance")["predicate"]["buildDefinition"]["resolvedDependencies"]
    assert {f"model trained elsewhere: {file.name}" for file in (windows, streams)} <= {one["name"] for one in inputs}
    assert streams.name in card.read_text()
    assert "/elsewhere/" not in card.read_text() + provenance.read_text()
    assert deliver(store, tmp_path / "dest", trusted=None).version == version
    stream = Stream(tmp_path / "dest")
    assert stream.version == version  # not the one that the author's installation wrote into the file
    samples = np.ones((2, len(schema.FEATURES)), np.float32)
    answer = stream.step([(1, 2), (3, 4)], samples, columns=schema.FEATURES, at=1_793_880_000)
    assert answer.forecasts.version == version
    assert np.isfinite(answer.quantiles).all()
