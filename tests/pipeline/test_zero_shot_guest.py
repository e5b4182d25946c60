"""A pretrained network that has never seen a link goes through the gate: published where it wins, else refused."""

import json
from pathlib import Path

import numpy as np
import onnxruntime as ort
import pytest
from accuracy.zero_shot import fracast_model
from guests import HORIZON, PLACES, POLICY, WINDOW, smoothing_onnx, zero_shot_onnx

from bwpredict.registry.promotion import read_production
from bwpredict.registry.versions import read_manifest
from bwpredict.simulation.fleet import FleetConfig
from bwpredict.simulation.writer import write_partitioned
from bwpredict.store.factory import open_store
from bwpredict.store.files import sha256_of

pytestmark = [pytest.mark.slow, pytest.mark.timeout(900)]


@pytest.fixture(scope="module")
def folder(tmp_path_factory) -> Path:
    folder = tmp_path_factory.mktemp("zero_shot")
    for start in ("2026-09-01", "2026-10-01"):
        write_partitioned(FleetConfig(links=1, days=10, start=start, seed=5), folder / "telemetry")
    (folder / "policy.yaml").write_text(POLICY + "winkler_margin_percent: null")
    return folder


@pytest.fixture(scope="module")
def zero_shot(folder) -> Path:
    return zero_shot_onnx(folder / "zero_shot.onnx")


@pytest.fixture
def judge(cli, folder):
    """Judge a file of these months; returns the exit code, the document of the decision and the registry's store."""

    def run(file, month, registry):
        code, *_ = cli(
            *("judge", file, "--month", month, "--registry", folder / registry, "--trained-through", "never"),
            *("--telemetry", folder / "telemetry", "--work", folder / "work", "--policy", folder / "policy.yaml"),
        )
        decision = max((folder / "work").glob("*/decision.json"), key=lambda path: path.stat().st_mtime)
        return code, json.loads(decision.read_text()), open_store(str(folder / registry))

    return run


def test_the_file_forecasts_as_the_package_does(zero_shot):
    windows = np.random.default_rng(0).gamma(4, 100, (3, 20, 9)).astype(np.float32)
    (found,) = ort.InferenceSession(zero_shot).run(["output"], {"input": windows})
    series = windows[:, :, PLACES].transpose(0, 2, 1).reshape(-1, 20)
    expected = fracast_model(WINDOW).forecast_batch(series)[:, HORIZON - 1, 4].reshape(3, 4)
    expected[:, 2] = expected[:, 2].clip(0, 1)
    np.testing.assert_allclose(found, expected, rtol=1e-4)


def test_it_replaces_a_champion_that_overshoots(zero_shot, folder, judge):
    overshooting = smoothing_onnx(folder / "overshooting.onnx", last_value_share=1.6)
    assert judge(overshooting, "2026-09", "overshooting")[0] == 0
    code, decision, store = judge(zero_shot, "2026-10", "overshooting")
    assert (code, decision["outcome"]) == (0, "promote"), decision["reason"]
    version = read_production(store).version
    assert read_manifest(store, version).sha256[f"bandwidth_lstm_{version}.onnx"] == sha256_of(zero_shot)


def test_it_is_refused_where_a_formula_is_better(zero_shot, folder, judge):
    smoothing = smoothing_onnx(folder / "smoothing.onnx")
    assert judge(smoothing, "2026-09", "smoothing")[0] == 0
    code, decision, store = judge(zero_shot, "2026-10", "smoothing")
    assert (code, decision["outcome"]) == (1, "reject")
    assert "The error over all targets is shown to be above production's" in decision["reason"]
    version = read_production(store).version
    assert read_manifest(store, version).sha256[f"bandwidth_lstm_{version}.onnx"] == sha256_of(smoothing)
