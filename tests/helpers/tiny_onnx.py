"""Tiny ONNX models with known answers."""

from pathlib import Path

import numpy as np
import onnx
from onnx import TensorProto, helper, numpy_helper


def last_value_onnx(
    path: Path,
    *,
    window_size: int = 20,
    features: int = 9,
    given: str = "input",
    taken: str = "output",
    targets: int = 4,
    batch: int | str = "batch",
    factor: float = 1.0,
    element: int = TensorProto.FLOAT,
    **properties: str,
) -> Path:
    """A model that answers with `factor` times the last sample's first columns."""
    nodes = [
        helper.make_node("Slice", [given, "starts", "ends", "axes"], ["last"]),
        helper.make_node("Squeeze", ["last", "axis"], ["flat"]),
        helper.make_node("Mul", ["flat", "factor"], [taken]),
    ]
    constants = {
        "starts": np.array([-1, 0]),
        "ends": np.array([window_size, targets]),
        "axes": np.array([1, 2]),
        "axis": np.array([1]),
        "factor": np.array(factor, helper.tensor_dtype_to_np_dtype(element)),
    }
    graph = helper.make_graph(
        nodes,
        "last_value",
        [helper.make_tensor_value_info(given, element, [batch, window_size, features])],
        [helper.make_tensor_value_info(taken, element, [batch, targets])],
        [numpy_helper.from_array(value, name) for name, value in constants.items()],
    )
    model = helper.make_model(graph, opset_imports=[helper.make_opsetid("", 17)], ir_version=9)
    for key, value in properties.items():
        model.metadata_props.add(key=key, value=value)
    onnx.checker.check_model(model)
    onnx.save(model, path)
    return path
