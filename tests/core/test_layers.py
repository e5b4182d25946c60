"""The layers of the package, as `pyproject.toml` declares them for import-linter."""

import subprocess
import sys
import tomllib
from pathlib import Path

ROOT = Path(__file__).parents[2]
TOP = {"__init__", "__main__", "cli", "config", "schema", "errors"}


def test_every_package_keeps_to_its_layer():
    linter = Path(sys.executable).with_name("lint-imports")
    done = subprocess.run([linter, "--no-cache"], cwd=ROOT, capture_output=True, text=True, check=False)
    assert done.returncode == 0, done.stdout[-3000:]


def test_every_package_has_a_layer():
    contracts = tomllib.loads((ROOT / "pyproject.toml").read_text())["tool"]["importlinter"]["contracts"]
    declared = {name.strip() for layer in contracts[0]["layers"] for name in layer.split(":")}
    packages = {f"bwpredict.{path.parent.name}" for path in (ROOT / "bwpredict").glob("*/__init__.py")}
    assert packages <= declared


def test_the_top_of_the_package_holds_what_everything_else_rests_on():
    assert {path.stem for path in (ROOT / "bwpredict").glob("*.py")} <= TOP
