import json

import numpy as np
import onnx
import pytest
from tiny_onnx import last_value_onnx

from bwpredict import schema
from bwpredict.errors import ModelError
from bwpredict.evaluation.baselines import baseline_forecasts
from bwpredict.inference.onnx_model import forecast


@pytest.mark.parametrize("batch_size", [1000, 77, 1_000_000])
def test_forecasts_are_those_of_the_file_whatever_the_batch_size(tmp_path, index, batch_size):
    path = last_value_onnx(tmp_path / "model.onnx", factor=2)
    few = index.spread(1500)
    expected = 2 * baseline_forecasts(few)["last_value"]
    np.testing.assert_array_equal(forecast(path, few, batch_size=batch_size, threads=1), expected)


def test_forecasts_that_are_not_finite_are_handed_on(tmp_path, index):
    path = last_value_onnx(tmp_path / "model.onnx", factor=float("nan"))
    assert np.isnan(forecast(path, index.spread(10))).all()


def test_no_windows_give_no_forecasts(tmp_path, index):
    assert forecast(last_value_onnx(tmp_path / "model.onnx"), index.take(slice(0))).shape == (0, 4)


def test_matching_properties_are_accepted(tmp_path, index):
    path = last_value_onnx(tmp_path / "model.onnx", horizon_minutes="15", cadence_seconds="60", version="v1")
    assert len(forecast(path, index.spread(10))) == 10


@pytest.mark.parametrize(
    ("changes", "named"),
    [
        ({"window_size": 30}, ["30, 9", "'batch', 20, 9"]),
        ({"features": 8}, ["20, 8", "'batch', 20, 9"]),
        ({"targets": 3}, ["'batch', 3", "'batch', 4"]),
        ({"given": "window"}, ["'window'", "'input'"]),
        ({"taken": "forecast"}, ["'forecast'", "'output'"]),
        ({"batch": 1}, ["1, 20, 9", "'batch'"]),
        ({"element": onnx.TensorProto.DOUBLE}, ["tensor(double)", "tensor(float)"]),
        ({"horizon_minutes": "5"}, ["horizon_minutes 5", "15"]),
        ({"cadence_seconds": "240"}, ["cadence_seconds 240", "60"]),
        ({"horizon_minutes": "soon"}, ["horizon_minutes soon", "15"]),
    ],
)
def test_a_model_with_another_contract_is_refused_naming_what_was_found_and_expected(tmp_path, index, changes, named):
    path = last_value_onnx(tmp_path / "champion.onnx", **changes)
    with pytest.raises(ModelError) as error:
        forecast(path, index.spread(10))
    for text in ["champion.onnx", "expected", *named]:
        assert text in str(error.value)


@pytest.mark.parametrize("content", [b"", b"not a model", bytes(1000)])
def test_a_corrupt_file_is_refused_by_name(tmp_path, index, content):
    path = tmp_path / "broken.onnx"
    path.write_bytes(content)
    with pytest.raises(ModelError, match=r"broken\.onnx"):
        forecast(path, index.spread(10))


def test_a_model_that_takes_its_features_in_another_order_is_refused(tmp_path, index):
    features = json.dumps(sorted(schema.FEATURES))
    path = last_value_onnx(tmp_path / "model.onnx")
    model = onnx.load(path)
    model.metadata_props.add(key="features", value=features)
    onnx.save(model, path)
    with pytest.raises(ModelError, match="was made for features"):
        forecast(path, index.spread(10))


def test_half_a_file_is_refused_by_name(tmp_path, index):
    path = last_value_onnx(tmp_path / "half.onnx")
    path.write_bytes(path.read_bytes()[: path.stat().st_size // 2])
    with pytest.raises(ModelError, match=r"half\.onnx"):
        forecast(path, index.spread(10))


def test_a_missing_file_is_refused_by_name(tmp_path, index):
    with pytest.raises(ModelError, match=r"gone\.onnx: no such file"):
        forecast(tmp_path / "gone.onnx", index)
