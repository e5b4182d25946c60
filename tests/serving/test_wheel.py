"""The wheel as a consumer installs it: without the extras, into a new environment outside the checkout."""

from __future__ import annotations

import json
import os
import subprocess
import sys
from pathlib import Path

import pytest
from challengers import V1
from models import publish_model

from bwpredict.store.factory import open_store

REPOSITORY = Path(__file__).resolve().parents[2]
DATA = {
    *("bwpredict/documents/decision.schema.json", "bwpredict/gate/policies/guide.yaml"),
    *("bwpredict/reports/model_card.html", "bwpredict/reports/model_card.css", "bwpredict/serving/go_config.go.j2"),
    *("bwpredict/validation/data_docs.css", "bwpredict/py.typed"),
}
HEAVY = {"torch", "great-expectations", "apache-airflow", "matplotlib", "optuna", "onnxscript", "scipy", "sqlalchemy"}

pytestmark = [pytest.mark.slow, pytest.mark.timeout(600)]


def run(*command: object, **environment: str) -> subprocess.CompletedProcess[str]:
    outside = {name: value for name, value in os.environ.items() if name != "PYTHONPATH"}
    return subprocess.run(
        [str(part) for part in command], capture_output=True, text=True, check=False, cwd="/", env=outside | environment
    )


@pytest.fixture(scope="module")
def wheel(tmp_path_factory: pytest.TempPathFactory) -> Path:
    folder = tmp_path_factory.mktemp("wheel")
    build = ("wheel", "--quiet", "--no-deps", "--no-build-isolation", "--wheel-dir", folder, REPOSITORY)
    done = run(sys.executable, "-m", "pip", *build)
    assert done.returncode == 0, done.stderr
    (built,) = folder.glob("bwpredict-*.whl")
    return built


@pytest.fixture(scope="module")
def consumer(wheel: Path, tmp_path_factory: pytest.TempPathFactory) -> Path:
    """The `bin` folder of an environment with nothing but the wheel and its base dependencies."""
    environment = tmp_path_factory.mktemp("consumer") / "venv"
    assert run(sys.executable, "-m", "venv", environment).returncode == 0
    uv = (
        "bash",
        REPOSITORY / "scripts" / "uv.sh",
        "pip",
        "install",
        "--quiet",
        "--python",
        environment / "bin" / "python",
    )
    done = run(*uv, "--constraint", REPOSITORY / "requirements.txt", wheel)
    assert done.returncode == 0, done.stderr
    return environment / "bin"


def test_the_wheel_has_schemas_policies_templates_and_styles(wheel: Path) -> None:
    names = run(sys.executable, "-m", "zipfile", "-l", wheel).stdout
    assert [name for name in DATA if name not in names] == []


def test_a_consumer_installs_nothing_that_only_training_needs(consumer: Path) -> None:
    listed = json.loads(run(consumer / "pip", "list", "--format", "json").stdout)
    packages = {each["name"] for each in listed} - {"pip", "setuptools", "bwpredict"}
    size = sum(path.stat().st_size for path in consumer.parent.rglob("*") if path.is_file() and not path.is_symlink())
    print(f"bwpredict without extras: {len(packages)} packages, {size / 1e6:.0f} MB with pip")
    assert packages & HEAVY == set()


def test_a_consumer_pulls_verifies_and_shows_a_published_model(consumer: Path, tmp_path: Path) -> None:
    registry = str(tmp_path / "registry")
    publish_model(open_store(registry), tmp_path, V1)
    bwpredict = consumer / "bwpredict"
    pulled = run(bwpredict, "pull", "--registry", registry, "--dest", tmp_path / "model")
    assert (pulled.returncode, pulled.stderr) == (0, "")
    assert V1 in run(bwpredict, "status", "--registry", registry).stdout
    assert run(bwpredict, "verify", "--registry", registry).returncode == 0
    program = "import sys; from bwpredict.serving.predictor import Predictor; print(Predictor(sys.argv[1]).version)"
    answered = run(consumer / "python", "-c", program, tmp_path / "model")
    assert (answered.stdout.strip(), answered.stderr) == (V1, "")


def test_a_command_of_an_extra_that_is_not_installed_names_the_extra(consumer: Path, tmp_path: Path) -> None:
    done = run(consumer / "bwpredict", "train", "--data-path", tmp_path, "--output-dir", tmp_path / "out")
    assert done.returncode == 2
    assert "pip install 'bwpredict[train]'" in done.stderr
    assert "Traceback" not in done.stderr
