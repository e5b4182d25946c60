"""`scripts/gpu_check.py`: the same parts on the CPU, and without a card; with torch, NumPy, pandas, ONNX alone."""

import json
import os
import subprocess
import sys
from pathlib import Path

import pytest

from bwpredict.config import TrainingConfig

SCRIPT = Path(__file__).parents[2] / "scripts" / "gpu_check.py"
NOT_THERE = (
    "great_expectations", "boto3", "botocore", "matplotlib", "pydantic", "pydantic_settings", "pyarrow", "scipy",
    "jsonschema", "yaml", "onnxscript", "requests", "rich", "typer", "sklearn", "cryptography", "sqlalchemy",
    "tqdm",
)  # fmt: skip
BLOCKED = f"""
import sys

class Without:
    def __init__(self, finder):
        self.finder = finder

    def __getattr__(self, name):
        return getattr(self.finder, name)

    def find_spec(self, name, path=None, target=None):
        return None if name.partition(".")[0] in {NOT_THERE!r} else self.finder.find_spec(name, path, target)

sys.meta_path[:] = [Without(finder) for finder in sys.meta_path]
"""


@pytest.fixture(scope="module")
def bare(tmp_path_factory):
    """An environment in which Python finds nothing that a machine for training may lack."""
    folder = tmp_path_factory.mktemp("bare")
    (folder / "sitecustomize.py").write_text(BLOCKED)
    return os.environ | {"PYTHONPATH": str(folder), "CUDA_VISIBLE_DEVICES": ""}


def run(folder, environment, *options):
    output = folder / "gpu_check.json"
    done = subprocess.run(  # noqa: PLW1510
        [sys.executable, SCRIPT, "--output", output, *options],
        capture_output=True, text=True, timeout=280, env=environment, cwd=folder,
    )  # fmt: skip
    return done, json.loads(output.read_text())


@pytest.mark.slow
def test_all_parts_pass_on_the_cpu_with_torch_and_onnx_alone(bare, tmp_path):
    done, document = run(tmp_path, bare, "--device", "cpu")
    found = {part["part"]: part for part in document["parts"]}
    assert done.returncode == 0, done.stdout + done.stderr
    assert {name for name, part in found.items() if part["status"] != "passed"} == {"export"}
    assert found["export"]["says"] == "onnxscript is not installed: torch cannot export the ONNX files."
    assert found["rates and memory"]["figures"]["rows"][0]["sequences_per_second"] > 0
    assert found["CUDA graphs and torch.compile"]["figures"]["refusals"]["CUDA graph"].endswith("needs a card")


def test_without_a_card_it_says_what_it_would_do_and_passes(bare, tmp_path):
    done, document = run(tmp_path, bare)
    assert (done.returncode, document["device"]) == (0, None)
    assert {part["status"] for part in document["parts"]} == {"no card"}
    assert "would train in float32 on CPU and card" in done.stdout


def test_its_settings_are_the_defaults_of_a_training():
    import gpu_check

    sizes = {"epochs", "windows_per_epoch", "validation_windows"}
    defaults = TrainingConfig().model_dump()
    own = gpu_check.Settings().model_dump()
    assert {name for name, value in own.items() if defaults[name] != value} == sizes
