"""Whether an ONNX file may be given to ONNX Runtime: looked at as data, before anything in it is run.

A model can name files outside its folder as weights, loop for ever, or ask for more memory than there is with a
few bytes. Ours does none of this, so whatever could is refused.
"""

from __future__ import annotations

import math
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import onnx

from bwpredict.core.limits import ONNX_BYTES, ONNX_ELEMENTS, ONNX_NODES
from bwpredict.errors import ModelError

# fmt: off
OPERATORS = frozenset((
    "Abs", "Add", "Asinh", "BatchNormalization", "Cast", "Clip", "Concat", "Constant", "Cos", "DequantizeLinear",
    "Div", "DynamicQuantizeLSTM", "DynamicQuantizeLinear", "Equal", "Erf", "Exp", "Expand", "Flatten", "Floor",
    "Gather", "GatherElements", "GatherND", "Gemm", "Greater", "GreaterOrEqual", "Identity", "LSTM",
    "LayerNormalization", "Less", "LessOrEqual", "Log", "MatMul", "MatMulInteger", "Max", "Mean", "Min", "Mul",
    "Neg", "Pow", "QuantizeLinear", "Reciprocal", "ReduceMax", "ReduceMean", "ReduceMin", "ReduceSum", "Relu",
    "Reshape", "Round", "Shape", "Sigmoid", "Sign", "Sin", "Slice", "Softmax", "Softplus", "Split", "Sqrt",
    "Squeeze", "Sub", "Sum", "Tanh", "TopK", "Transpose", "Unsqueeze", "Where",
))
# fmt: on
"""What a model may be made of: nothing that loops, branches, draws or pads."""
_DOMAINS = frozenset({"", "ai.onnx", "com.microsoft"})


def check_onnx(source: Path | bytes, *, name: str) -> bytes:
    """The bytes of the model, if they may be loaded; nothing outside the file is read.

    Raises:
        ModelError: says what in the file called `name` is refused.
    """
    content = _read(source, name)
    try:
        model = onnx.load_model_from_string(content)
    except Exception as error:  # protobuf raises types of its own, with no common base
        raise ModelError(f"{name}: is no ONNX model ({type(error).__name__}).") from error
    if len(model.graph.node) > ONNX_NODES or len(model.functions) or len(model.training_info):
        raise ModelError(f"{name}: has {len(model.graph.node):,} nodes, functions or training; expected a plain graph.")
    for tensor in _tensors(model.graph):
        if tensor.data_location == onnx.TensorProto.EXTERNAL or tensor.external_data:
            raise ModelError(f"{name}: keeps weights in another file ({tensor.name!r}); expected all in the model.")
    for node in model.graph.node:
        _check_node(node, name)
    _check_sizes(model, name)
    return content


def _read(source: Path | bytes, name: str) -> bytes:
    size = len(source) if isinstance(source, bytes) else source.stat().st_size
    if size > ONNX_BYTES:
        raise ModelError(f"{name}: has {size:,} bytes; expected at most {ONNX_BYTES:,}.")
    return source if isinstance(source, bytes) else source.read_bytes()


def _tensors(graph: Any) -> Iterator[Any]:
    yield from graph.initializer
    for sparse in graph.sparse_initializer:
        yield from (sparse.values, sparse.indices)
    for node in graph.node:
        for attribute in node.attribute:
            yield from (attribute.t, *attribute.tensors)
            yield from (attribute.sparse_tensor.values, attribute.sparse_tensor.indices)


def _shown(text: str) -> str:
    """A name out of the file, on one line and in ASCII."""
    return ascii(text)[1:-1]


def _check_node(node: Any, name: str) -> None:
    if node.op_type not in OPERATORS or node.domain not in _DOMAINS:
        operator = f"{_shown(node.op_type)} ({_shown(node.domain) or 'ai.onnx'})"
        raise ModelError(f"{name}: uses the operator {operator}, which none of ours does.")
    if any(attribute.HasField("g") or attribute.graphs for attribute in node.attribute):
        raise ModelError(f"{name}: has a graph within its graph ({_shown(node.op_type)}); expected a plain graph.")


def _check_sizes(model: Any, name: str) -> None:
    """No tensor whose size can be told beforehand may be huge: an outer product of two small ones may."""
    try:
        inferred = onnx.shape_inference.infer_shapes(model, data_prop=True)
    except Exception as error:  # C++ errors of several types
        raise ModelError(f"{name}: the shapes in it do not fit together ({type(error).__name__}).") from error
    for value in inferred.graph.value_info:
        elements = math.prod(max(size.dim_value, 1) for size in value.type.tensor_type.shape.dim)
        if elements > ONNX_ELEMENTS:
            raise ModelError(f"{name}: makes a tensor of {elements:,} elements; expected {ONNX_ELEMENTS:,} at most.")
