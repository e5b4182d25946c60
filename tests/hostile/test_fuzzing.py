"""Random and mutated bytes through every reader, for a bounded time: an error of the product's own, or a result."""

from __future__ import annotations

import io
import json
import tempfile
from collections.abc import Callable
from pathlib import Path

import pyarrow as pa
import pyarrow.parquet as pq
import pytest
from hypothesis import HealthCheck, example, given, settings
from hypothesis import strategies as st
from models import interval_onnx
from test_crafted_files import a_row

from bwpredict.datasets.external import read_data_path
from bwpredict.documents import decode_document
from bwpredict.errors import BwPredictError
from bwpredict.registry.manifest import delete_manifest, write_manifest

FUZZ = settings(max_examples=300, deadline=5_000, suppress_health_check=list(HealthCheck))


def mutated(seed: bytes) -> st.SearchStrategy[bytes]:
    """The seed with bytes changed, cut or inserted at a few places."""
    places = st.lists(st.tuples(st.integers(0, len(seed) - 1), st.binary(max_size=8), st.integers(0, 8)), max_size=6)

    def apply(edits: list[tuple[int, bytes, int]]) -> bytes:
        content = seed
        for at, inserted, removed in edits:
            content = content[:at] + inserted + content[at + removed :]
        return content

    return places.map(apply)


def only_its_own_errors(read: Callable[[], object]) -> None:
    try:
        read()
    except BwPredictError as error:
        said = str(error)
    else:
        return
    assert "\n" not in said


MANIFEST = write_manifest("manifest", {"version": "v20261101_000000", "month": "2026-10", "files": [
    {"name": "a.json", "size_bytes": 3, "sha256": "0" * 64}]}, name="seed")  # fmt: skip


@FUZZ
@given(st.one_of(st.binary(max_size=500), mutated(MANIFEST)))
@example(b'{"version": 1e999}')
def test_documents(content: bytes) -> None:
    only_its_own_errors(lambda: delete_manifest("manifest", content, name="fuzzed"))
    only_its_own_errors(lambda: decode_document("dsse_envelope", content, name="fuzzed"))


json_values = st.recursive(
    st.none() | st.booleans() | st.integers() | st.floats() | st.text(max_size=20),
    lambda inner: st.lists(inner, max_size=4) | st.dictionaries(st.text(max_size=10), inner, max_size=4),
    max_leaves=20,
)


@pytest.mark.slow
@FUZZ
@given(json_values, st.sampled_from(["production", "decision", "conformance", "provenance", "model_metadata"]))
def test_documents_of_any_structure(value: object, kind: str) -> None:
    only_its_own_errors(lambda: decode_document(kind, json.dumps(value).encode(), name="fuzzed"))


@pytest.mark.slow
@FUZZ
@given(data=st.data())
def test_onnx(data: st.DataObject) -> None:
    from bwpredict.inference.onnx_model import open_model

    with tempfile.TemporaryDirectory() as folder:
        seed = interval_onnx(Path(folder, "model.onnx"), factor=1).read_bytes()
        Path(folder, "model.onnx").write_bytes(data.draw(mutated(seed)))
        only_its_own_errors(lambda: open_model(Path(folder, "model.onnx"), 1))


def parquet_seed() -> bytes:
    buffer = io.BytesIO()
    pq.write_table(pa.Table.from_pylist([a_row(timestamp=1_790_812_800 + 60 * minute) for minute in range(40)]), buffer)
    return buffer.getvalue()


def csv_seed() -> bytes:
    rows = [a_row(timestamp=1_790_812_800 + 60 * minute) for minute in range(40)]
    return "\n".join([",".join(rows[0]), *(",".join(map(str, row.values())) for row in rows)]).encode()


@pytest.mark.slow
@pytest.mark.parametrize(("name", "seed"), [("t.parquet", parquet_seed()), ("t.csv", csv_seed())])
def test_telemetry(name: str, seed: bytes) -> None:
    @FUZZ
    @given(mutated(seed))
    @example(b"\x80" + seed)
    def through_the_reader(content: bytes) -> None:
        with tempfile.TemporaryDirectory() as folder:
            Path(folder, name).write_bytes(content)
            only_its_own_errors(lambda: read_data_path(Path(folder, name)))

    through_the_reader()


@pytest.mark.slow
def test_checkpoints(tmp_path: Path) -> None:
    from bwpredict.models.checkpoint import load_checkpoint, save_checkpoint
    from bwpredict.models.network import Contract, Forecaster

    save_checkpoint(Forecaster(Contract()), tmp_path / "seed.pth", {})
    seed = (tmp_path / "seed.pth").read_bytes()

    @settings(FUZZ, max_examples=60)
    @given(mutated(seed))
    def through_the_reader(content: bytes) -> None:
        (tmp_path / "fuzzed.pth").write_bytes(content)
        only_its_own_errors(lambda: load_checkpoint(tmp_path / "fuzzed.pth"))

    through_the_reader()
