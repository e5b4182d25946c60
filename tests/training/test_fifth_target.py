"""The newcomer's test: a fifth target is a change of `schema.py` and of one JSON Schema, nothing else."""

import json
import os
import shutil
import subprocess
import sys
from pathlib import Path

import pytest

import bwpredict

HELPERS = Path(__file__).parents[1] / "helpers"
FOUR = '["throughput_mbps", "rtt_ms", "packet_loss", "jitter_ms"'
CHANGES = {
    "schema.py": {
        f"Literal{FOUR}]": f'Literal{FOUR}, "queue_depth"]',
        '("congestion_window", "queue_depth", "retransmits")': '("congestion_window", "retransmits")',
        '"packets queued, mean of the minute", 0)': '"packets queued, mean of the minute", 0, label="Queue")',
    },
    "documents/target.schema.json": {f"{FOUR}]": f'{FOUR}, "queue_depth"]'},
}
TRAINED_AND_SERVED = """
import json, sys, torch
from pathlib import Path
import numpy as np
from frames import whole_days
from bwpredict import schema
from bwpredict.config import SplitConfig, TrainingConfig
from bwpredict.datasets.windows import index_windows, split_windows
from bwpredict.inference.onnx_model import forecast_with_bounds
from bwpredict.inference.stream_model import open_stream
from bwpredict.models.network import predict
from bwpredict.models.onnx_export import export_onnx, model_properties
from bwpredict.training.intervals import calibrate
from bwpredict.training.trainer import train

torch.set_num_threads(1)
folder = Path(sys.argv[1])
split = split_windows(index_windows(whole_days(6, links=1), 20, 15), SplitConfig())
config = TrainingConfig(epochs=1, batch_size=64, windows_per_epoch=256, validation_windows=256)
model = train(split, config, folder / "best.pth").model
assert calibrate(model, split)
properties = model_properties(model, version="v20261101_000000", snapshot_id="abc")
export_onnx(model, folder / "windows.onnx", properties, stream=folder / "stream.onnx")
windows = split["test"].spread(64).inputs()
served = forecast_with_bounds(folder / "windows.onnx", split["test"].spread(64))
stream = open_stream(folder / "stream.onnx", threads=1)
print(json.dumps({
    "targets": schema.TARGETS,
    "features": schema.FEATURES,
    "windows": served.output.shape,
    "stream": stream.step(windows, stream.empty_state(64)).quantiles.shape,
    "parity": np.allclose(served.output, predict(model, windows), rtol=1e-3, atol=1e-5),
    "in_order": bool(((served.bounds.lower <= served.output) & (served.output <= served.bounds.upper)).all()),
}))
"""


@pytest.fixture(scope="module")
def package(tmp_path_factory):
    """A copy of the package with a fifth target, the depth of the queue."""
    folder = tmp_path_factory.mktemp("five")
    shutil.copytree(Path(bwpredict.__file__).parent, folder / "bwpredict", ignore=shutil.ignore_patterns("__pycache__"))
    for name, changes in CHANGES.items():
        path = folder / "bwpredict" / name
        text = path.read_text()
        for old, new in changes.items():
            assert old in text, (name, old)
            text = text.replace(old, new)
        path.write_text(text)
    return folder


@pytest.mark.slow
def test_a_fifth_target_is_trained_exported_and_forecast(package, tmp_path):
    environment = os.environ | {"PYTHONPATH": os.pathsep.join(map(str, (package, HELPERS)))}
    command = (sys.executable, "-c", TRAINED_AND_SERVED, str(tmp_path))
    done = subprocess.run(
        command, env=environment, capture_output=True, text=True, timeout=600, check=False, cwd=tmp_path
    )
    assert done.returncode == 0, done.stderr
    found = json.loads(done.stdout.splitlines()[-1])
    assert found["targets"][-1] == "queue_depth"
    assert len(found["features"]) == 9
    assert found["windows"] == [64, 5]
    assert found["stream"] == [64, 5, 3, 5]
    assert found["parity"]
    assert found["in_order"]
