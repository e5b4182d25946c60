"""The setup script and the lock: which Pythons are taken, and that requirements.txt is what pyproject.toml asks for."""

from __future__ import annotations

import os
import re
import shutil
import subprocess
import tomllib
from pathlib import Path
from typing import Any

import pytest
from packaging.requirements import Requirement

REPOSITORY = Path(__file__).resolve().parents[2]
PYTHONS = ("3.11.2", "3.12.0", "3.13.9")
ENVIRONMENT = {"sys_platform": "linux", "platform_python_implementation": "CPython", "implementation_name": "cpython"}


@pytest.fixture(scope="module")
def project() -> dict[str, Any]:
    return tomllib.loads((REPOSITORY / "pyproject.toml").read_text())["project"]


IN_ENVIRONMENTS_OF_THEIR_OWN = {"mlflow", "spark"}
"""Extras that do not fit beside the others, or are too large: `scripts/mlflow.sh`, `make test-spark`."""


@pytest.fixture(scope="module")
def lock() -> list[Requirement]:
    return [Requirement(line) for line in (REPOSITORY / "requirements.txt").read_text().splitlines() if line]


def pins(lock: list[Requirement], python: str) -> dict[str, str]:
    """Name and version of what the lock installs on one Python; a package that stands twice for it is an error."""
    here = ENVIRONMENT | {"python_full_version": python, "python_version": python.rpartition(".")[0]}
    found: dict[str, str] = {}
    for requirement in lock:
        if requirement.marker is None or requirement.marker.evaluate(here):
            assert requirement.name not in found, f"{requirement.name} stands twice for Python {python}"
            (specifier,) = requirement.specifier
            assert specifier.operator == "=="
            found[requirement.name] = specifier.version
    return found


@pytest.mark.parametrize("python", PYTHONS)
def test_the_lock_pins_every_direct_dependency_as_the_project_asks(
    project: dict[str, Any], lock: list[Requirement], python: str
) -> None:
    pinned = pins(lock, python)
    extras = project["optional-dependencies"]
    groups = [project["dependencies"], *(extras[name] for name in extras.keys() - IN_ENVIRONMENTS_OF_THEIR_OWN)]
    for direct in (Requirement(line) for group in groups for line in group):
        if direct.name != project["name"]:
            assert direct.specifier.contains(pinned[direct.name]), f"{direct}: the lock has {pinned[direct.name]}"


def test_the_lock_forces_no_cuda_package_on_a_machine_without_a_gpu(lock: list[Requirement]) -> None:
    assert [each.name for each in lock if re.match(r"nvidia-|cuda-|triton$", each.name)] == []
    (torch,) = (each for each in lock if each.name == "torch")
    assert "+" not in str(torch.specifier)


def test_the_lock_names_no_host_and_no_folder() -> None:
    text = (REPOSITORY / "requirements.txt").read_text()
    assert [word for word in ("://", " @ ", "--", "/") if word in text] == []


def test_the_image_has_every_extra_that_its_services_need() -> None:
    installs = [line for line in (REPOSITORY / "Dockerfile").read_text().splitlines() if '".' in line]
    assert len(installs) == 2
    assert all('".[all]"' in line for line in installs)


def setup_with_python(tmp_path: Path, version: str) -> subprocess.CompletedProcess[str]:
    """Run the setup script in a new folder, with an interpreter of that version that makes no environment."""
    (tmp_path / "scripts").mkdir()
    shutil.copy(REPOSITORY / "scripts" / "setup.sh", tmp_path / "scripts")
    python = tmp_path / "python"
    claim = tuple(int(part) for part in version.split("."))
    python.write_text(
        "#!/bin/sh\n"
        f'case "$2" in *version_info*) exec python3 -c "import sys; sys.version_info = {claim}; $2";;\n'
        "*ensurepip*) exit 0;; *) echo 'nothing is installed here' >&2; exit 1;; esac\n"
    )
    python.chmod(0o755)
    command = ["bash", str(tmp_path / "scripts" / "setup.sh")]
    environment = os.environ | {"PYTHON": str(python)}
    return subprocess.run(command, env=environment, capture_output=True, text=True, check=False)


@pytest.mark.parametrize("version", ["3.10.12", "3.11.1", "3.14.0"])
def test_a_python_that_is_not_supported_is_refused_in_one_sentence(tmp_path: Path, version: str) -> None:
    done = setup_with_python(tmp_path, version)
    assert done.returncode == 2
    assert done.stderr.startswith("Python 3.11.2 to 3.13 is needed")
    assert done.stderr.count("\n") == 1
    assert not (tmp_path / ".venv").exists()


@pytest.mark.parametrize("version", ["3.11.2", "3.12.0", "3.13.9"])
def test_a_supported_python_is_taken_and_a_failure_shows_the_end_of_the_log(tmp_path: Path, version: str) -> None:
    done = setup_with_python(tmp_path, version)
    assert done.returncode == 1
    assert done.stderr == "nothing is installed here\nSetup failed; the whole log is build/setup.log.\n"


def test_programs_that_make_starts_keep_their_compiled_modules() -> None:
    command = ["make", "--no-print-directory", "--eval", 'show: ; @echo "$$PYTHONDONTWRITEBYTECODE"', "show"]
    environment = os.environ | {"PYTHONDONTWRITEBYTECODE": "1"}
    assert subprocess.run(command, cwd=REPOSITORY, env=environment, capture_output=True, check=True).stdout == b"\n"
