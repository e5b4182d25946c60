"""Models that were trained elsewhere, from the file to the verdict: what is taken, what is refused, what is said."""

import re
from datetime import UTC, datetime

import numpy as np
import onnx
import onnxruntime
import pytest
from frames import make_frame, whole_days
from guests import PROPERTIES, Graph, smoothing_onnx, trees_of
from judging import judge_imported
from models import interval_onnx, restless_model

from bwpredict.config import ImportedModel, Settings, SplitConfig
from bwpredict.datasets.windows import index_windows, split_windows
from bwpredict.errors import ConfigError, ModelError
from bwpredict.models.onnx_export import export_onnx, model_properties
from bwpredict.pipeline import challenger
from bwpredict.pipeline.imported_model import import_model, unseen_windows
from bwpredict.pipeline.run_config import run_config
from bwpredict.pipeline.seen_days import days_seen
from bwpredict.registry.layout import challenger_key, onnx_name
from bwpredict.store.factory import open_store
from bwpredict.store.files import sha256_of

NOW = datetime(2026, 11, 24, 3, 4, 5, tzinfo=UTC)


def planned(params, registry="", challenger=None, by="anna"):
    return run_config(
        {"month": "2026-10", **params},
        run_id="manual__1",
        interval_start=None,
        run_after=NOW,
        now=NOW,
        settings=Settings(registry=str(registry)),
        code_version="abc",
        requested_by=by,
        challenger=challenger,
    )


@pytest.fixture
def guest(tmp_path):
    return smoothing_onnx(tmp_path / "mine.onnx")


class TestTheStatement:
    def test_a_run_names_the_file_and_who_says_what_it_has_seen(self, guest):
        run = planned({"trained_through": "2026-09-30", "trained_on": "20 links"}, challenger=guest)
        model = run.imported
        assert (model.name, model.sha256, model.size_bytes) == ("mine.onnx", sha256_of(guest), guest.stat().st_size)
        assert (model.trained_through, model.trained_on, model.stated_by) == ("2026-09-30", "20 links", "anna")

    def test_the_file_may_state_it_itself(self, tmp_path):
        guest = smoothing_onnx(tmp_path / "mine.onnx", trained_through="2026-08-31", trained_on="all links")
        model = planned({}, challenger=guest).imported
        assert (model.trained_through, model.trained_on, model.stated_by) == ("2026-08-31", "all links", "the file")

    def test_a_person_and_a_file_that_differ_are_refused(self, tmp_path):
        guest = smoothing_onnx(tmp_path / "mine.onnx", trained_through="2026-10-20")
        with pytest.raises(ConfigError, match="says '2026-10-20', but '2026-09-30' was given"):
            planned({"trained_through": "2026-09-30"}, challenger=guest)

    @pytest.mark.parametrize("day", ["yesterday", "2026-02-30", "20260930"])
    def test_what_is_no_day_is_refused(self, guest, day):
        with pytest.raises(ConfigError, match="expected YYYY-MM-DD"):
            planned({"trained_through": day}, challenger=guest)

    def test_a_model_that_has_seen_the_whole_month_is_refused_at_once(self, guest):
        with pytest.raises(ModelError, match=r"no day is left to judge it on"):
            planned({"trained_through": "2026-10-31"}, challenger=guest)

    def test_a_statement_without_a_model_is_refused(self):
        with pytest.raises(ConfigError, match="trained_through is about a model trained elsewhere"):
            planned({"trained_through": "2026-09-30"})


class TestDaysSeen:
    """Twenty days, of which the last ones test."""

    @pytest.fixture(scope="class")
    @classmethod
    def split(cls):
        frame = make_frame([list(range(20 * 48))], cadence_seconds=1800)
        return split_windows(index_windows(frame, 3, 30), SplitConfig())

    def judged(self, split, through):
        model = ImportedModel(name="m.onnx", sha256="0" * 64, size_bytes=1, trained_through=through)
        run = planned({}).model_copy(update={"imported": model})
        return unseen_windows(split, run.imported)

    def dates(self, split):
        first, past = split.boundaries["test"]
        return [str(day) for day in np.arange(first // 86400, past // 86400).astype("datetime64[D]")]

    def test_days_that_were_seen_are_left_out_by_name(self, split):
        days = self.dates(split)
        index, left_out = self.judged(split, days[1])
        assert left_out == days[:2]
        targets = index.frame.timestamps[index.target_rows] // 86400
        assert str(targets.min().astype("datetime64[D]")) == days[2]

    def test_a_model_that_has_seen_all_test_days_is_not_judged(self, split):
        with pytest.raises(ModelError, match="no day is left to judge it on"):
            self.judged(split, self.dates(split)[-1])

    @pytest.mark.parametrize("through", ["never", None])
    def test_without_days_seen_all_test_days_count(self, split, through):
        index, left_out = self.judged(split, through)
        assert (len(index), left_out) == (len(split["test"]), [])

    def test_a_published_guest_counts_as_having_seen_every_day_to_the_stated_one(self):
        seen = days_seen({"trained_elsewhere": {"counts_as_seen_through": "2026-09-30"}})
        days = np.arange("2025-01-01", "2026-11-01", dtype="datetime64[D]")
        assert np.isin(days.astype(np.int64), seen).tolist() == (days <= np.datetime64("2026-09-30")).tolist()
        assert not len(days_seen({"trained_elsewhere": {"counts_as_seen_through": None}}))


def without(name):
    properties = {key: value for key, value in PROPERTIES.items() if key != name}

    def make(path):
        model = onnx.load(smoothing_onnx(path))
        del model.metadata_props[:]
        onnx.helper.set_model_props(model, properties)
        onnx.save(model, path)

    return make


def custom_operator(path):
    graph = Graph()
    for name in ("output", "lower", "upper"):
        graph("Steal", "input", name=name, domain="evil")
    graph.save(path)


REFUSED = {
    "no model": (lambda path: path.write_bytes(b"PK\x03\x04 no model"), "is not an ONNX model"),
    "custom operator": (custom_operator, r"uses the operator Steal \(evil\)"),
    "no intervals": (lambda path: smoothing_onnx(path, outputs=("output",)), "lacks the outputs lower, upper"),
    "another window": (lambda path: interval_onnx(path, factor=1, window_size=30), "inputs are 'input'"),
    "other features": (lambda path: interval_onnx(path, factor=1, features=8), "inputs are 'input'"),
    "no horizon": (without("horizon_minutes"), "has no property horizon_minutes; expected 15"),
    "no level": (without("interval_level"), "has no property interval_level; expected 0.9"),
    "another horizon": (lambda path: smoothing_onnx(path, horizon_minutes="5"), "was made for horizon_minutes 5"),
    "another level": (lambda path: smoothing_onnx(path, interval_level="0.5"), "was made for interval_level 0.5"),
    "other targets": (lambda path: smoothing_onnx(path, targets='["rtt_ms"]'), "was made for targets"),
}


@pytest.mark.parametrize("case", REFUSED)
def test_a_file_that_does_not_keep_the_contract_ends_with_one_sentence_before_any_telemetry_is_read(
    case, tmp_path, cli
):
    make, said = REFUSED[case]
    make(tmp_path / "guest.onnx")
    code, out, err = cli(
        "judge", "guest.onnx", "--month", "2026-10", "--telemetry", "nowhere", "--trained-through", "never"
    )
    assert code == 2
    assert err.startswith("error: ")
    assert err.count("\n") == 1
    assert re.search(said, err), err
    assert "snapshot" not in out


def test_a_file_that_is_missing_is_named(cli):
    code, _, err = cli("judge", "gone.onnx", "--month", "2026-10")
    assert (code, "gone.onnx: cannot be read" in err) == (2, True)


class TestTheRegistrysFolder:
    def test_a_run_takes_a_challenger_from_the_registry_by_its_name(self, guest, tmp_path):
        store = open_store(str(tmp_path / "registry"))
        store.upload(guest, challenger_key("mine.onnx"))
        model = planned({"challenger_model": "mine.onnx", "trained_through": "never"}, registry=tmp_path / "registry")
        assert (model.imported.name, model.imported.path) == ("mine.onnx", None)
        assert model.imported.sha256 == sha256_of(guest)

    @pytest.mark.parametrize("name", ["../production.json", "/etc/passwd", "a/b.onnx", ".hidden.onnx", "passwd"])
    def test_nothing_but_a_file_of_that_folder_can_be_named(self, name, tmp_path):
        with pytest.raises(ConfigError, match="is not a name of a challenger"):
            planned({"challenger_model": name}, registry=tmp_path)

    def test_a_name_that_is_not_there_says_where_to_put_the_file(self, tmp_path):
        with pytest.raises(ConfigError, match=r"put the file into .* as challengers/mine\.onnx"):
            planned({"challenger_model": "mine.onnx"}, registry=tmp_path)


def test_the_trees_in_the_file_forecast_what_lightgbm_does():
    lightgbm = pytest.importorskip("lightgbm")
    rng = np.random.default_rng(0)
    columns = rng.normal(size=(2000, 5)).astype(np.float32)
    booster = lightgbm.train(
        {"verbose": -1, "num_threads": 1, "num_leaves": 15},
        lightgbm.Dataset(columns, columns[:, 0] * columns[:, 1] + np.abs(columns[:, 2])),
        30,
    )
    node = onnx.helper.make_node("TreeEnsembleRegressor", ["x"], ["y"], domain="ai.onnx.ml", **trees_of(booster))
    floats = onnx.TensorProto.FLOAT
    graph = onnx.helper.make_graph(
        [node],
        "trees",
        [onnx.helper.make_tensor_value_info("x", floats, [None, 5])],
        [onnx.helper.make_tensor_value_info("y", floats, [None, 1])],
    )
    opsets = [onnx.helper.make_opsetid("", 17), onnx.helper.make_opsetid("ai.onnx.ml", 3)]
    model = onnx.helper.make_model(graph, opset_imports=opsets, ir_version=9)
    (answers,) = onnxruntime.InferenceSession(model.SerializeToString()).run(None, {"x": columns})
    np.testing.assert_allclose(answers[:, 0], booster.predict(columns), rtol=1e-4, atol=1e-5)


@pytest.mark.slow
@pytest.mark.timeout(900)
class TestTheImport:
    """What the steps do between the plan and the decision, on some days of two links."""

    @pytest.fixture(scope="class")
    @classmethod
    def split(cls):
        return split_windows(index_windows(whole_days(12), 20, 15), SplitConfig())

    def judged(self, tmp_path, split, guest, champion=None):
        """The comparison and the decision."""
        run = planned({"trained_through": "never"}, challenger=guest).model_copy(update={"maximum_test_windows": 2000})
        area = tmp_path / "area"
        area.mkdir()
        return judge_imported(area, split, run, champion)

    def test_without_a_champion_there_is_no_comparison_of_streams(self, tmp_path, split, guest):
        comparison, checks = self.judged(tmp_path, split, guest)
        assert comparison["stream"] is None
        assert not [name for name in checks if name.startswith("stream_champion")]
        assert "No model is compared as a stream." in checks["stream_file"]["sentence"]
        assert checks["batch_effect"]["verdict"] == "pass"

    def test_a_champion_that_streams_is_compared_as_a_stream_and_the_guest_over_windows(self, tmp_path, split, guest):
        model = restless_model(split, std=0.05)
        properties = model_properties(model, version="v20260901_000000", snapshot_id="abc")
        files = tmp_path / "windows.onnx", tmp_path / "stream.onnx"
        export_onnx(model, files[0], properties, stream=files[1])
        comparison, checks = self.judged(tmp_path, split, guest, challenger.Champion("v20260901_000000", *files))
        assert comparison["stream"]["modes"] == {"challenger": "windows", "champion": "stream"}
        own, over_windows = (one["models"]["challenger"] for one in (comparison["stream"], comparison))
        assert own == over_windows
        assert comparison["stream"]["models"]["champion"] != comparison["models"]["champion"]
        check = checks["stream_champion_mean"]
        assert check["sentence"].startswith("For consumers of streams: ")
        assert check["sentence"].endswith("The challenger has no model for streams; it is compared on windows.")
        assert "stream_parity" not in checks

    def test_forecasts_that_are_not_finite_are_refused(self, tmp_path, split):
        graph = Graph()
        mean = graph("ReduceMean", graph("Gather", "input", np.arange(4), axis=2), axes=[1], keepdims=0)
        for name in ("output", "lower", "upper"):
            graph("Div", mean, mean, name=name)  # 0 / 0 for a window of zeros
        with pytest.raises(ModelError, match=r"guest\.onnx: forecasts are not finite .* 'zeros'"):
            self.judged(tmp_path, split, graph.save(tmp_path / "guest.onnx"))

    def test_forecasts_that_depend_on_the_batch_do_not_pass(self, tmp_path, split):
        graph = Graph()
        mean = graph("ReduceMean", graph("Gather", "input", np.arange(4), axis=2), axes=[1], keepdims=0)
        shared = graph("Add", mean, graph("ReduceMean", mean, axes=[0], keepdims=1))
        for name in ("output", "lower", "upper"):
            graph("Min", shared, np.array([1e9, 1e9, 1, 1e9], np.float32), name=name)
        _, checks = self.judged(tmp_path, split, graph.save(tmp_path / "guest.onnx"))
        assert checks["batch_effect"]["verdict"] == "fail"

    def test_a_file_that_changed_since_the_plan_is_refused(self, tmp_path, split, guest):
        run = planned({"trained_through": "never"}, challenger=guest)
        smoothing_onnx(guest, last_value_share=0.1)
        with pytest.raises(ModelError, match="is not the file that this run was started with"):
            import_model(tmp_path, split, run, run.imported)
        assert not (tmp_path / onnx_name(run.version)).exists()
