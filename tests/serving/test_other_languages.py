"""The published vectors, checked by consumers in other languages: Node.js, C and Go, each in the real ONNX Runtime.

The model is a real network of the product's, exported and pulled as a consumer would.
"""

from __future__ import annotations

import json
import os
import shutil
import subprocess
from collections.abc import Iterator
from pathlib import Path

import numpy as np
import onnxruntime
import pytest
from models import metadata_of

from bwpredict import schema
from bwpredict.documents import read_document
from bwpredict.errors import ModelError
from bwpredict.registry.layout import CONFORMANCE_NAME, onnx_name, stream_onnx_name
from bwpredict.serving.conformance import GAP, check_folder, check_sequences, sequence_vectors, write_vectors
from bwpredict.serving.delivery import METADATA, MODEL, STREAM_MODEL
from bwpredict.serving.go_config import write_go_config

CLIENTS = Path(__file__).with_name("clients")
VERSION = "v20261101_000000"
NODE_PACKAGE = "onnxruntime-node@1.30.0"


def needed(program: str) -> str:
    """The program's path; where it is not installed the test is left out."""
    return shutil.which(program) or pytest.skip(f"{program} is not on this machine")


def run(*command: object, cwd: Path | None = None, **options) -> subprocess.CompletedProcess:
    done = subprocess.run([str(part) for part in command], cwd=cwd, capture_output=True, check=False, **options)
    assert done.returncode == 0, done.stdout[-3000:] + done.stderr[-3000:]
    return done


@pytest.fixture(scope="module")
def dest(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Path]:
    """A folder as `pull` leaves it, with a real network in it."""
    import torch
    from frames import whole_days

    from bwpredict.config import SplitConfig, TrainingConfig
    from bwpredict.datasets.windows import index_windows, split_windows
    from bwpredict.models.onnx_export import export_onnx, extreme_windows, model_properties
    from bwpredict.training.intervals import calibrate
    from bwpredict.training.trainer import new_model

    split = split_windows(index_windows(whole_days(6, links=1), 20, 15), SplitConfig())
    model = new_model(split["train"], TrainingConfig(), frozenset())
    sample = split["train"].spread(2000)
    for layer in (model.direct, model.head[-1]):
        torch.nn.init.normal_(layer.weight, std=0.1)
    dest = tmp_path_factory.mktemp("dest")
    calibrate(model, split)
    properties = model_properties(model, version=VERSION, snapshot_id="abc")
    path, stream = dest / MODEL, dest / STREAM_MODEL
    export_onnx(model, path, properties, stream=stream)
    (dest / METADATA).write_text(json.dumps(metadata_of(path, VERSION)))
    cases = {"real": split["validation"].spread(8).inputs(), **extreme_windows(sample.inputs())}
    minutes = split["validation"].frame.values[: 3 * 40].reshape(3, 40, -1)
    sequences = sequence_vectors(stream, minutes, relative=1e-3)
    write_vectors(dest / CONFORMANCE_NAME, path, cases, version=VERSION, relative=1e-3, sequences=sequences)
    return dest


@pytest.fixture(scope="module")
def vectors(dest: Path) -> dict:
    return read_document(dest / CONFORMANCE_NAME, "conformance")


def with_one_answer_changed(vectors: dict, path: Path) -> Path:
    changed = json.loads(json.dumps(vectors))
    changed["cases"][3]["outputs"]["upper"][1] *= 1.01
    path.write_text(json.dumps(changed))
    return path


def with_one_minute_changed(vectors: dict, path: Path) -> Path:
    changed = json.loads(json.dumps(vectors))
    changed["sequences"]["cases"][1]["outputs"]["lower"][37][0] *= 0.99
    path.write_text(json.dumps(changed))
    return path


def test_the_sequences_hold_in_python_and_need_the_state(dest: Path, vectors: dict, tmp_path: Path) -> None:
    check_sequences(dest / STREAM_MODEL, vectors)
    gap = vectors["sequences"]["cases"][-1]
    assert gap["case"] == "gap"
    assert all(value is None for row in gap["input"][GAP] for value in row)
    wrong = json.loads(with_one_minute_changed(vectors, tmp_path / "wrong.json").read_text())
    with pytest.raises(ModelError, match=r"throughput_mbps \(lower\) in the case 'real 2, minute 37'"):
        check_sequences(dest / STREAM_MODEL, wrong)
    forgetful = json.loads(json.dumps(vectors))
    for case in forgetful["sequences"]["cases"]:
        del case["input"][0]
        for values in case["outputs"].values():
            del values[0]
    with pytest.raises(ModelError, match="in the case 'real 1, minute 0'"):
        check_sequences(dest / STREAM_MODEL, forgetful)


def test_a_folder_whose_stream_gives_other_answers_is_refused(dest: Path, vectors: dict, tmp_path: Path) -> None:
    shutil.copy(dest / MODEL, tmp_path / onnx_name(VERSION))
    shutil.copy(dest / STREAM_MODEL, tmp_path / stream_onnx_name(VERSION))
    shutil.copy(dest / CONFORMANCE_NAME, tmp_path)
    check_folder(tmp_path, VERSION)
    with_one_minute_changed(vectors, tmp_path / CONFORMANCE_NAME)
    with pytest.raises(ModelError, match="in the case 'real 2, minute 37'"):
        check_folder(tmp_path, VERSION)


def runtime_library() -> Path:
    (library,) = (Path(onnxruntime.__file__).parent / "capi").glob("libonnxruntime.so.*")
    return library


@pytest.mark.slow
def test_the_vectors_hold_in_node(dest: Path, vectors: dict, tmp_path: Path) -> None:
    node, npm = needed("node"), needed("npm")
    run(npm, "install", NODE_PACKAGE, "--ignore-scripts", "--no-audit", "--no-fund", cwd=tmp_path)
    check = shutil.copy(CLIENTS / "check.mjs", tmp_path)
    done = run(node, check, dest / MODEL, dest / CONFORMANCE_NAME)
    assert json.loads(done.stdout)["compared"] == 2 * len(vectors["cases"]) * 3 * len(schema.TARGETS)

    wrong = with_one_answer_changed(vectors, tmp_path / "wrong.json")
    refused = subprocess.run([node, check, dest / MODEL, wrong], capture_output=True, text=True, check=False)
    assert refused.returncode == 1
    assert "real 4: upper rtt_ms" in refused.stderr

    check = shutil.copy(CLIENTS / "check_stream.mjs", tmp_path)
    done = run(node, check, dest / STREAM_MODEL, dest / CONFORMANCE_NAME)
    assert json.loads(done.stdout)["compared"] == 2 * 4 * 40 * 3 * len(schema.TARGETS)
    wrong = with_one_minute_changed(vectors, tmp_path / "wrong.json")
    refused = subprocess.run([node, check, dest / STREAM_MODEL, wrong], capture_output=True, text=True, check=False)
    assert refused.returncode == 1
    assert "real 2, minute 37: lower throughput_mbps" in refused.stderr


@pytest.mark.slow
def test_the_sequences_hold_in_c(dest: Path, vectors: dict, tmp_path: Path) -> None:
    program = tmp_path / "client"
    run(needed("gcc"), "-Wall", "-Werror", "-o", program, CLIENTS / "stream_client.c", "-ldl")
    sequences, floors = vectors["sequences"], vectors["tolerance"]["floors"]
    samples = np.array([case["input"] for case in sequences["cases"]], np.float32)
    for output in sequences["cases"][0]["outputs"]:
        expected = np.array([case["outputs"][output] for case in sequences["cases"]])
        allowed = sequences["relative"] * np.maximum(np.abs(expected), [floors[name] for name in schema.TARGETS])
        for batch in (samples, samples[-1:]):
            shape = (*batch.shape, len(schema.TARGETS), sequences["state_size"])
            done = run(program, runtime_library(), dest / STREAM_MODEL, output, *shape, input=batch.tobytes())
            found = np.frombuffer(done.stdout, np.float32).reshape(*batch.shape[:2], -1)
            assert (np.abs(found - expected[-len(batch) :]) <= allowed[-len(batch) :]).all()


@pytest.mark.slow
def test_the_vectors_hold_in_c(dest: Path, vectors: dict, tmp_path: Path) -> None:
    program = tmp_path / "client"
    run(needed("gcc"), "-Wall", "-Werror", "-o", program, CLIENTS / "client.c", "-ldl")
    cases, tolerance = vectors["cases"], vectors["tolerance"]
    floors = np.array([tolerance["floors"][name] for name in schema.TARGETS])
    windows = np.array([case["input"] for case in cases], np.float32)
    for output in cases[0]["outputs"]:
        expected = np.array([case["outputs"][output] for case in cases])
        allowed = tolerance["relative"] * np.maximum(np.abs(expected), floors)
        for batch in (windows, windows[:1]):
            done = run(program, runtime_library(), dest / MODEL, output, *batch.shape, 4, input=batch.tobytes())
            found = np.frombuffer(done.stdout, np.float32).reshape(-1, 4)
            assert done.stderr.decode().strip() == onnxruntime.__version__
            assert (np.abs(found - expected[: len(batch)]) <= allowed[: len(batch)]).all()


@pytest.fixture
def go_module(dest: Path, tmp_path: Path) -> Path:
    """A Go service with the generated constants, on a machine without a network."""
    needed("go")
    needed("gcc")
    write_go_config(
        tmp_path / "predictor" / "config.go",
        read_document(dest / METADATA, "model_metadata"),
        dest=dest,
        package="predictor",
    )
    (tmp_path / "go.mod").write_text("module example.com/client\n\ngo 1.19\n")
    for name in ("main.go", "onnx_client.h"):
        shutil.copy(CLIENTS / name, tmp_path)
    return tmp_path


@pytest.mark.slow
def test_a_go_service_with_the_generated_constants_gets_the_published_answers(
    dest: Path, vectors: dict, go_module: Path
) -> None:
    environment = os.environ | {"GOFLAGS": "-mod=mod", "GOPROXY": "off", "GOCACHE": str(go_module / ".cache")}
    assert run("gofmt", "-l", go_module).stdout == b""
    run("go", "vet", "./predictor", cwd=go_module, env=environment)
    run("go", "build", "-o", "client", ".", cwd=go_module, env=environment)
    client = [go_module / "client", runtime_library()]
    done = run(*client, dest / CONFORMANCE_NAME, dest / STREAM_MODEL)
    of_windows, of_sequences = len(vectors["cases"]), 2 * 40 * len(vectors["sequences"]["cases"])
    assert json.loads(done.stdout)["compared"] == (of_windows + of_sequences) * 3 * len(schema.TARGETS)

    wrong = with_one_answer_changed(vectors, go_module / "wrong.json")
    refused = subprocess.run([*client, wrong], capture_output=True, text=True, check=False)
    assert refused.returncode == 1
    assert "real 4: upper rtt_ms" in refused.stderr
    wrong = with_one_minute_changed(vectors, go_module / "wrong.json")
    refused = subprocess.run([*client, wrong, dest / STREAM_MODEL], capture_output=True, text=True, check=False)
    assert refused.returncode == 1
    assert "real 2, minute 37: lower throughput_mbps" in refused.stderr

    metadata = (dest / METADATA).read_text()
    try:
        document = json.loads(metadata)
        document["contract"]["horizon_minutes"] = 30
        (dest / METADATA).write_text(json.dumps(document))
        refused = subprocess.run([*client, dest / CONFORMANCE_NAME], capture_output=True, text=True, check=False)
    finally:
        (dest / METADATA).write_text(metadata)
    assert refused.returncode == 1
    assert f"model {VERSION}: horizon_minutes is 30, but this service was built for 15" in refused.stderr
