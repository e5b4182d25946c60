"""Prove the GPU path: training in float32 and bfloat16, rates, memory, ranks, a kill, and the export, within 8 minutes.

    python scripts/gpu_check.py --output gpu_check.json    # a machine with a card
    python scripts/gpu_check.py --device cpu               # the same parts, small, on the CPU

It runs from a checkout, without network or installation, on Python 3.12 with torch, NumPy, pandas, ONNX and ONNX
Runtime; the export also needs onnxscript. Without a card it says what it would do. Exit code 1: a part failed.
"""

from __future__ import annotations

import argparse
import json
import os
import platform
import signal
import socket
import subprocess
import sys
import tempfile
import time
from collections.abc import Callable
from dataclasses import asdict, dataclass, replace
from pathlib import Path
from types import SimpleNamespace
from typing import Any

ROOT = str(Path(__file__).resolve().parents[1])
sys.path.insert(0, ROOT)
os.environ["PYTHONPATH"] = os.pathsep.join(filter(None, (ROOT, os.environ.get("PYTHONPATH"))))
os.environ["TQDM_DISABLE"] = "1"  # the machine may lack tqdm

import numpy as np  # noqa: E402
import pandas as pd  # noqa: E402
import torch  # noqa: E402
import torch.distributed as dist  # noqa: E402

from bwpredict import schema  # noqa: E402
from bwpredict.datasets.frame import TelemetryFrame  # noqa: E402
from bwpredict.datasets.sequences import Sequences  # noqa: E402
from bwpredict.datasets.windows import Split, index_windows, split_windows  # noqa: E402
from bwpredict.errors import BwPredictError  # noqa: E402
from bwpredict.models.network import Forecaster, predict_all  # noqa: E402
from bwpredict.training.batches import CHUNK, Sampler  # noqa: E402
from bwpredict.training.checkpointing import Resume, identity  # noqa: E402
from bwpredict.training.distributed.process_group import ProcessGroup  # noqa: E402
from bwpredict.training.loop import STREAMS_SHARE, Stage, run_stage  # noqa: E402
from bwpredict.training.loss import stream_loss, window_loss  # noqa: E402
from bwpredict.training.progress import Progress, Record, target_weights  # noqa: E402
from bwpredict.training.trainer import new_model  # noqa: E402

BUDGET_SECONDS = 480
SPARE_SECONDS = 60
"""No part begins when less is left."""
CHILD_SECONDS = 120
KILLED_AFTER_UPDATES = 4
"""Of 6."""
LARGEST_LOSS_DIFFERENCE = {"untrained": 0.002, "float32": 0.05, "bfloat16": 0.05}
"""Relative to the CPU's. Devices draw other dropout masks, so trained models differ more than an untrained one."""
LARGEST_FORECAST_DIFFERENCE = 0.02
"""Of one model on two devices, in the targets' MAPE floors or relative; a card's LSTM computes in TF32."""

Figures = dict[str, Any]


@dataclass(frozen=True)
class Settings:
    """What the training loop reads of a `bwpredict.config.TrainingConfig`, which needs pydantic."""

    epochs: int = 3
    batch_size: int = 512
    windows_per_epoch: int = 512 * 20
    validation_windows: int = 1000
    learning_rate: float = 3e-3
    window_size: int = schema.WINDOW_SIZE
    horizon_minutes: int = schema.HORIZON_MINUTES
    seed: int = 42
    patience_epochs: int = 4
    gradient_clip_norm: float = 1.0
    weight_decay: float = 1e-4
    precision: str = "float32"
    architecture: str = "compact"
    raw_error_share: float = 0.4
    target_smoothing: int = 2
    ranks: int = 1

    def model_dump(self, **_: str) -> Figures:
        """As pydantic's."""
        return asdict(self)


SMALL = Settings(epochs=2, batch_size=64, windows_per_epoch=192, validation_windows=64)


class LeftOutError(Exception):
    """A part cannot be done here; the sentence says why."""


@dataclass
class Check:
    """What the parts share."""

    device: torch.device
    settings: Settings
    small: bool
    folder: Path
    split: Split
    cpu_losses: list[Record]
    model: Forecaster | None = None
    """Trained on the device, in float32."""

    @property
    def batch_sizes(self) -> tuple[int, ...]:
        """To measure, ascending."""
        return (32, 64) if self.small else (512, 2048, 8192, 32768)


def main(arguments: list[str] | None = None) -> int:
    """Run all parts, print a table, and write JSON; the exit code."""
    options = _options(arguments)
    if options.child:
        return _child(options.child, options.folder, torch.device(options.device))
    device = options.device or ("cuda" if torch.cuda.is_available() else None)
    if device == "cuda" and not torch.cuda.is_available():
        print("torch sees no card: torch.cuda.is_available() is False. Expected a CUDA build of torch and a driver.")
        return 2
    began = time.monotonic()
    results = _planned() if device is None else _run(torch.device(device))
    _show(results, device)
    if options.output:
        document = {"check": "gpu", "machine": _machine(), "device": device, "parts": results,
                    "seconds": round(time.monotonic() - began, 1)}  # fmt: skip
        options.output.write_text(json.dumps(document, indent=2) + "\n")
    return int(any(result["status"] == "failed" for result in results))


def _run(device: torch.device) -> list[Figures]:
    small = device.type == "cpu"
    if small:
        torch.set_num_threads(1)
    settings, began, results = SMALL if small else Settings(), time.monotonic(), []
    with tempfile.TemporaryDirectory() as folder:
        check = Check(device, settings, small, Path(folder), _split(*((2, 3) if small else (16, 8)), settings), [])
        for name, part in PARTS.items():
            left = BUDGET_SECONDS - SPARE_SECONDS - (time.monotonic() - began)
            results.append(_result(name, part, check) if left > 0 else _told(name, "left out", "the time is over"))
            print(f"{name}: {results[-1]['status']}", file=sys.stderr)
    return results


def _result(name: str, part: Callable[[Check], Figures], check: Check) -> Figures:
    began = time.monotonic()
    try:
        figures = part(check)
        told = _told(name, "passed", figures.pop("says"), figures)
    except LeftOutError as reason:
        told = _told(name, "left out", str(reason))
    except Exception as error:  # noqa: BLE001 - a part that fails must not keep the others from running
        lines = str(error).strip().splitlines() or ["no message"]
        told = _told(name, "failed", f"{type(error).__name__}: {lines[0]}")
    return told | {"seconds": round(time.monotonic() - began, 1)}


def _told(name: str, status: str, says: str, figures: Figures | None = None) -> Figures:
    return {"part": name, "status": status, "says": says, "figures": figures or {}}


def _planned() -> list[Figures]:
    """What would be done with a card."""
    return [_told(name, "no card", f"would {str(part.__doc__).rstrip('.')}") for name, part in PARTS.items()]


def untrained_loss(check: Check) -> Figures:
    """compare the validation loss of one untrained model on CPU and card."""
    losses = []
    for device in (torch.device("cpu"), check.device):
        progress = _progress(check.split, check.settings, check.folder / "untrained.pth", device)
        torch.manual_seed(1)
        model = new_model(check.split["train"], check.settings, frozenset())  # type: ignore[arg-type]
        for layer in (model.direct, model.window_head[-1], model.head[-1]):
            torch.nn.init.normal_(layer.weight, std=0.1)  # type: ignore[arg-type]
        losses.append(progress.validate(model.to(device))[0])
    difference = abs(losses[1] / losses[0] - 1)
    _require(difference <= LARGEST_LOSS_DIFFERENCE["untrained"], f"the losses are {losses[0]:.5f} and {losses[1]:.5f}")
    return {"says": f"the losses differ by {difference:.1e}", "cpu": losses[0], "device": losses[1]}


def training_float32(check: Check) -> Figures:
    """train in float32 on CPU and card, and compare the losses of each epoch."""
    check.cpu_losses = _train(check, torch.device("cpu"), "float32")[1]
    return _compared(check, "float32")


def training_bfloat16(check: Check) -> Figures:
    """train with dense layers in bfloat16 on the card, and compare the losses with the CPU's."""
    return _compared(check, "bfloat16")


def _compared(check: Check, precision: str) -> Figures:
    model, found = _train(check, check.device, precision)
    check.model = model if precision == "float32" else check.model
    worst = max(abs(one["train_loss"] / other["train_loss"] - 1)
                for one, other in zip(found, check.cpu_losses, strict=True))  # fmt: skip
    _require(worst <= LARGEST_LOSS_DIFFERENCE[precision], f"a training loss differs by {worst:.1%} from the CPU's")
    _require(found[-1]["train_loss"] < found[0]["train_loss"], "the training loss did not get smaller")
    seconds = sum(record["seconds"] for record in found)
    cpu_seconds = sum(record["seconds"] for record in check.cpu_losses)
    return {
        "says": f"losses within {worst:.1%} of the CPU's; {cpu_seconds / seconds:.1f} x its speed",
        "largest_difference": worst,
        "records": found,
        "cpu_records": check.cpu_losses,
    }


def rates(check: Check) -> Figures:
    """measure sequences per second and memory by batch size, against the card's matrix product rate."""
    size = 256 if check.small else 8192
    limits = {name: _matmul_tflops(check.device, getattr(torch, name), size) for name in ("float32", "bfloat16")}
    rows, too_large = [], {}
    for precision, limit in limits.items():
        for batch_size in check.batch_sizes:
            updates = 2 if check.small else 24
            settings = replace(check.settings, batch_size=batch_size, windows_per_epoch=updates * batch_size, epochs=1)
            try:
                rows.append(_rate(check, settings, precision, limit))
            except torch.OutOfMemoryError:
                too_large[precision] = batch_size
                break
    best = max(rows, key=lambda row: float(row["sequences_per_second"]))
    return {
        "says": f"{best['sequences_per_second']:,.0f} sequences/s of {CHUNK} samples in batches of"
        f" {best['batch_size']:,} ({best['precision']}), {best['share_of_matmul']:.1%} of the matrix product rate"
        f" ({best['matmul_tflops']:,.1f} TFLOP/s)",
        "rows": rows,
        "out_of_memory_at": too_large,
    }


def _rate(check: Check, settings: Settings, precision: str, limit: float) -> Figures:
    """The device's own rate on one batch that stays on it, and that of a training, which draws each batch."""
    step, streams, flops = _step(check, replace(settings, precision=precision))
    _reset_memory(check.device)
    seconds = _seconds(step, check.device, 2 if check.small else 10)
    memory = torch.cuda.max_memory_allocated(check.device) / 2**20 if check.device.type == "cuda" else None
    record = _train(check, check.device, precision, settings)[1][0]
    achieved = flops / seconds / 1e12
    return {
        "precision": precision,
        "batch_size": settings.batch_size,
        "sequences_per_second": streams / seconds,
        "windows_per_second": settings.batch_size / seconds,
        "windows_per_second_with_drawing": record["windows"] / record["seconds"],
        "tflops": achieved,
        "matmul_tflops": limit,
        "share_of_matmul": achieved / limit,
        "peak_memory_mib": memory,
    }


def graphs(check: Check) -> Figures:
    """measure what CUDA graphs and torch.compile bring to an update of the default batch."""
    step, _, _ = _step(check, check.settings)
    repeats = 2 if check.small else 20
    seconds: dict[str, float | None] = {"as it is": _seconds(step, check.device, repeats)}
    reasons = {}
    for name, made in {"CUDA graph": _graphed, "torch.compile": _compiled}.items():
        try:
            seconds[name] = _seconds(made(check), check.device, repeats)
        except Exception as error:  # noqa: BLE001 - what a runtime or compiler refuses is a finding
            seconds[name], reasons[name] = None, f"{type(error).__name__}: {(str(error).splitlines() or [''])[0]}"
    plain = seconds["as it is"] or 0.0
    gains = [f"{name} {plain / took:.2f} x" if took else f"{name}: {reasons[name]}"
             for name, took in seconds.items() if name != "as it is"]  # fmt: skip
    return {"says": "; ".join(gains), "seconds": seconds, "refusals": reasons}


def ranks(check: Check) -> Figures:
    """average gradients over two ranks with NCCL, or record that it refuses two ranks on one card."""
    backend = "nccl" if check.device.type == "cuda" else "gloo"
    cards = torch.cuda.device_count() if check.device.type == "cuda" else 0
    refusal = _ranks(check, 2)
    where = f"on {min(cards, 2)} card{'s' * (cards > 1)}" if cards else "on the CPU"
    if refusal is None:
        return {"says": f"{backend} averages the gradients of two ranks {where}", "cards": cards}
    _require(cards == 1, f"{backend} fails with two ranks {where}: {refusal}")
    alone = _ranks(check, 1)
    _require(alone is None, f"{backend} fails with one rank: {alone}")
    return {"says": f"{backend} refuses two ranks on one card ({refusal}); one rank works", "cards": cards}


def resume(check: Check) -> Figures:
    """kill a training (SIGKILL), start it again, and compare its losses with those of one that was left alone."""
    alone, killed = check.folder / "alone", check.folder / "killed"
    for folder in (alone, killed):
        folder.mkdir()
    expected = _train_resumably(alone, check.device)
    child = _start_child(check, "train", killed)
    said = _said(child)
    _require(child.returncode == -signal.SIGKILL, f"the process to be killed said {said[-200:]!r}")
    found = _train_resumably(killed, check.device)
    _require(found["interruptions"] == 1, "the second process did not continue the first one's training")
    difference = max(abs(one / other - 1) for one, other in zip(found["losses"], expected["losses"], strict=True))
    _require(difference <= LARGEST_LOSS_DIFFERENCE["float32"], f"losses differ by {difference:.1e}")
    return {"says": f"continued; losses differ by {difference:.1e}", "largest_difference": difference}


def forecasts(check: Check) -> Figures:
    """compare the trained model's forecasts on card and CPU."""
    model, windows = _trained(check), _windows(check)
    on_device = predict_all(model.to(check.device).eval(), windows)["output"]
    on_cpu = predict_all(model.cpu(), windows)["output"]
    floors = np.array([schema.MAPE_FLOORS[name] for name in schema.TARGETS])
    worst = float((np.abs(on_device - on_cpu) / np.maximum(np.abs(on_cpu), floors)).max())
    _require(worst <= LARGEST_FORECAST_DIFFERENCE, f"a forecast differs by {worst:.1e}")
    return {"says": f"forecasts differ by {worst:.1e} at most", "largest_difference": worst}


def export(check: Check) -> Figures:
    """export the trained model to ONNX, and compare ONNX Runtime with torch, window and stream file."""
    try:
        import onnxscript  # type: ignore[import-not-found,unused-ignore]  # noqa: F401
    except ImportError as error:
        raise LeftOutError("onnxscript is not installed: torch cannot export the ONNX files.") from error
    from bwpredict.models import onnx_export as onnx_files

    model, windows = _trained(check).cpu().eval(), _windows(check)
    told = onnx_files.model_properties(model, version="v20260101_000000", snapshot_id="gpu_check")
    window_file, stream_file = check.folder / "windows.onnx", check.folder / "stream.onnx"
    onnx_files.export_onnx(model, window_file, told, stream=stream_file)
    parity, latency = onnx_files.check_export(model, window_file, windows)
    stream = onnx_files.check_stream(model, stream_file, windows)
    worst = max(parity["max_relative_error"], stream["max_relative_error"])
    _require(worst <= onnx_files.PARITY_TOLERANCE, f"ONNX Runtime differs by {worst:.1e} from torch")
    says = f"ONNX Runtime agrees with torch to {worst:.1e}; one window takes {latency['p50_ms']:.2f} ms"
    return {"says": says, "parity": parity, "stream": stream, "latency": latency}


PARTS: dict[str, Callable[[Check], Figures]] = {
    "untrained loss": untrained_loss,
    "training, float32": training_float32,
    "training, bfloat16": training_bfloat16,
    "forecasts": forecasts,
    "export": export,
    "kill and resume": resume,
    "two ranks": ranks,
    "rates and memory": rates,
    "CUDA graphs and torch.compile": graphs,
}


def _split(links: int, days: int, settings: Settings) -> Split:
    shares = SimpleNamespace(validation=0.1, calibration=0.0, test=0.1, test_days=1, by="calendar", embargo=True)
    index = index_windows(_telemetry(links, days), settings.window_size, settings.horizon_minutes)
    return split_windows(index, shares)  # type: ignore[arg-type]


def _telemetry(links: int, days: int) -> TelemetryFrame:
    """Daily cycles with autoregressive fluctuations."""
    rng, minutes = np.random.default_rng(5), days * 1440
    times = 1_788_220_800 + 60 * np.arange(minutes)
    cycle = 0.3 * np.sin(2 * np.pi * np.arange(minutes) / 1440)
    calendar = np.stack([schema.CALENDAR.hours(times), schema.CALENDAR.days(times)], axis=1)
    parts = []
    for _ in range(links):
        noise = rng.normal(size=(minutes, 3))
        wander = pd.DataFrame(noise).ewm(alpha=0.05).mean().to_numpy() + 0.01 * rng.permuted(noise, axis=0)
        load = cycle + wander[:, 0]
        logs = [load, 0.3 * load + 0.2 * wander[:, 1], wander[:, 1], 0.5 * load + wander[:, 2]]
        sizes = np.array([400.0, 30.0, 0.005, 2.0]) * np.exp(0.5 * rng.normal())
        targets = sizes * np.exp(np.stack(logs, axis=1))
        context = np.exp(load)[:, None] * [30.0, 10.0, 5.0]
        parts.append(np.concatenate([targets, calendar, context], axis=1))
    keys = pd.DataFrame({"node_id": np.arange(links), "peer_id": 1000 + np.arange(links)})
    values = np.concatenate(parts).astype(np.float32)
    return TelemetryFrame(values, np.tile(times, links), np.repeat(np.arange(links, dtype=np.int32), minutes), keys)


def _progress(split: Split, settings: Settings, checkpoint: Path, device: torch.device) -> Progress:
    return Progress(split, settings, target_weights(frozenset(), device), checkpoint)  # type: ignore[arg-type]


def _train(
    check: Check, device: torch.device, precision: str, settings: Settings | None = None
) -> tuple[Forecaster, list[Record]]:
    """The product's own loop; the records of its epochs."""
    settings = replace(settings or check.settings, precision=precision)
    progress = _progress(check.split, settings, check.folder / "best.pth", device)
    model = new_model(check.split["train"], settings, frozenset()).to(device)  # type: ignore[arg-type]
    progress.keep(model, 0, progress.validate(model)[0])
    return run_stage(Stage("train", settings.epochs), model, progress, None), progress.records


def _trained(check: Check) -> Forecaster:
    if check.model is None:
        raise LeftOutError("the training in float32 gave no model.")
    return check.model


def _windows(check: Check) -> Any:
    part = check.split["test"].spread(64)
    return np.stack([part.frame.values[row : row + part.window_size] for row in part.starts])


def _update(check: Check, settings: Settings) -> tuple[Forecaster, Callable[[], torch.Tensor], int]:
    """A model, the loss of one update's batch that stays on the device, and the number of streams."""
    torch.manual_seed(1)
    model = new_model(check.split["train"], settings, frozenset()).to(check.device).train()  # type: ignore[arg-type]
    model.precision = getattr(torch, settings.precision)
    weights = target_weights(frozenset(), check.device)
    sequences, drift = Sequences.of(check.split["train"]), model.level_drift.cpu().numpy()
    sampler = Sampler(sequences, model.contract, drift, settings.target_smoothing)
    streams = max(1, round(settings.batch_size * STREAMS_SHARE))
    chunk = sampler.streams(min(streams, 64), (1,)).chunk(0)
    repeats = -(-streams // len(chunk.samples))
    chunk = type(chunk)(*(part.repeat(repeats, *[1] * (part.dim() - 1))[:streams] for part in chunk)).to(check.device)
    windows = sampler.windows(settings.batch_size, (2,)).to(check.device)
    state = model.empty_state(streams)

    def loss() -> torch.Tensor:
        raw = model.follow(chunk.samples, state)
        of_streams = stream_loss(model, raw, chunk, weights, settings.raw_error_share)
        return of_streams + window_loss(model, windows, weights, settings.raw_error_share)

    return model, loss, streams


def _step(check: Check, settings: Settings) -> tuple[Callable[[], object], int, float]:
    """One change of the weights, the number of streams, and floating-point operations."""
    model, loss, streams = _update(check, settings)
    return _stepping(model, loss), streams, _flops(model, streams, settings.batch_size)


def _stepping(model: Forecaster, loss: Callable[[], torch.Tensor]) -> Callable[[], object]:
    optimizer = torch.optim.AdamW(model.parameters(), lr=1e-4, fused=True)

    def step() -> None:
        optimizer.zero_grad(set_to_none=True)
        loss().backward()  # type: ignore[no-untyped-call]
        torch.nn.utils.clip_grad_norm_(model.parameters(), 1.0)
        optimizer.step()

    return step


def _graphed(check: Check) -> Callable[[], object]:
    """Forward and backward pass as one CUDA graph, as torch's notes on CUDA graphs have it."""
    if check.device.type != "cuda":
        raise LeftOutError("needs a card")
    model, loss, _ = _update(check, check.settings)
    optimizer = torch.optim.AdamW(model.parameters(), lr=1e-4, fused=True)
    side = torch.cuda.Stream()  # type: ignore[no-untyped-call]
    side.wait_stream(torch.cuda.current_stream())
    with torch.cuda.stream(side):
        for _ in range(3):
            optimizer.zero_grad(set_to_none=True)
            loss().backward()  # type: ignore[no-untyped-call]
    torch.cuda.current_stream().wait_stream(side)
    graph = torch.cuda.CUDAGraph()
    optimizer.zero_grad(set_to_none=True)
    with torch.cuda.graph(graph):
        loss().backward()  # type: ignore[no-untyped-call]

    def step() -> None:
        graph.replay()
        torch.nn.utils.clip_grad_norm_(model.parameters(), 1.0)
        optimizer.step()

    return step


def _compiled(check: Check) -> Callable[[], object]:
    if check.device.type != "cuda":
        raise LeftOutError("needs a card")
    model, loss, _ = _update(check, check.settings)
    return _stepping(model, torch.compile(loss))


def _flops(model: Forecaster, streams: int, windows: int) -> float:
    """Of an update: 2 for each weight used, and a backward pass costs twice the forward pass."""

    def weights(*parts: torch.nn.Module) -> int:
        return sum(each.numel() for part in parts for each in part.parameters() if each.dim() == 2)

    of_streams = streams * CHUNK * weights(model.lstm, model.head, model.direct)
    return 3.0 * 2 * (of_streams + windows * weights(model.window_head))


def _matmul_tflops(device: torch.device, dtype: torch.dtype, size: int) -> float:
    left, right = (torch.randn(size, size, device=device, dtype=dtype) for _ in range(2))
    return 2 * size**3 / _seconds(lambda: left @ right, device, 10) / 1e12


def _seconds(action: Callable[[], object], device: torch.device, repeats: int) -> float:
    """Mean wall-clock seconds, after two runs to warm up."""
    for _ in range(2):
        action()
    _synchronize(device)
    began = time.perf_counter()
    for _ in range(repeats):
        action()
    _synchronize(device)
    return (time.perf_counter() - began) / repeats


def _synchronize(device: torch.device) -> None:
    if device.type == "cuda":
        torch.cuda.synchronize(device)


def _reset_memory(device: torch.device) -> None:
    if device.type == "cuda":
        torch.cuda.empty_cache()
        torch.cuda.reset_peak_memory_stats(device)


def _start_child(check: Check, task: str, folder: Path, **environment: str) -> subprocess.Popen[str]:
    command = [sys.executable, __file__, "--child", task, "--folder", str(folder), "--device", check.device.type]
    return subprocess.Popen(  # noqa: S603
        command, stdout=subprocess.PIPE, stderr=subprocess.STDOUT, text=True, env=os.environ | environment
    )


def _said(child: subprocess.Popen[str]) -> str:
    """All that a child says until it ends; it is ended where it takes too long."""
    try:
        return child.communicate(timeout=CHILD_SECONDS)[0]
    except subprocess.TimeoutExpired:
        child.terminate()  # not as SIGKILL, by which one of the children ends itself
        return f"{child.communicate()[0]}no answer within {CHILD_SECONDS} s\n"


class _Killed(Resume):
    """Kills its own process in the middle of the training."""

    def save_if_due(self, *arguments: Any) -> None:
        """As `Resume`, and no further."""
        super().save_if_due(*arguments)
        if arguments[-1]["update"] == KILLED_AFTER_UPDATES:
            os.kill(os.getpid(), signal.SIGKILL)


def _train_resumably(folder: Path, device: torch.device, states: type[Resume] = Resume) -> Figures:
    """A training that leaves its state after each update, and continues from what the folder holds."""
    settings, split = SMALL, _split(2, 3, SMALL)
    state = states(folder / "resume.pth", every_seconds=0)
    state.look(identity(split, settings, frozenset(), None))  # type: ignore[arg-type]
    progress = _progress(split, settings, folder / "best.pth", device)
    if state.stage:
        model = state.restore(progress).to(device)
    else:
        model = new_model(split["train"], settings, frozenset()).to(device)  # type: ignore[arg-type]
        progress.keep(model, 0, progress.validate(model)[0])
    run_stage(Stage("train", settings.epochs), model, progress, state)
    losses = [record["train_loss"] for record in progress.records]
    return {"losses": losses, "interruptions": progress.interruptions}


def _ranks(check: Check, count: int) -> str | None:
    """Let this many ranks average gradients; return what went wrong, in a line."""
    with socket.socket() as free:
        free.bind(("127.0.0.1", 0))
        port = str(free.getsockname()[1])
    place = {"MASTER_ADDR": "127.0.0.1", "MASTER_PORT": port, "WORLD_SIZE": str(count), "NCCL_DEBUG": "WARN"}
    children = [_start_child(check, "rank", check.folder, RANK=str(rank), **place) for rank in range(count)]
    said = "".join([_said(child) for child in children])
    if all(child.returncode == 0 for child in children):
        return None
    lines = [line.strip() for line in said.splitlines() if line.strip()]
    return next((line for line in lines if "Duplicate GPU" in line), lines[-1] if lines else "no message")


def _child(task: str, folder: Path, device: torch.device) -> int:
    if task == "rank":
        return _rank(device)
    _train_resumably(folder, device, _Killed)
    return 0


def _rank(device: torch.device) -> int:
    """One rank: its gradients are its number plus 1, and their mean must come out."""
    rank, count = int(os.environ["RANK"]), int(os.environ["WORLD_SIZE"])
    if device.type == "cuda":
        device = torch.device("cuda", rank % torch.cuda.device_count())
        torch.cuda.set_device(device)
    dist.init_process_group("nccl" if device.type == "cuda" else "gloo")
    layer = torch.nn.Linear(8, 8).to(device)
    for parameter in layer.parameters():
        parameter.grad = torch.full_like(parameter, rank + 1.0)
    ProcessGroup(rank, count).average_gradients(layer)
    mean = (count + 1) / 2
    gradients = [parameter.grad for parameter in layer.parameters()]
    right = all(each is not None and bool(torch.eq(each, mean).all()) for each in gradients)
    dist.destroy_process_group()
    return int(not right)


def _require(holds: bool, sentence: str) -> None:  # noqa: FBT001
    if not holds:
        raise BwPredictError(sentence)


def _machine() -> Figures:
    cards = [torch.cuda.get_device_properties(card) for card in range(torch.cuda.device_count())]
    return {
        "cards": [{"name": card.name, "memory_mib": card.total_memory // 2**20} for card in cards],
        "cuda": torch.version.cuda,
        "torch": torch.__version__,
        "python": platform.python_version(),
        "cores": os.cpu_count(),
    }


def _show(results: list[Figures], device: str | None) -> None:
    card = (
        torch.cuda.get_device_name() if device == "cuda" else device or "no card: this is what would be done with one"
    )
    print(f"\n{card}, torch {torch.__version__}")
    for result in results:
        print(f"  {result['part']:<30} {result['status']:<9} {result.get('seconds', ''):>6}  {result['says']}")
    rows: list[Figures] = next(
        (result["figures"].get("rows", []) for result in results if result["part"] == "rates and memory"), []
    )
    if rows:
        print(f"\n{pd.DataFrame(rows).to_string(index=False, float_format=lambda value: f'{value:,.4g}')}")


def _options(arguments: list[str] | None) -> argparse.Namespace:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--device", choices=("cpu", "cuda"), help="default: the card, if there is one")
    parser.add_argument("--output", type=Path, help="JSON file for all figures")
    parser.add_argument("--child", choices=("train", "rank"), help=argparse.SUPPRESS)
    parser.add_argument("--folder", type=Path, help=argparse.SUPPRESS)
    return parser.parse_args(arguments)


if __name__ == "__main__":
    sys.exit(main())
