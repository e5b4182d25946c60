"""`make check` runs the tests of what changed."""

import runpy
from pathlib import Path

import pytest

ROOT = Path(__file__).parents[2]
SCRIPT = runpy.run_path(str(ROOT / "scripts" / "changed_tests.py"))


@pytest.mark.parametrize(
    ("path", "tests"),
    [
        ("bwpredict/gate/check.py", ["tests/gate"]),
        ("bwpredict/config.py", ["tests/gate", "tests/pipeline"]),
        ("tests/gate/test_gate.py", ["tests/gate/test_gate.py"]),
        ("tests/helpers/models.py", []),
        ("dags/bandwidth_predictor_tune.py", ["tests/dags"]),
        ("benchmarks/year/candidates.py", ["tests/benchmarks"]),
        ("LICENSE", []),
    ],
)
def test_a_changed_file_names_the_tests_that_cover_it(path: str, tests: list[str]) -> None:
    assert list(SCRIPT["tests_of"](path)) == tests


def test_a_change_of_any_package_runs_tests() -> None:
    for package in (path.parent.name for path in (ROOT / "bwpredict").glob("*/__init__.py")):
        assert all((ROOT / tests).is_dir() for tests in SCRIPT["tests_of"](f"bwpredict/{package}/__init__.py")), package
