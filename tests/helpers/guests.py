"""Models that were trained elsewhere: boosted trees, a formula and a zero-shot network, as files of the contract."""

from __future__ import annotations

import warnings
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import numpy as np
import onnx
from accuracy.zero_shot import fracast_model
from onnx import TensorProto, helper, numpy_helper

from bwpredict import schema
from bwpredict.datasets.windows import WindowIndex

WINDOW, HORIZON, RECENT = schema.WINDOW_SIZE, 15, 5
PLACES = np.arange(len(schema.FEATURES))[schema.TARGET_FEATURES]
SMALLEST_LEVEL = np.array([1.0, 0.1, 1e-4, 0.1], np.float32)
"""Changes are relative to a link's level, which is at least this."""
POLICY = """
name: test
minimum_average_correlation: null
maximum_average_mape_percent: null
minimum_accuracy_percent: null
minimum_skill: -0.5
within_link_correlation_margin: 0.5
maximum_latency_p99_ms: 1000
"""
"""Only the comparison with the champion decides."""
QUANTILES = {"lower": 0.05, "output": 0.5, "upper": 0.95}
PROPERTIES = {"horizon_minutes": "15", "interval_level": "0.9"}


class Graph:
    """Nodes, written one call each."""

    def __init__(self) -> None:
        self.nodes: list[Any] = []
        self.constants: list[Any] = []

    def __call__(self, operator: str, *inputs: str | np.ndarray, name: str = "", **attributes: Any) -> str:
        given = [one if isinstance(one, str) else self._constant(one) for one in inputs]
        name = name or f"value_{len(self.nodes)}"
        self.nodes.append(helper.make_node(operator, given, [name], **attributes))
        return name

    def _constant(self, value: np.ndarray) -> str:
        self.constants.append(numpy_helper.from_array(value, f"constant_{len(self.constants)}"))
        return self.constants[-1].name

    def save(self, path: Path, outputs: tuple[str, ...] = ("output", "lower", "upper"), **properties: str) -> Path:
        graph = helper.make_graph(
            self.nodes,
            "guest",
            [helper.make_tensor_value_info("input", TensorProto.FLOAT, ["batch", WINDOW, len(schema.FEATURES)])],
            [helper.make_tensor_value_info(name, TensorProto.FLOAT, ["batch", 4]) for name in outputs],
            self.constants,
        )
        opsets = [helper.make_opsetid("", 17), helper.make_opsetid("ai.onnx.ml", 3)]
        model = helper.make_model(graph, opset_imports=opsets, ir_version=9, producer_name="another team")
        helper.set_model_props(model, PROPERTIES | properties)
        onnx.save(model, path)
        return path


def smoothing_onnx(
    path: Path, *, last_value_share: float = 0.5, outputs: tuple[str, ...] = ("output", "lower", "upper"), **said: str
) -> Path:
    """A forecaster without any training: a share of the last value, the rest the window's mean; bounds of 3 times the
    window's mean absolute deviation around it.
    """
    graph = Graph()
    last, _, mean = _summaries(graph)
    middle = graph(
        "Add", graph("Mul", last, _number(last_value_share)), graph("Mul", mean, _number(1 - last_value_share))
    )
    targets = graph("Gather", "input", PLACES, axis=2)
    deviations = graph("Abs", graph("Sub", targets, graph("Unsqueeze", mean, np.array([1]))))
    width = graph("Mul", graph("ReduceMean", deviations, axes=[1], keepdims=0), _number(3))
    _bounded(graph, middle, graph("Sub", middle, width), graph("Add", middle, width))
    return graph.save(path, outputs, **said)


def lightgbm_onnx(path: Path, index: WindowIndex, *, rounds: int = 60, windows: int = 9000, **said: str) -> Path:
    """Trees of LightGBM, trained on windows of the index, with the table that they read made inside the graph."""
    import lightgbm

    index = index.spread(windows)
    inputs, actual = index.inputs(), index.targets()
    table, level = _table(inputs)
    graph = Graph()
    columns, level_name = _table_nodes(graph)
    forecasts = {}
    for name, quantile in QUANTILES.items():
        settings = {"objective": "quantile", "alpha": quantile, "num_leaves": 15, "verbose": -1, "seed": 1}
        settings |= {"deterministic": True, "num_threads": 1, "learning_rate": 0.1}
        changes = []
        for place in range(len(PLACES)):
            change = (actual[:, place] - level[:, place]) / level[:, place]
            booster = lightgbm.train(settings, lightgbm.Dataset(table, change), rounds)
            changes.append(graph("TreeEnsembleRegressor", columns, domain="ai.onnx.ml", **trees_of(booster)))
        forecasts[name] = graph("Add", level_name, graph("Mul", level_name, graph("Concat", *changes, axis=1)))
    _bounded(graph, forecasts["output"], forecasts["lower"], forecasts["upper"])
    return graph.save(path, **said)


def trees_of(booster: Any) -> dict[str, Any]:
    """Attributes of the operator TreeEnsembleRegressor that computes what the booster does, for finite columns."""
    nodes: dict[str, list[Any]] = {
        name: [] for name in ("treeids", "nodeids", "featureids", "modes", "values", "truenodeids", "falsenodeids")
    }
    leaves: dict[str, list[Any]] = {name: [] for name in ("treeids", "nodeids", "ids", "weights")}
    for tree, info in enumerate(booster.dump_model()["tree_info"]):
        for number, node, children in _numbered(info["tree_structure"]):
            leaf = "leaf_value" in node
            values = (tree, number, node.get("split_feature", 0), "LEAF" if leaf else "BRANCH_LEQ")
            values += (0.0 if leaf else _rounded_down(node["threshold"]), *children)
            for column, value in zip(nodes.values(), values, strict=True):
                column.append(value)
            if leaf:
                for column, value in zip(leaves.values(), (tree, number, 0, node["leaf_value"]), strict=True):
                    column.append(value)
    return {
        **{f"nodes_{name}": values for name, values in nodes.items()},
        **{f"target_{name}": values for name, values in leaves.items()},
        "n_targets": 1,
    }


def _numbered(root: dict[str, Any]) -> Iterator[tuple[int, dict[str, Any], tuple[int, int]]]:
    """Each node of a tree with its number and those of its children."""
    ahead, count = [(0, root)], 1
    while ahead:
        number, node = ahead.pop()
        if "leaf_value" in node:
            yield number, node, (0, 0)
            continue
        yield number, node, (count, count + 1)
        ahead += [(count, node["left_child"]), (count + 1, node["right_child"])]
        count += 2


def _rounded_down(threshold: float) -> float:
    """The largest float32 that is not above the threshold: a float32 is at most one if it is at most the other."""
    nearest = np.float32(threshold)
    return float(nearest if nearest <= threshold else np.nextafter(nearest, np.float32(-np.inf)))


def _number(value: float) -> np.ndarray:
    return np.array(value, np.float32)


def _summaries(graph: Graph, places: np.ndarray = PLACES) -> tuple[str, str, str]:
    """Last value, mean of the last minutes and mean of the window, of these columns."""
    columns = graph("Gather", "input", places, axis=2)
    last = graph("Gather", columns, np.array(WINDOW - 1), axis=1)
    recent = graph("Slice", columns, np.array([WINDOW - RECENT]), np.array([WINDOW]), np.array([1]))
    return last, *(graph("ReduceMean", part, axes=[1], keepdims=0) for part in (recent, columns))


def _table_nodes(graph: Graph) -> tuple[str, str]:
    everything = np.arange(len(schema.FEATURES))
    raw = _summaries(graph, everything)
    last, recent, mean = _summaries(graph)
    level = graph("Max", mean, SMALLEST_LEVEL)
    changes = [graph("Div", graph("Sub", part, level), level) for part in (last, recent)]
    return graph("Concat", *raw, *changes, axis=1), level


def _table(inputs: np.ndarray) -> tuple[np.ndarray, np.ndarray]:
    """As `_table_nodes`: [n, columns], and the level [n, targets]."""
    raw = inputs[:, -1], inputs[:, -RECENT:].mean(axis=1), inputs.mean(axis=1)
    level = np.maximum(raw[2][:, PLACES], SMALLEST_LEVEL)
    changes = [(part[:, PLACES] - level) / level for part in raw[:2]]
    return np.concatenate([*raw, *changes], axis=1), level


def _bounded(graph: Graph, middle: str, lower: str, upper: str) -> None:
    """The three outputs, in order and within physical bounds."""
    low, high = (np.array(bound, np.float32) for bound in schema.physical_bounds(schema.TARGETS))
    high = np.minimum(high, np.finfo(np.float32).max).astype(np.float32)
    values = {"output": middle, "lower": graph("Min", lower, middle), "upper": graph("Max", upper, middle)}
    for name, value in values.items():
        graph("Min", graph("Max", value, low), high, name=name)


def zero_shot_onnx(path: Path, *, interval_factor: float = 4.0) -> Path:
    """Fracast-0 with the weights of its package, which was never trained on links; each target is a series.

    The network is convolutional: it reads the window's steps in place of 2,048, since the others would be padding. Its
    outer quantiles are 0.1 and 0.9, too narrow for links; the interval is `interval_factor` times as wide.
    """
    import torch

    model, places = fracast_model(WINDOW), torch.from_numpy(PLACES)
    low, high = (
        torch.tensor(np.nan_to_num(bound, posinf=3e38), dtype=torch.float32)
        for bound in schema.physical_bounds(schema.TARGETS)
    )

    class Guest(torch.nn.Module):
        def __init__(self) -> None:
            super().__init__()
            self.core, self.head = model.core, model.head

        def forward(self, windows: torch.Tensor) -> tuple[torch.Tensor, ...]:
            rows = windows.index_select(2, places).transpose(1, 2).reshape(-1, WINDOW)
            lowest = rows.amin(1, keepdim=True)
            span = (rows.amax(1, keepdim=True) - lowest).clamp(min=1e-5)
            values, known = (rows - lowest) / span, torch.ones_like(rows, dtype=torch.bool)
            hidden = self.core(values[:, None], known[:, None], known[:, None].float())
            quantiles = self.head.forward_horizon(hidden, last_obs=values[:, -1:], ctx=values, ctx_mask=known)
            tenth, median, ninetieth = (
                (quantiles[:, HORIZON - 1, [0, 4, 8]] * span + lowest).reshape(-1, 4, 3).unbind(2)
            )
            lower = median - (median - tenth).clamp(min=0) * interval_factor
            upper = median + (ninetieth - median).clamp(min=0) * interval_factor
            return tuple(value.clamp(min=low, max=high) for value in (median, lower, upper))

    with warnings.catch_warnings():
        warnings.simplefilter("ignore", FutureWarning)  # the exporter uses deprecated functions of torch itself
        torch.onnx.export(
            Guest().eval(),
            (torch.ones(2, WINDOW, len(schema.FEATURES)),),
            path,
            dynamo=True,
            input_names=["input"],
            output_names=["output", "lower", "upper"],
            dynamic_shapes=({0: torch.export.Dim("batch")},),
            external_data=False,
            verbose=False,
        )
    exported = onnx.load(path)
    helper.set_model_props(exported, PROPERTIES)
    onnx.save(exported, path)
    return path
