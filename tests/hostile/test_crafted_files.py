"""Crafted files are refused in one sentence: nothing in them runs, and they fill neither memory nor time."""

from __future__ import annotations

import gzip
import json
import pickle
import zipfile
from pathlib import Path

import numpy as np
import onnx
import pyarrow as pa
import pyarrow.parquet as pq
import pytest
from in_a_cage import refusal
from onnx import TensorProto, helper, numpy_helper

from bwpredict.documents import decode_document
from bwpredict.errors import BwPredictError, DocumentError, ModelError, StoreError
from bwpredict.inference.guard import check_onnx
from bwpredict.inference.onnx_model import open_model
from bwpredict.inference.session import open_session
from bwpredict.registry.layout import MANIFEST_NAME, model_key
from bwpredict.registry.versions import read_manifest, verify_version
from bwpredict.store.factory import open_store

CHECKPOINT = "from bwpredict.models.checkpoint import load_checkpoint; load_checkpoint(path)"
SESSION = "from bwpredict.inference.session import open_session; open_session(path, threads=1)"
DOCUMENT = "from bwpredict.documents import read_document; read_document(path, 'comparison')"
TELEMETRY = "from bwpredict.datasets.external import read_data_path; read_data_path(path)"


class Payload:
    """Writes a file when it is unpickled."""

    def __init__(self, target: Path) -> None:
        self.target = target

    def __reduce__(self):
        return (Path.write_text, (self.target, "was here"))


@pytest.mark.slow
class TestCheckpoints:
    def test_a_pickle_payload_does_not_run(self, tmp_path: Path) -> None:
        import torch

        torch.save({"state": Payload(tmp_path / "ran")}, tmp_path / "evil.pth")
        assert "not a checkpoint of this model" in refusal(CHECKPOINT, tmp_path / "evil.pth")
        (tmp_path / "plain.pth").write_bytes(pickle.dumps(Payload(tmp_path / "ran")))
        assert "not a checkpoint of this model" in refusal(CHECKPOINT, tmp_path / "plain.pth")
        assert not (tmp_path / "ran").exists()

    def test_a_zip_bomb_is_not_unpacked(self, tmp_path: Path) -> None:
        with (
            zipfile.ZipFile(tmp_path / "bomb.pth", "w", zipfile.ZIP_DEFLATED, compresslevel=1) as archive,
            archive.open("archive/data/0", "w", force_zip64=True) as record,
        ):
            for _ in range(64):
                record.write(bytes(16 << 20))
        assert "compressed; expected a checkpoint" in refusal(CHECKPOINT, tmp_path / "bomb.pth")


def a_graph(nodes: list, initializers: dict, *, opset: int = 17) -> onnx.ModelProto:
    graph = helper.make_graph(
        nodes,
        "crafted",
        [helper.make_tensor_value_info("input", TensorProto.FLOAT, ["batch", 20, 9])],
        [helper.make_tensor_value_info("output", TensorProto.FLOAT, None)],
        [numpy_helper.from_array(value, name) for name, value in initializers.items()],
    )
    return helper.make_model(graph, opset_imports=[helper.make_opsetid("", opset)], ir_version=9)


def outer_product(n: int) -> onnx.ModelProto:
    nodes = [
        helper.make_node("MatMul", ["column", "row"], ["huge"]),
        helper.make_node("ReduceMax", ["huge"], ["output"]),
    ]
    return a_graph(nodes, {"column": np.ones((n, 1), np.float32), "row": np.ones((1, n), np.float32)})


def endless_loop() -> onnx.ModelProto:
    body = helper.make_graph(
        [helper.make_node("Identity", ["go"], ["on"])],
        "body",
        [
            helper.make_tensor_value_info("number", TensorProto.INT64, []),
            helper.make_tensor_value_info("go", TensorProto.BOOL, []),
        ],
        [helper.make_tensor_value_info("on", TensorProto.BOOL, [])],
    )
    loop = helper.make_node("Loop", ["", "true"], ["output"], body=body)
    return a_graph([loop], {"true": np.array(True)})


def filled(elements: int) -> onnx.ModelProto:
    return a_graph([helper.make_node("ConstantOfShape", ["size"], ["output"])], {"size": np.array([elements])})


def expanded(elements: int) -> onnx.ModelProto:
    nodes = [helper.make_node("Expand", ["one", "size"], ["huge"]), helper.make_node("ReduceMax", ["huge"], ["output"])]
    return a_graph(nodes, {"one": np.ones(1, np.float32), "size": np.array([elements])})


def external(location: str) -> onnx.ModelProto:
    model = a_graph([helper.make_node("Add", ["input", "weight"], ["output"])], {"weight": np.ones(9, np.float32)})
    (weight,) = model.graph.initializer
    weight.ClearField("raw_data")
    weight.data_location = TensorProto.EXTERNAL
    for key, value in {"location": location, "offset": "0", "length": "36"}.items():
        weight.external_data.add(key=key, value=value)
    return model


def trees(branches: int, **changes: object) -> onnx.ModelProto:
    """One tree that branches this many times, each time below the branch before: depth is what recursion dies of."""
    numbers = list(range(2 * branches + 1))
    branch = [number % 2 == 0 and number < 2 * branches for number in numbers]
    leaves = [number for number in numbers if not branch[number]]
    attributes = {
        "nodes_treeids": [0] * len(numbers),
        "nodes_nodeids": numbers,
        "nodes_featureids": [0] * len(numbers),
        "nodes_modes": ["BRANCH_LEQ" if one else "LEAF" for one in branch],
        "nodes_values": [0.5] * len(numbers),
        "nodes_truenodeids": [number + 1 if branch[number] else 0 for number in numbers],
        "nodes_falsenodeids": [number + 2 if branch[number] else 0 for number in numbers],
        "target_treeids": [0] * len(leaves),
        "target_nodeids": leaves,
        "target_ids": [0] * len(leaves),
        "target_weights": [1.0] * len(leaves),
        "n_targets": 1,
    } | changes
    node = helper.make_node("TreeEnsembleRegressor", ["columns"], ["output"], domain="ai.onnx.ml", **attributes)
    mean = helper.make_node("ReduceMean", ["input"], ["columns"], axes=[1], keepdims=0)
    model = a_graph([mean, node], {})
    model.opset_import.append(helper.make_opsetid("ai.onnx.ml", 3))
    return model


class TestTrees:
    def test_trees_may_be_loaded_and_run(self) -> None:
        session = open_session(trees(4000).SerializeToString(), threads=1)
        (answers,) = session.run(None, {"input": np.ones((2, 20, 9), np.float32)})
        assert answers.tolist() == [[1.0], [1.0]]

    @pytest.mark.parametrize(
        ("model", "said"),
        [
            (trees(100_000), "has a tree of 200,001 nodes"),
            (trees(1, n_targets=2**31), "an ensemble with 2,147,483,648 outputs"),
            (trees(1, n_targets=-1), "an ensemble with -1 outputs"),
        ],
        ids=["too deep to read", "rows too wide for memory", "less than nothing"],
    )
    def test_what_would_end_the_process_is_refused(self, tmp_path: Path, model: onnx.ModelProto, said: str) -> None:
        (tmp_path / "model.onnx").write_bytes(model.SerializeToString())
        assert said in refusal(SESSION, tmp_path / "model.onnx")

    @pytest.mark.parametrize(
        "changes",
        [
            {"nodes_truenodeids": [0, 0, 0]},
            {"nodes_truenodeids": [77, 0, 0]},
            {"nodes_featureids": [2**40, 0, 0]},
            {"target_ids": [0, 99]},
            {"nodes_values": [0.5]},
        ],
        ids=["a circle", "a child that is missing", "a column far outside", "an output far outside", "too few values"],
    )
    def test_trees_that_are_broken_are_refused_by_onnx_runtime(self, changes: dict[str, object]) -> None:
        with pytest.raises(ModelError, match="cannot load it"):
            open_model(trees(1, **changes).SerializeToString(), 1, name="crafted")

    def test_a_column_that_the_input_lacks_is_not_read(self) -> None:
        session = open_session(trees(1, nodes_featureids=[10**6, 0, 0]).SerializeToString(), threads=1)
        with pytest.raises(Exception, match="TreeEnsembleRegressor"):
            session.run(None, {"input": np.ones((2, 20, 9), np.float32)})

    def test_nothing_else_of_their_domain_may_be_used(self) -> None:
        node = helper.make_node("Scaler", ["input"], ["output"], domain="ai.onnx.ml")
        with pytest.raises(ModelError, match=r"uses the operator Scaler \(ai\.onnx\.ml\)"):
            check_onnx(a_graph([node], {}).SerializeToString(), name="crafted")

    def test_the_operator_of_trees_is_no_operator_of_another_domain(self) -> None:
        node = helper.make_node("TreeEnsembleRegressor", ["input"], ["output"], domain="com.microsoft")
        with pytest.raises(ModelError, match="uses the operator TreeEnsembleRegressor"):
            check_onnx(a_graph([node], {}).SerializeToString(), name="crafted")


def padded(size: int) -> onnx.ModelProto:
    nodes = [
        helper.make_node("Conv", ["input", "weight"], ["huge"], pads=[size, size]),
        helper.make_node("ReduceMax", ["huge"], ["output"]),
    ]
    return a_graph(nodes, {"weight": np.ones((1, 20, 1), np.float32)})


def lengthened(operator: str, length: int | None) -> onnx.ModelProto:
    """`Pad` or `DFT` along the batch, whose size nobody knows beforehand; the length is computed where it is None."""
    stored = np.array([length or 0] * 6) if operator == "Pad" else np.array(length or 0)
    nodes = [helper.make_node(operator, ["input", "length" if length is None else "stored"], ["huge"])]
    if length is None:
        nodes.insert(0, helper.make_node("Identity", ["stored"], ["length"]))
    nodes.append(helper.make_node("ReduceMax", ["huge"], ["output"]))
    return a_graph(nodes, {"stored": stored.astype(np.int64)})


def with_lengths(**changes: object) -> onnx.ModelProto:
    """A `Pad` whose stored lengths have these fields."""
    model = lengthened("Pad", 0)
    lengths = next(tensor for tensor in model.graph.initializer if tensor.name == "stored")
    for name, value in changes.items():
        setattr(lengths, name, value)
    return model


class TestOnnx:
    @pytest.mark.parametrize("location", ["/etc/passwd", "../../../../etc/passwd", "weights.bin"])
    def test_weights_in_another_file_are_refused(self, tmp_path: Path, location: str) -> None:
        (tmp_path / "weights.bin").write_bytes(bytes(36))
        (tmp_path / "model.onnx").write_bytes(external(location).SerializeToString())
        with pytest.raises(ModelError, match="keeps weights in another file"):
            check_onnx(tmp_path / "model.onnx", name="model.onnx")

    @pytest.mark.parametrize(
        ("model", "said"),
        [
            (endless_loop(), "uses the operator Loop"),
            (filled(10**12), "uses the operator ConstantOfShape"),
            (outer_product(10**6), "makes a tensor of 1,000,000,000,000 elements"),
            (expanded(10**12), "makes a tensor of 1,000,000,000,000 elements"),
            (padded(10**10), "makes a tensor of 20,000,000,009 elements"),
            (lengthened("Pad", 10**10), "uses the operator Pad with a length of 10,000,000,000"),
            (lengthened("Pad", None), "uses the operator Pad with a computed length"),
            (lengthened("DFT", 10**10), "uses the operator DFT with a length of 10,000,000,000"),
            (lengthened("Pad", -(2**63)), "uses the operator Pad with a length of 9,223,372,036,854,775,808"),
            (with_lengths(raw_data=b"abc"), "uses the operator Pad with a computed length"),
            (with_lengths(data_type=onnx.TensorProto.STRING), "uses the operator Pad with a computed length"),
        ],
        ids=[
            "a loop",
            "a constant of 10^12",
            "an outer product of 10^12",
            "one number, 10^12 times",
            "padding of 10^10",
            "a pad of 10^10",
            "a pad of a computed length",
            "a transform of 10^10",
            "a pad of the smallest integer",
            "a pad of lengths that are cut short",
            "a pad of texts",
        ],
    )
    def test_what_would_hang_or_fill_memory_is_refused(self, tmp_path: Path, model: onnx.ModelProto, said: str) -> None:
        (tmp_path / "model.onnx").write_bytes(model.SerializeToString())
        assert said in refusal(SESSION, tmp_path / "model.onnx")

    @pytest.mark.parametrize("content", [b"", b"\xff" * 100, b"PK\x03\x04", b'{"a": 1}'])
    def test_what_is_no_model_is_refused(self, tmp_path: Path, content: bytes) -> None:
        from bwpredict.inference.onnx_model import open_model

        (tmp_path / "model.onnx").write_bytes(content)
        with pytest.raises(ModelError):
            open_model(tmp_path / "model.onnx", 1)


class TestJson:
    @pytest.mark.parametrize(
        ("content", "said"),
        [
            (b'{"a": NaN}', "NaN is not JSON"),
            (b'{"a": -Infinity}', "-Infinity is not JSON"),
            (b'{"a": 1e999}', "1e999 is too large"),
            (b'{"a": 1, "a": 2}', "a key appears twice"),
            (b"\xff\xfe", "not a JSON document"),
            (b'"\x01"', "not a JSON document"),
            (b"9" * 5000, "not a JSON document"),
            (b"[" * 200_000, "not a JSON document"),
            (b'{"a":' * 100_000 + b"1" + b"}" * 100_000, "not a JSON document"),
            (b"[]", "not a valid comparison document"),
        ],
    )
    def test_what_is_no_document_is_refused(self, content: bytes, said: str) -> None:
        with pytest.raises(DocumentError, match=said):
            decode_document("comparison", content, name="crafted.json")

    def test_a_document_without_end_is_not_read(self, tmp_path: Path) -> None:
        with (tmp_path / "big.json").open("wb") as file:
            file.truncate(20 << 30)
        assert "has 21,474,836,480 bytes; expected a comparison document" in refusal(DOCUMENT, tmp_path / "big.json")

    def test_a_pointer_without_end_is_not_read(self, tmp_path: Path) -> None:
        with (tmp_path / "production.json").open("wb") as file:
            file.truncate(20 << 30)
        call = (
            "from bwpredict.registry.pointer import read_production; from bwpredict.store.factory import open_store;"
            " read_production(open_store(str(path)))"
        )
        assert "production.json: has 21,474,836,480 bytes" in refusal(call, tmp_path)


class TestKeys:
    @pytest.mark.parametrize(
        "name", ["../../../secret", "/etc/passwd", "a/../../b", "..", ".hidden", "a\\..\\b", "a\0b"]
    )
    def test_a_manifest_cannot_lead_outside_the_store(self, tmp_path: Path, name: str) -> None:
        store, version = open_store(str(tmp_path / "root")), "v20261101_000000"
        (tmp_path / "secret").write_text("secret")
        file = {"name": name, "size_bytes": 6, "sha256": "0" * 64}
        document = json.dumps({"version": version, "month": "2026-10", "files": [file]}).encode()
        store.write(model_key(version, MANIFEST_NAME), document, if_etag=None)
        with pytest.raises(BwPredictError) as refused:
            verify_version(store, version)
        assert "cannot be a key" in str(refused.value) or "not a valid manifest" in str(refused.value)

    @pytest.mark.parametrize("version", ["../v20261101_000000", "v20261101_000000/..", "", "v2026", "\n"])
    def test_a_version_that_is_a_path_is_refused(self, tmp_path: Path, version: str) -> None:
        with pytest.raises(BwPredictError, match="is not a version"):
            read_manifest(open_store(str(tmp_path)), version)

    @pytest.mark.parametrize("key", ["../x", "/x", "a//b", "a/./b", ".x"])
    def test_a_key_that_is_no_plain_path_is_refused(self, tmp_path: Path, key: str) -> None:
        with pytest.raises(StoreError, match="cannot be a key"):
            open_store(str(tmp_path)).read(key)


def a_row(**changes: object) -> dict:
    return {
        "timestamp": 1_790_812_800, "region": "eu", "az": "a", "link_type": "wan", "node_id": 1, "peer_id": 2,
        "rtt_ms": 20.0, "jitter_ms": 2.0, "throughput_mbps": 100.0, "bytes_tx": 1, "bytes_rx": 1, "packet_loss": 0.0,
        "retransmits": 0, "congestion_window": 1, "queue_depth": 1, "dwcp_mode": "standard",
        "network_tier": "Premium", "transport_type": "tcp", "time_of_day": 0, "day_of_week": 4, **changes,
    }  # fmt: skip


class TestTelemetry:
    @pytest.mark.slow
    def test_a_billion_rows_in_a_small_parquet_file_are_not_unpacked(self, tmp_path: Path) -> None:
        row = {name: a_row()[name] for name in ("timestamp", "node_id", "peer_id", "rtt_ms")}
        group = pa.table({name: np.full(1 << 22, value) for name, value in row.items()})
        with pq.ParquetWriter(tmp_path / "bomb.parquet", group.schema, compression="zstd") as writer:
            for _ in range(60):
                writer.write_table(group)
        assert (tmp_path / "bomb.parquet").stat().st_size < 8 << 20
        assert "251,658,240 rows; expected 200,000,000 at most" in refusal(TELEMETRY, tmp_path / "bomb.parquet")

    def test_a_footer_that_lies_is_refused(self, tmp_path: Path) -> None:
        pq.write_table(pa.table({name: [value] for name, value in a_row().items()}), tmp_path / "lie.parquet")
        content = (tmp_path / "lie.parquet").read_bytes()
        (tmp_path / "lie.parquet").write_bytes(content[:200] + b"\xff" * 200 + content[400:])
        assert "lie.parquet: " in refusal(TELEMETRY, tmp_path / "lie.parquet")

    @pytest.mark.slow
    def test_a_line_without_end_in_a_gzip_bomb_is_refused(self, tmp_path: Path) -> None:
        with gzip.open(tmp_path / "bomb.csv.gz", "wb", compresslevel=1) as file:
            file.write((",".join(a_row()) + "\n").encode())
            for _ in range(64):
                file.write(b"1" * (16 << 20))
        assert "cannot be read as CSV" in refusal(TELEMETRY, tmp_path / "bomb.csv.gz")

    @pytest.mark.parametrize(
        ("value", "said"),
        [
            ('=HYPERLINK("http://evil","x")', "a formula"),
            ("+cmd|' /C calc'!A0", "a formula"),
            ("-2+3+cmd|' /C calc'!A0", "a formula"),
            ("@SUM(1)", "a formula"),
            ("eu\x1b[31m", "control characters"),
            ("eu\x00", "control characters"),
            ("e" * 257, "more than 256 characters"),
        ],
    )
    def test_a_text_that_does_harm_elsewhere_is_refused(self, tmp_path: Path, value: str, said: str) -> None:
        root = tmp_path / "telemetry"
        root.mkdir()
        pq.write_table(pa.Table.from_pylist([a_row(region=value)]), root / "one.parquet")
        sentence = _pull_refusal(root, tmp_path)
        assert f"column 'region' holds {said}" in sentence
        assert "\x1b" not in sentence

    def test_plain_names_and_numbers_are_taken(self, tmp_path: Path) -> None:
        root = tmp_path / "telemetry"
        root.mkdir()
        rows = [
            a_row(region=name, timestamp=1_790_812_800 + 60 * place)
            for place, name in enumerate(["Zürich", "-", "-5", "eu-1"])
        ]
        pq.write_table(pa.Table.from_pylist(rows), root / "one.parquet")
        from datetime import UTC, datetime

        from bwpredict.telemetry import snapshot

        day = datetime.fromtimestamp(1_790_812_800, UTC)
        pulled = snapshot.take_snapshot(
            open_store(str(root)), "", day.replace(day=1, hour=0), day.replace(day=2, hour=0), tmp_path / "work"
        )
        assert pulled["rows"] == 4


def _pull_refusal(root: Path, tmp_path: Path) -> str:
    from datetime import UTC, datetime

    from bwpredict.telemetry import snapshot

    with pytest.raises(BwPredictError) as refused:
        snapshot.take_snapshot(
            open_store(str(root)),
            "",
            datetime(2026, 10, 1, tzinfo=UTC),
            datetime(2026, 10, 2, tzinfo=UTC),
            tmp_path / "work",
        )
    return str(refused.value)


def test_an_operator_with_a_name_of_two_lines_is_refused_in_one():
    model = a_graph([helper.make_node("So\nftmax", ["input"], ["output"])], {})
    said = r"^crafted: uses the operator So\\nftmax \(ai\.onnx\), which is not allowed in a model"
    with pytest.raises(ModelError, match=said):
        check_onnx(model.SerializeToString(), name="crafted")
