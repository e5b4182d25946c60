"""What every benchmark shares: telemetry to measure on, the machine's limits, and how results are printed."""

from __future__ import annotations

import json
import os
import platform
import resource
import tempfile
import time
from collections.abc import Callable
from pathlib import Path
from typing import TYPE_CHECKING, Any

from rich.console import Console
from rich.table import Table

from bwpredict.datasets.external import read_data_path
from bwpredict.datasets.frame import TelemetryFrame
from bwpredict.simulation.fleet import FleetConfig
from bwpredict.simulation.writer import write_partitioned
from bwpredict.store.files import atomic_path

if TYPE_CHECKING:
    from bwpredict.models.network import Forecaster

RESULTS = Path(__file__).parent / "results"


def synthetic_frame(links: int, days: int, seed: int = 42, start: str = "2026-09-01") -> TelemetryFrame:
    """A calm fleet's telemetry, as the windows are cut from."""
    with tempfile.TemporaryDirectory() as folder:
        telemetry = Path(folder, "telemetry")
        write_partitioned(FleetConfig(links=links, days=days, start=start, seed=seed), telemetry)
        return read_data_path(telemetry)


def median_seconds(action: Callable[[], object], repeats: int = 5) -> float:
    """Median wall-clock seconds of an action, after one run to warm up."""
    action()
    durations = []
    for _ in range(repeats):
        began = time.perf_counter()
        action()
        durations.append(time.perf_counter() - began)
    return sorted(durations)[len(durations) // 2]


def matmul_gflops(size: int = 1536) -> float:
    """Measured float32 matrix product rate of this machine with torch's current threads, in GFLOP/s."""
    import torch

    left, right = torch.randn(size, size), torch.randn(size, size)
    return 2 * size**3 / median_seconds(lambda: left @ right, repeats=9) / 1e9


def flops_per_window(model: Forecaster) -> int:
    """Of one window from an empty state: 2 for each weight used, those of the LSTM once for each sample."""
    recurrent = sum(2 * weight.numel() for weight in model.lstm.parameters() if weight.dim() == 2)
    dense = sum(
        2 * weight.numel() for part in (model.head, model.direct, model.window_head) for weight in part.parameters()
    )
    return model.contract.window_size * recurrent + dense


def peak_memory_mb() -> float:
    """Peak resident memory of this process so far, in MB."""
    return resource.getrusage(resource.RUSAGE_SELF).ru_maxrss / 1024


def report(name: str, rows: list[dict[str, Any]], folder: Path = RESULTS) -> None:
    """Print `rows` as a table and as JSON, and keep them in `<name>.json` with the machine they ran on."""
    document = {"benchmark": name, "machine": machine(), "rows": rows}
    show(name, rows)
    print(json.dumps(document))
    write(folder / f"{name}.json", document)


def show(title: str, rows: list[dict[str, Any]]) -> None:
    """Print `rows` as a table, a column for each key of the first."""
    table = Table(title=title)
    for key in rows[0]:
        table.add_column(key, justify="left" if isinstance(rows[0][key], str) else "right")
    for row in rows:
        table.add_row(*(_cell(value) for value in row.values()))
    Console(width=160).print(table)


def machine() -> dict[str, Any]:
    """What the figures were measured on."""
    import torch

    return {
        "cpu": _cpu_name(),
        "cores": os.cpu_count(),
        "threads": torch.get_num_threads(),
        "accelerator": torch.cuda.get_device_name() if torch.cuda.is_available() else None,
        "python": platform.python_version(),
        "torch": torch.__version__,
    }


def write(path: Path, document: dict[str, Any]) -> Path:
    """Keep a document of results, atomically; makes the folder."""
    path.parent.mkdir(parents=True, exist_ok=True)
    with atomic_path(path) as temporary:
        temporary.write_text(json.dumps(document, indent=2, allow_nan=False) + "\n")
    return path


def _cell(value: object) -> str:
    if isinstance(value, float):
        return f"{value:,.4g}" if abs(value) < 1000 else f"{value:,.0f}"
    if value is None:
        return ""
    return f"{value:,}" if isinstance(value, int) else str(value)


def _cpu_name() -> str:
    for line in Path("/proc/cpuinfo").read_text().splitlines():
        if line.startswith("model name"):
            return line.partition(":")[2].strip()
    return platform.machine()
