"""Nothing is reported to anybody: ONNX Runtime would make a device's id and a queue of events in the home folder."""

import os
import subprocess
import sys
from pathlib import Path

LOAD = "import {}; import onnxruntime; onnxruntime.get_available_providers()"


def test_onnx_runtime_keeps_no_device_id(tmp_path: Path):
    silenced = {"CI", "ORT_DISABLE_TELEMETRY"}
    environment = {name: value for name, value in os.environ.items() if name not in silenced}
    program = LOAD.format("bwpredict.inference.session")
    subprocess.run([sys.executable, "-c", program], env={**environment, "HOME": str(tmp_path)}, check=True)
    assert list(tmp_path.iterdir()) == []
