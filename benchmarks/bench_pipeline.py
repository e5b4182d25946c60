"""The pipeline by fleet size: rows/s, MB/s, peak memory and share of the machine's limit for each step.

Each step runs in a separate process. `peak MB` is the process's largest resident memory (the kernel's VmHWM), including
pages of mapped files, which the kernel reclaims when memory is short. `own MB` excludes them (RssAnon, sampled every
5 ms). The machine's limits are measured with each size: reading a file from the page cache, copying memory, a float32
matrix product. Results of other sizes and steps in the file do not change, so you can measure a large size alone, or
step by step with `--folder`. `results/pipeline.png` shows cost over size, log-log.
"""

from __future__ import annotations

import argparse
import json
import shutil
import subprocess
import sys
import tempfile
import time
from collections.abc import Callable, Iterator
from datetime import UTC, date, datetime, timedelta
from pathlib import Path
from typing import Any

FIRST_DAY = "2026-10-01"
FLOAT32_BYTES = 4
PREDICT_EVERY_MINUTES = 15
BACKWARD = 3
"""A training step costs three times the forward pass."""
MB, GIB = 1e6, 1 << 30
LOOK_SECONDS = 0.005


def generate(work: Path, links: int, days: int, windows: int) -> dict[str, Any]:
    from bwpredict.simulation.fleet import FleetConfig
    from bwpredict.simulation.writer import write_partitioned

    del windows
    shutil.rmtree(work / "store", ignore_errors=True)
    write_partitioned(FleetConfig(links=links, days=days, start=FIRST_DAY, seed=42), work / "store")
    return {"rows": links * days * 1440, "bytes": _size(work / "store")}


def snapshot(work: Path, links: int, days: int, windows: int) -> dict[str, Any]:
    from bwpredict.store.factory import open_store
    from bwpredict.telemetry.snapshot import take_snapshot

    del links, windows
    start = datetime.fromisoformat(FIRST_DAY).replace(tzinfo=UTC)
    document = take_snapshot(open_store(str(work / "store")), "", start, start + timedelta(days=days), work / "run")
    return {"rows": document["rows"], "bytes": _size(work / "store")}


def validate(work: Path, links: int, days: int, windows: int) -> dict[str, Any]:
    from bwpredict.documents import read_document
    from bwpredict.validation import verdict

    del links, days, windows
    pinned = read_document(work / "run/snapshot.json", "snapshot")
    result = verdict.validate(work / "run/telemetry", pinned, None, work / "run/validation")
    return {"rows": result["rows"], "bytes": _size(work / "run/telemetry")}


def frame(work: Path, links: int, days: int, windows: int) -> dict[str, Any]:
    """Writing the mapped files; later steps only open them."""
    del links, days, windows
    return {"rows": _frame(work).rows, "bytes": _size(work / "run/telemetry")}


def window(work: Path, links: int, days: int, windows: int) -> dict[str, Any]:
    from bwpredict.config import SplitConfig
    from bwpredict.datasets.windows import index_windows, split_windows

    del links, days, windows
    made = _frame(work)
    began = time.perf_counter()
    split_windows(index_windows(made, 20, 15), SplitConfig())
    seconds = time.perf_counter() - began
    return {"rows": made.rows, "bytes": made.values.nbytes + made.timestamps.nbytes + made.link.nbytes} | {
        "seconds": seconds
    }


def train(work: Path, links: int, days: int, windows: int) -> dict[str, Any]:
    """One epoch, on a budget of windows."""
    from common import flops_per_window

    from bwpredict.config import SplitConfig, TrainingConfig
    from bwpredict.datasets.windows import index_windows, split_windows
    from bwpredict.training import trainer

    del links, days
    split = split_windows(index_windows(_frame(work), 20, 15), SplitConfig())
    config = TrainingConfig(epochs=1, windows_per_epoch=windows, validation_windows=1000)
    trained = trainer.train(split, config, work / "model.pth")
    record = trained.history["records"][-1]
    seen, features = record["windows"], split["train"].frame.values.shape[1]
    flops = seen * BACKWARD * flops_per_window(trained.model)
    return {"rows": seen, "bytes": seen * 20 * features * FLOAT32_BYTES, "seconds": record["seconds"], "flops": flops}


def predict(work: Path, links: int, days: int, windows: int) -> dict[str, Any]:
    """The last day, a forecast every quarter of an hour; its rows are forecasts, its bytes the telemetry read."""
    from bwpredict.inference import batch
    from bwpredict.models.checkpoint import load_checkpoint
    from bwpredict.models.onnx_export import export_onnx, model_properties
    from bwpredict.store.factory import open_store

    del links, windows
    model = load_checkpoint(work / "model.pth")
    export_onnx(model, work / "model.onnx", model_properties(model, version="benchmark", snapshot_id="none"))
    shutil.rmtree(work / "forecasts", ignore_errors=True)
    last = date.fromisoformat(FIRST_DAY) + timedelta(days=days - 1)
    store, began = open_store(str(work / "store")), time.perf_counter()
    done = batch.predict(
        store, work / "model.onnx", work / "forecasts", days=(last, last), every_minutes=PREDICT_EVERY_MINUTES
    )
    read = sum(_size(work / f"store/date={day}") for day in (last - timedelta(days=1), last))
    return {"rows": done.forecasts, "bytes": read, "seconds": time.perf_counter() - began}


def limits(work: Path, links: int, days: int, windows: int) -> dict[str, Any]:
    import numpy as np
    from common import matmul_gflops, median_seconds

    del links, days, windows
    scratch = work / "scratch"
    scratch.write_bytes(bytes(GIB // 4))
    block = np.ones(GIB // 4, np.uint8)
    copy = np.empty_like(block)
    answer = {
        "disk read MB/s": scratch.stat().st_size / median_seconds(scratch.read_bytes, 3) / MB,
        "memcpy MB/s": block.nbytes / median_seconds(lambda: np.copyto(copy, block), 5) / MB,
        "matmul GFLOP/s": matmul_gflops(),
    }
    scratch.unlink()
    return answer | {"rows": 0, "bytes": 0}


STEPS: dict[str, tuple[Callable[[Path, int, int, int], dict[str, Any]], str]] = {
    "snapshot": (snapshot, "disk read"),
    "validate": (validate, "disk read"),
    "frame": (frame, "disk read"),
    "window": (window, "memcpy"),
    "train": (train, "matmul"),
    "predict": (predict, "disk read"),
}


def _frame(work: Path) -> Any:
    from bwpredict.datasets.memmap import mapped_frame
    from bwpredict.documents import read_document

    digest = read_document(work / "run/snapshot.json", "snapshot")["telemetry_sha256"]
    return mapped_frame(work / "run/telemetry", work / "run", digest)


def _size(folder: Path) -> int:
    return sum(path.stat().st_size for path in folder.rglob("*") if path.is_file())


def _memory_mb(process: int | str, figure: str) -> float:
    """A figure of the kernel's about a process; 0 where it has ended."""
    _, _, rest = Path(f"/proc/{process}/status").read_text().partition(figure)
    return int(rest.split()[0]) / 1024 if rest else 0.0


def run_here(step: str, work: Path, links: int, days: int, windows: int) -> None:
    """What a child process does: one step, and its figures as a line of JSON."""
    action = {"generate": generate, "limits": limits, **{name: each for name, (each, _) in STEPS.items()}}[step]
    began = time.perf_counter()
    answer = action(work, links, days, windows)
    print(json.dumps({"seconds": time.perf_counter() - began} | answer | {"peak MB": _memory_mb("self", "VmHWM:")}))


def in_a_process(step: str, work: Path, links: int, days: int, windows: int) -> dict[str, Any]:
    arguments = [str(each) for each in (work, links, days, windows)]
    command = [sys.executable, __file__, "--step", step, *arguments]
    with subprocess.Popen(command, stdout=subprocess.PIPE, text=True) as process:
        own_mb = 0.0
        while process.poll() is None:
            own_mb = max(own_mb, _memory_mb(process.pid, "RssAnon:"))
            time.sleep(LOOK_SECONDS)
        said = process.communicate()[0]
    if process.returncode:
        raise SystemExit(f"{step} of {links} links ended with {process.returncode}")
    answer: dict[str, Any] = json.loads(said.splitlines()[-1])
    return answer | {"own MB": own_mb}


def measure(links: int, steps: list[str], arguments: argparse.Namespace) -> Iterator[dict[str, Any]]:
    """A row for each step of one size, as it is measured."""
    with tempfile.TemporaryDirectory() as scratch:
        work = Path(arguments.folder or scratch, f"{links}-links-{arguments.days}-days")
        work.mkdir(parents=True, exist_ok=True)
        size = work, links, arguments.days, arguments.windows
        limit = in_a_process("limits", *size)
        if not (work / "generated").exists():
            in_a_process("generate", *size)
            (work / "generated").touch()
        for step in steps:
            yield _row(step, links, arguments.days, in_a_process(step, *size), limit)


def _row(step: str, links: int, days: int, found: dict[str, Any], limit: dict[str, Any]) -> dict[str, Any]:
    seconds, bound = found["seconds"], STEPS[step][1]
    unit, done = ("GFLOP/s", found["flops"] / 1e9) if "flops" in found else ("MB/s", found["bytes"] / MB)
    return {
        "links": links,
        "days": days,
        "step": step,
        "rows": found["rows"],
        "seconds": seconds,
        "rows/s": found["rows"] / seconds,
        "MB/s": found["bytes"] / MB / seconds,
        "peak MB": found["peak MB"],
        "own MB": found["own MB"],
        "limit": f"{bound} {limit[f'{bound} {unit}']:,.0f} {unit}",
        "share of limit %": 100 * done / seconds / limit[f"{bound} {unit}"],
    }


def merged(before: list[dict[str, Any]], rows: list[dict[str, Any]]) -> list[dict[str, Any]]:
    """The rows by days, links and step; those measured now in place of those measured before."""
    found = {(row["days"], row["links"], list(STEPS).index(row["step"])): row for row in (*before, *rows)}
    return [found[key] for key in sorted(found, key=lambda key: (-key[0], *key[1:]))]


def draw(rows: list[dict[str, Any]], path: Path) -> None:
    from matplotlib.figure import Figure

    figure = Figure(figsize=(10, 4), layout="constrained")
    for axes, key in zip(figure.subplots(1, 2), ("seconds", "own MB"), strict=True):
        for step in STEPS:
            chosen = [row for row in rows if row["step"] == step and row["days"] == rows[0]["days"]]
            axes.loglog([row["links"] for row in chosen], [row[key] for row in chosen], marker="o", label=step)
        axes.set(xlabel="links", ylabel=key)
        axes.grid(visible=True, which="major", alpha=0.3)
    axes.legend()
    path.parent.mkdir(parents=True, exist_ok=True)
    figure.savefig(path, dpi=120)


def main() -> None:
    """Measure each size in a folder of its own, and draw all that was measured."""
    from common import RESULTS, report

    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--links", type=int, nargs="+", default=[1, 10, 100, 1000])
    parser.add_argument("--days", type=int, default=30)
    parser.add_argument("--windows", type=int, default=20_000, help="windows of the training epoch")
    parser.add_argument("--folder", type=Path, help="folder that keeps the files, so that further steps can use them")
    parser.add_argument(
        "--steps", nargs="+", choices=list(STEPS), default=list(STEPS), help="steps to run, in this order"
    )
    parser.add_argument("--step", nargs=5, help=argparse.SUPPRESS)
    arguments = parser.parse_args()
    if arguments.step:
        step, work, *sizes = arguments.step
        run_here(step, Path(work), *(int(size) for size in sizes))
        return
    rows = [row for links in arguments.links for row in measure(links, arguments.steps, arguments)]
    kept = RESULTS / "pipeline.json"
    rows = merged(json.loads(kept.read_bytes())["rows"] if kept.exists() else [], rows)
    draw(rows, RESULTS / "pipeline.png")
    report("pipeline", rows)


if __name__ == "__main__":
    main()
