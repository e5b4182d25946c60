"""Whether an ONNX file may be given to ONNX Runtime: looked at as data, before anything in it is run.

A model can name files outside its folder as weights, loop forever, or ask for more memory than there is with a
few bytes. No model of this product needs any of this, wherever it was trained, so whatever could is refused.
"""

from __future__ import annotations

import math
from collections import Counter
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import numpy as np
import onnx
from onnx import numpy_helper

from bwpredict.core.limits import ONNX_BYTES, ONNX_ELEMENTS, ONNX_LENGTH, ONNX_NODES, TREE_NODES, TREE_OUTPUTS
from bwpredict.errors import ModelError

# fmt: off
OPERATORS = frozenset((
    "Abs", "Add", "And", "Asinh", "BatchNormalization", "Cast", "Ceil", "Clip", "Concat", "Constant", "Conv", "Cos",
    "DFT", "DequantizeLinear", "Div", "DynamicQuantizeLSTM", "DynamicQuantizeLinear", "Elu", "Equal", "Erf", "Exp",
    "Expand", "Flatten", "Floor", "GRU", "Gather", "GatherElements", "GatherND", "Gelu", "Gemm", "GlobalAveragePool",
    "Greater", "GreaterOrEqual", "HardSigmoid", "Identity", "IsInf", "IsNaN", "LSTM", "LayerNormalization",
    "LeakyRelu", "Less", "LessOrEqual", "Log", "MatMul", "MatMulInteger", "Max", "Mean", "Min", "Mul", "Neg", "Not",
    "Or", "Pad", "Pow", "QuantizeLinear", "RNN", "Reciprocal", "ReduceMax", "ReduceMean", "ReduceMin", "ReduceSum",
    "Relu", "Reshape", "Round", "Shape", "Sigmoid", "Sign", "Sin", "Slice", "Softmax", "Softplus", "Split", "Sqrt",
    "Squeeze", "Sub", "Sum", "Tanh", "TopK", "Transpose", "Unsqueeze", "Where",
))
# fmt: on
"""What a model may be made of: nothing that loops, branches or draws."""
SIZED = frozenset({"Pad", "DFT"})
"""Operators whose second input is the length of their result; the file must store it."""
TREES = "TreeEnsembleRegressor"
"""Boosted trees and forests, of the domain ai.onnx.ml; nothing else of that domain."""
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
        raise ModelError(f"{name}: is not an ONNX model ({type(error).__name__}).") from error
    if len(model.graph.node) > ONNX_NODES or len(model.functions) or len(model.training_info):
        raise ModelError(f"{name}: has {len(model.graph.node):,} nodes, functions or training; expected a plain graph.")
    for tensor in _tensors(model.graph):
        if tensor.data_location == onnx.TensorProto.EXTERNAL or tensor.external_data:
            raise ModelError(f"{name}: keeps weights in another file ({tensor.name!r}); expected all in the model.")
    stored = {tensor.name: tensor for tensor in model.graph.initializer}
    for node in model.graph.node:
        _check_node(node, name)
        if node.op_type in SIZED:
            _check_length(node, stored, name)
    _check_sizes(model, name)
    return content


def has_trees(path: Path) -> bool:
    """Whether the model's forecasts jump where an input crosses a threshold of a decision tree."""
    return any(node.op_type == TREES for node in onnx.load(path).graph.node)


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
    trees = (node.op_type, node.domain) == (TREES, "ai.onnx.ml")
    if not trees and (node.op_type not in OPERATORS or node.domain not in _DOMAINS):
        operator = f"{_shown(node.op_type)} ({_shown(node.domain) or 'ai.onnx'})"
        raise ModelError(f"{name}: uses the operator {operator}, which is not allowed in a model.")
    if trees:
        _check_trees(node, name)
    if any(attribute.HasField("g") or attribute.graphs for attribute in node.attribute):
        raise ModelError(f"{name}: contains a nested graph ({_shown(node.op_type)}); expected a plain graph.")


def _check_length(node: Any, stored: dict[str, Any], name: str) -> None:
    """`_check_sizes` sees no padding of a dimension that is known only when the model runs."""
    try:
        # As floats: the smallest integer has no absolute value among integers.
        lengths = numpy_helper.to_array(stored[node.input[1]]).astype(np.float64)
    except (IndexError, KeyError, TypeError, ValueError) as error:
        raise ModelError(
            f"{name}: uses the operator {node.op_type} with a computed length; expected a stored one."
        ) from error
    longest = np.abs(lengths).max(initial=0)
    if not longest <= ONNX_LENGTH:
        raise ModelError(
            f"{name}: uses the operator {node.op_type} with a length of {longest:,.0f};"
            f" expected {ONNX_LENGTH:,} at most."
        )


def _check_trees(node: Any, name: str) -> None:
    """Checks that ONNX Runtime leaves out; it refuses missing nodes, shared nodes and cycles."""
    attributes = {attribute.name: attribute for attribute in node.attribute}
    trees = attributes["nodes_treeids"].ints if "nodes_treeids" in attributes else ()
    largest = max(Counter(trees).values(), default=0)
    outputs = attributes["n_targets"].i if "n_targets" in attributes else 0
    if largest > TREE_NODES or not 0 < outputs <= TREE_OUTPUTS:
        raise ModelError(
            f"{name}: has a tree of {largest:,} nodes, or an ensemble with {outputs:,} outputs; expected at most"
            f" {TREE_NODES:,} nodes a tree, and 1 to {TREE_OUTPUTS:,} outputs."
        )


def _check_sizes(model: Any, name: str) -> None:
    """No tensor whose size is known beforehand may be huge: an outer product of two small ones may."""
    try:
        inferred = onnx.shape_inference.infer_shapes(model, data_prop=True)
    except Exception as error:  # C++ errors of several types
        raise ModelError(f"{name}: its shapes are inconsistent ({type(error).__name__}).") from error
    for value in inferred.graph.value_info:
        elements = math.prod(max(size.dim_value, 1) for size in value.type.tensor_type.shape.dim)
        if elements > ONNX_ELEMENTS:
            raise ModelError(f"{name}: makes a tensor of {elements:,} elements; expected {ONNX_ELEMENTS:,} at most.")
