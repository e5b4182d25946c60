"""Tiny models with known answers, published as a run would publish them."""

from __future__ import annotations

import hashlib
import json
from dataclasses import replace
from pathlib import Path
from typing import Any

import numpy as np
import onnx
import torch
from challengers import NOW, a_challenger, published
from onnx import TensorProto, helper, numpy_helper
from sample_documents import sample_artifact, sample_comparison, sample_metadata, sample_run

from bwpredict import schema
from bwpredict.config import TrainingConfig
from bwpredict.datasets.windows import Split
from bwpredict.models.network import Forecaster
from bwpredict.models.onnx_export import export_onnx, model_properties, streaming_contract
from bwpredict.provenance.signing import load_signer, write_signed
from bwpredict.registry.layout import (
    CONFORMANCE_NAME,
    ENVELOPE_NAME,
    metadata_name,
    onnx_name,
    required_files,
    stream_onnx_name,
)
from bwpredict.serving.conformance import write_vectors
from bwpredict.store.base import Store
from bwpredict.store.files import sha256_of
from bwpredict.training.intervals import calibrate
from bwpredict.training.trainer import new_model

AT = 1_793_880_000
"""The newest sample's time in these tests."""
COMPARISON = sample_comparison()


def interval_onnx(path: Path, *, factor: float, window_size: int = 20, features: int = 9) -> Path:
    """A model that answers `factor` times the last sample's first columns, with bounds 10 % around that."""
    constants = {
        "starts": np.array([-1, 0]),
        "ends": np.array([window_size, 4]),
        "axes": np.array([1, 2]),
        "axis": np.array([1]),
        "factor": np.array(factor, np.float32),
        "below": np.array(0.9, np.float32),
        "above": np.array(1.1, np.float32),
    }
    nodes = [
        helper.make_node("Slice", ["input", "starts", "ends", "axes"], ["last"]),
        helper.make_node("Squeeze", ["last", "axis"], ["flat"]),
        helper.make_node("Mul", ["flat", "factor"], ["output"]),
        helper.make_node("Mul", ["output", "below"], ["lower"]),
        helper.make_node("Mul", ["output", "above"], ["upper"]),
    ]
    graph = helper.make_graph(
        nodes,
        "last_value",
        [helper.make_tensor_value_info("input", TensorProto.FLOAT, ["batch", window_size, features])],
        [helper.make_tensor_value_info(n, TensorProto.FLOAT, ["batch", 4]) for n in ("output", "lower", "upper")],
        [numpy_helper.from_array(value, name) for name, value in constants.items()],
    )
    onnx.save(helper.make_model(graph, opset_imports=[helper.make_opsetid("", 17)], ir_version=9), path)
    return path


def windows(count: int = 3, *, at: int = AT, level: float = 100.0) -> np.ndarray:
    """[count, 20, 9] that keep the contract, their newest sample at `at`."""
    raw = np.empty((count, 20, 9), np.float32)
    raw[:] = [level, 20, 0.01, 2, 0, 0, 30, 10, 5]
    raw[:, :, 4], raw[:, :, 5] = schema.CALENDAR.hours(np.array(at)), schema.CALENDAR.days(np.array(at))
    return raw


def metadata_of(onnx_path: Path, version: str, **contract: Any) -> dict[str, Any]:
    """Metadata of the model at `onnx_path`; `contract` changes its contract."""
    artifact = replace(
        sample_artifact(), onnx=onnx_path.name, sha256=sha256_of(onnx_path), size_bytes=onnx_path.stat().st_size
    )
    document = sample_metadata(COMPARISON, run=sample_run(version=version), artifact=artifact)
    del document["streaming"]  # it has no model for streams
    return document | {"version": version, "contract": document["contract"] | contract}


def publish_model(
    store: Store,
    folder: Path,
    version: str,
    *,
    champion: str | None = None,
    factor: float = 1.0,
    key: Path | None = None,
    vectors_of: float | None = None,
    **contract: Any,
) -> None:
    """Publish a tiny model as `version`; its answers are `factor` times the last values.

    `key` signs it; `vectors_of` makes conformance vectors of a model with that factor instead of its own.
    """
    challenger = a_challenger(folder, version, champion=champion)
    area = challenger.folder
    (area / "parity.json").unlink()  # no document, just bytes
    model = interval_onnx(area / onnx_name(version), factor=factor)
    (area / metadata_name(version)).write_text(json.dumps(metadata_of(model, version, **contract)))
    vectors = area / CONFORMANCE_NAME
    told = model if vectors_of is None else interval_onnx(folder / "told.onnx", factor=vectors_of)
    write_vectors(vectors, told, {"real": windows(3), "zeros": windows(1, level=0)}, version=version, relative=1e-3)
    document = json.loads(vectors.read_text()) | {"onnx_sha256": sha256_of(model)}
    vectors.write_text(json.dumps(document))
    challenger = challenger.decided(challenger_sha256=sha256_of(model))
    if key:
        names = [*required_files(version), CONFORMANCE_NAME]
        write_signed(area / ENVELOPE_NAME, a_statement(area, version, names), load_signer(str(key)))
    published(store, challenger, now=NOW)


def a_statement(folder: Path, version: str, names: list[str]) -> dict[str, Any]:
    """The least statement about the files."""
    return {
        "_type": "https://in-toto.io/Statement/v1",
        "subject": [{"name": name, "digest": {"sha256": sha256_of(folder / name)}} for name in names],
        "predicateType": "https://slsa.dev/provenance/v1",
        "predicate": {
            "buildDefinition": {
                "buildType": "test",
                "externalParameters": {"version": version},
                "resolvedDependencies": [],
            },
            "runDetails": {"builder": {"id": "test"}},
        },
    }


def restless_model(split: Split, *, std: float) -> Forecaster:
    """Scaled and calibrated, with random last layers, as after a bad training: states and samples matter."""
    model = new_model(split["train"], TrainingConfig(), frozenset())
    for layer in (model.head[-1], model.direct, model.window_head[-1]):
        torch.nn.init.normal_(layer.weight, std=std)
    assert calibrate(model, split)
    return model.eval()


def publish_stream_model(
    store: Store, folder: Path, version: str, model: Any, *, champion: str | None = None, in_manifest: bool = True
) -> Path:
    """Publish an untrained network with both of its files as `version`; the folder that they were published from.

    `in_manifest` False: the file for streams is in the metadata, but not among the published files.
    """
    challenger = a_challenger(folder, version, champion=champion)
    area = challenger.folder
    (area / "parity.json").unlink()  # no document, just bytes
    properties = model_properties(model, version=version, snapshot_id="abc")
    windows_file, stream_file = area / onnx_name(version), area / stream_onnx_name(version)
    _export_once(model, windows_file, stream_file, properties)
    metadata = metadata_of(windows_file, version)
    metadata["streaming"] = streaming_contract(model, version) | {"sha256": sha256_of(stream_file)}
    (area / metadata_name(version)).write_text(json.dumps(metadata))
    challenger = challenger.decided(challenger_sha256=sha256_of(windows_file))
    if not in_manifest:
        stream_file.unlink()
    published(store, challenger, now=NOW)
    return area


_EXPORTED: dict[str, tuple[bytes, bytes]] = {}


def _export_once(model: Forecaster, windows: Path, stream: Path, properties: dict[str, Any]) -> None:
    """As `export_onnx`, which takes seconds: graphs of the same weights are kept, and only their properties are new."""
    weights = b"".join(tensor.numpy(force=True).tobytes() for tensor in model.state_dict().values())
    key = hashlib.sha256(weights + repr(properties | {"version": "", "streaming": ""}).encode()).hexdigest()
    if key not in _EXPORTED:
        export_onnx(model, windows, {}, stream=stream)
        _EXPORTED[key] = windows.read_bytes(), stream.read_bytes()
    texts = {name: value if isinstance(value, str) else json.dumps(value) for name, value in properties.items()}
    for path, graph in zip((windows, stream), _EXPORTED[key], strict=True):
        document = onnx.load_from_string(graph)
        helper.set_model_props(document, texts)
        onnx.save(document, path)
