"""Making a challenger: fit, export, evaluate. What a retraining run and `bwpredict train` have in common.

Each function reads what the one before left in the folder, and writes the files that its docstring names.
"""

from __future__ import annotations

import logging
import shutil
import tempfile
from collections.abc import Callable, Mapping
from dataclasses import dataclass, field, replace
from pathlib import Path
from typing import Any

import numpy as np
import numpy.typing as npt

from bwpredict import schema
from bwpredict.config import RunConfig, Settings
from bwpredict.core.formatting import count_of, number
from bwpredict.datasets.frame import TelemetryFrame
from bwpredict.datasets.memmap import mapped_frame
from bwpredict.datasets.sequences import Sequences
from bwpredict.datasets.splitting import choose_split
from bwpredict.datasets.windows import Split, WindowIndex, index_windows
from bwpredict.documents import read_document, write_document
from bwpredict.errors import ModelError, TelemetryError
from bwpredict.evaluation import by_link
from bwpredict.evaluation.change import describe_change, find_changes
from bwpredict.evaluation.comparison import compare
from bwpredict.evaluation.consumer import replay_consumer
from bwpredict.evaluation.forecasts import Forecasts, collect, write_forecasts
from bwpredict.evaluation.horizon import errors_by_minute
from bwpredict.evaluation.slices import window_labels
from bwpredict.inference.onnx_model import Bounds, Forecast, forecast_with_bounds
from bwpredict.inference.stream_model import forecast_stream, open_stream
from bwpredict.models import network, onnx_export
from bwpredict.models.checkpoint import load_checkpoint
from bwpredict.models.compression import describe, measure_footprints, quantize_onnx
from bwpredict.pipeline import imported_model
from bwpredict.pipeline.anchor import EarlierChampion, compare_with_earlier
from bwpredict.pipeline.seen_days import Days, split_by_seen, target_days
from bwpredict.registry.layout import (
    CONFORMANCE_NAME,
    LINK_ACCURACY_NAME,
    LINK_SERIES_NAME,
    PROFILE_NAME,
    metadata_name,
    onnx_name,
    stream_onnx_name,
)
from bwpredict.reports import forecast_plots, metadata, plots
from bwpredict.reports.tables import unforecastable
from bwpredict.serving import conformance
from bwpredict.store.files import sha256_of
from bwpredict.telemetry.description import Description
from bwpredict.telemetry.snapshot import check_content
from bwpredict.training import intervals, progress, trainer, warm_start
from bwpredict.training.checkpointing import Resume
from bwpredict.training.progress import log_epoch
from bwpredict.workspace import areas
from bwpredict.workspace.artifacts import (
    CHECKPOINT,
    COMPARISON,
    COMPRESSION,
    FORECASTS,
    HISTORY,
    HISTORY_PLOT,
    HORIZON_PLOT,
    IMPORTED,
    LATENCY,
    LINKS_PLOT,
    PARITY,
    REPORT,
    RESIDUALS_PLOT,
    RESUME,
    SCATTER_PLOT,
    SNAPSHOT,
    TELEMETRY,
)

logger = logging.getLogger(__name__)

Document = dict[str, Any]

PARITY_WINDOWS = 512
TARGETS_AT_ONCE = 1 << 18
"""Windows whose targets are looked at together."""
STREAM_LINKS, STREAM_SAMPLES = 16, 1440
LOCK = Path(__file__).parents[2] / "requirements.txt"
"""The lock of a checkout; an installed package has none."""


@dataclass(frozen=True)
class Champion:
    """The model in production, as it was fetched: `onnx` is on this machine."""

    version: str
    onnx: Path
    stream: Path | None = None
    """Its file for streams; None: it has none."""
    links: frozenset[tuple[int, int]] | None = None
    """(node_id, peer_id) of the links that it was trained on; None: not known."""
    seen: Days = field(default_factory=lambda: np.empty(0, np.int64))
    """As `days_seen`."""
    absent_targets: tuple[str, ...] = ()
    """Those that its telemetry lacked."""
    earlier: Mapping[str, EarlierChampion] = field(default_factory=dict)
    """By version, the models that served before it."""


def read_split(area: Path, run: RunConfig) -> Split:
    """As `make_split`, of the snapshot in the run's workspace; its telemetry is mapped from files.

    Raises:
        SnapshotError: the files are not those that the snapshot describes.
        TelemetryError, ConfigError: as `make_split`.
    """
    pinned = read_document(area / SNAPSHOT, "snapshot")
    check_content(pinned, area / TELEMETRY)
    description = Description.of_snapshot(pinned)
    return make_split(mapped_frame(area / TELEMETRY, area, pinned["telemetry_sha256"], description), run)


def make_split(frame: TelemetryFrame, run: RunConfig) -> Split:
    """The run's windows of this telemetry, split; a target that training never sees change counts as missing.

    Raises:
        TelemetryError, ConfigError: as `index_windows`, `choose_split` and `drop_constant_targets`.
    """
    index = index_windows(frame, run.training.window_size, run.training.horizon_minutes)
    split = choose_split(index, run.split)
    counts = ", ".join(f"{len(part):,} {name}" for name, part in split.parts.items())
    logger.info("%s windows of %s: %s", f"{len(index):,}", count_of(len(frame.links), "link"), counts)
    return drop_constant_targets(split, index if run.imported else split["train"])


def drop_constant_targets(split: Split, learnt: WindowIndex) -> Split:
    """Targets with one value in all of the windows that a model learns from count as missing.

    Raises:
        TelemetryError: no target is left.
    """
    frame, first = learnt.frame, learnt.targets(slice(0, 1))[0]
    filled = dict(frame.filled or {})
    constant = np.array([name not in filled for name in schema.TARGETS])
    for begin in range(0, len(learnt), TARGETS_AT_ONCE):
        if not constant.any():
            break
        constant &= (learnt.targets(slice(begin, begin + TARGETS_AT_ONCE)) == first).all(axis=0)
    for name, at in zip(np.array(schema.TARGETS)[constant].tolist(), first[constant].tolist(), strict=True):
        filled[name] = at
        logger.warning("%s is %g in every training window; it is left out and not forecast.", name, at)
    if set(schema.TARGETS) <= set(filled):
        raise TelemetryError(
            "no column to forecast changes in the training windows, so there is nothing to learn; check the collector,"
            " or give more telemetry."
        )
    frame = replace(frame, filled=filled)
    return replace(split, parts={name: replace(part, frame=frame) for name, part in split.parts.items()})


def fit(folder: Path, split: Split, run: RunConfig, champion: Path | None = None) -> Path:
    """Train, and calibrate the intervals.

    Writes `best_model.pth`, `history.json`, `training_history.png`. Returns the checkpoint. `champion` is the
    checkpoint that a warm start begins with. What `resume/` holds continues a call that was killed; it is gone at the
    end.
    """
    absent = frozenset(split["train"].frame.filled or {})
    checkpoint = folder / CHECKPOINT
    every_seconds = Settings().checkpoint_seconds

    def options(name: str) -> trainer.Options:
        resume = Resume(folder / RESUME / f"{name}.pth", every_seconds, share=areas.share)
        return {"absent": absent, "on_epoch": log_epoch, "resume": resume}

    result = trainer.train(split, run.training, checkpoint, **options("train"))
    if run.training.warm_start:
        result = warm_start.choose(result, champion, split, run.training, checkpoint, **options("warm_start"))
    trained, history = result.model, result.history
    intervals.calibrate(trained, split, absent=absent)
    progress.save(trained, checkpoint, history["best_epoch"], run.training)
    _log_intervals(trained, split)
    write_document(folder / HISTORY, "training_history", history)
    plots.training_history(folder / HISTORY_PLOT, history)
    shutil.rmtree(folder / RESUME, ignore_errors=True)
    return checkpoint


def export_onnx(folder: Path, split: Split, run: RunConfig, snapshot_id: str) -> Path:
    """Export, quantise if asked, and check in a fresh process; returns the ONNX file.

    Writes `parity.json`, `latency.json`, `conformance.json`, and for a quantised model `compression.json`.
    """
    challenger = load_checkpoint(folder / CHECKPOINT)
    properties = onnx_export.model_properties(
        challenger, version=run.version, snapshot_id=snapshot_id, calendar=split["train"].frame.calendar
    )
    path, stream = folder / onnx_name(run.version), folder / stream_onnx_name(run.version)
    onnx_export.export_onnx(challenger, path, properties, stream=stream)
    if run.quantize:
        quantize_onnx(path)
    real, samples = split["validation"].spread(PARITY_WINDOWS).inputs(), _stream_samples(split)
    parity, latency = onnx_export.check_export(challenger, path, real)
    parity["stream"] = onnx_export.check_stream(challenger, stream, samples)
    _write_checks(folder, split, run, parity, latency, samples)
    logger.info(
        "%s: largest relative difference to torch %s, single window p50 %s ms, p99 %s ms",
        path.name, number(parity["max_relative_error"], 2), latency["p50_ms"], latency["p99_ms"],
    )  # fmt: skip
    (folder / COMPRESSION).unlink(missing_ok=True)  # see fit
    if run.quantize:
        _write_compression(folder, challenger, path, real)
    return path


def check_imported(folder: Path, split: Split, run: RunConfig) -> Path:
    """Check a model trained elsewhere in a fresh process, as `export_onnx` does its own; returns the ONNX file.

    Writes `parity.json`, `latency.json`, `conformance.json`.

    Raises:
        ModelError: it cannot be run, or forecasts what is not finite; names the case.
    """
    path = folder / onnx_name(run.version)
    real = split["validation"].spread(PARITY_WINDOWS).inputs()
    parity, latency = onnx_export.check_export(None, path, real)
    broken = [case["case"] for case in parity["cases"] if not case["all_finite"]]
    if broken and run.imported:
        raise ModelError(
            f"{run.imported.name}: forecasts are not finite for windows of the case {broken[0]!r}; expected finite"
            " forecasts for every finite window."
        )
    samples = None
    if run.imported and run.imported.stream:
        samples = _stream_samples(split)
        parity["stream"] = onnx_export.check_stream_file(folder / stream_onnx_name(run.version), samples)
    _write_checks(folder, split, run, parity, latency, samples)
    return path


def _write_checks(
    folder: Path, split: Split, run: RunConfig, parity: Document, latency: Document, samples: onnx_export.Array | None
) -> None:
    """Write both documents, and answers to windows and to the sequences `samples` (None: no file for streams)."""
    write_document(folder / PARITY, "parity", parity)
    write_document(folder / LATENCY, "latency", latency)
    few, windows = (split["validation"].spread(count).inputs() for count in (conformance.REAL_WINDOWS, PARITY_WINDOWS))
    sequences = None
    if samples is not None:
        sequences = conformance.sequence_vectors(
            folder / stream_onnx_name(run.version),
            samples[: conformance.REAL_SEQUENCES, : conformance.SEQUENCE_MINUTES],
            relative=onnx_export.PARITY_TOLERANCE,
        )
    conformance.write_vectors(
        folder / CONFORMANCE_NAME,
        folder / onnx_name(run.version),
        {"real": few, **onnx_export.extreme_windows(windows)},
        version=run.version,
        relative=parity["tolerance"],
        sequences=sequences,
    )


def _stream_samples(split: Split) -> npt.NDArray[np.float32]:
    """[links, STREAM_SAMPLES, features] of some links, from where their validation part begins."""
    sequences = Sequences.of(split["validation"]).spread(STREAM_LINKS)
    return sequences.cut(np.arange(len(sequences)), sequences.spans[0], STREAM_SAMPLES)


def _write_compression(folder: Path, challenger: network.Forecaster, path: Path, windows: onnx_export.Array) -> None:
    """Measure the challenger's file beside the one before quantisation."""
    with tempfile.TemporaryDirectory() as scratch:
        reference = onnx_export.export_onnx(challenger, Path(scratch, "reference.onnx"), {})
        document = describe(*measure_footprints([reference, path], windows))
    write_document(folder / COMPRESSION, "compression", document)
    logger.info("Against the float32 model: %s.", document["verdict"])


_SEEN_ALL = "It was trained on all of the test days. Train on another month, or with as many months of history."


def evaluate(
    folder: Path, split: Split, run: RunConfig, snapshot: Mapping[str, Any], champion: Champion | None
) -> dict[str, Any]:
    """Score challenger, champion and baselines on the same test windows; returns the comparison document.

    Each model is run as consumers run it: over windows from an empty state, and as a stream that is followed from the
    days before the test span on. Test days that the champion has seen are left out; if it has seen all of them, it is
    not compared. So are the days before a change of the network, if enough days are after it. Writes
    `comparison.json`, `forecasts.parquet`, `link_accuracy.parquet`, `link_series.parquet`,
    `model_metadata_<version>.json`, `bandwidth_predictor_report.json`, `predictions_scatter.png` and the pictures of
    the model card.
    """
    tested = _test_windows(split, run, champion)
    index = tested.index.spread(run.maximum_test_windows)
    path = folder / onnx_name(run.version)
    served = forecast_with_bounds(path, index)
    by_champion, problem = (None, _SEEN_ALL) if tested.seen_all else _forecast_of_champion(champion, index)
    known = champion.links if champion and champion.links is not None else _links_of(split["train"])
    labels = window_labels(index, known)
    challenger_sha256 = sha256_of(path)
    champion_sha256 = sha256_of(champion.onnx) if champion else None

    def judged(served: Forecast, by_champion: Forecast | None) -> tuple[Forecasts, dict[str, Any]]:
        models = {"challenger": served} | ({} if by_champion is None else {"champion": by_champion})
        forecasts = replace(collect(index, {name: one.output for name, one in models.items()}), labels=labels)
        document = compare(
            forecasts,
            challenger_version=run.version,
            challenger_sha256=challenger_sha256,
            champion_version=champion.version if champion else None,
            champion_sha256=champion_sha256,
            champion_problem=problem,
            bounds=served.bounds,
            champion_bounds=by_champion.bounds if by_champion else None,
            target_weights=run.policy.weights,
        )
        return forecasts, document | {"consumer": replay_consumer(forecasts, models, run.consumer_rules)}

    forecasts, comparison = judged(served, by_champion)
    comparison["test"]["days_left_out"] = tested.seen_by_champion
    comparison["test"]["days_seen_by_challenger"] = tested.seen_by_challenger
    comparison["change"] = tested.change
    comparison["champion_absent_targets"] = list(champion.absent_targets) if champion else None
    earlier = champion.earlier if champion else {}
    comparison["anchor"] = compare_with_earlier(earlier, index, forecasts, run.policy.weights)
    comparison["horizon"] = errors_by_minute(index, forecasts.targets)
    comparison["stream"] = _compare_streams(folder, run, champion, index, judged, (served, by_champion))
    _write_forecasts(folder, forecasts, comparison, served.bounds, run.training.horizon_minutes)
    _write_metadata(folder, split, run, snapshot, comparison)
    write_document(folder / COMPARISON, "comparison", comparison)
    if sentences := unforecastable(comparison):
        logger.warning("%s", "\n".join(sentences))
    return comparison


@dataclass(frozen=True)
class _TestWindows:
    """The windows that models are compared on, and what was left out for it."""

    index: WindowIndex
    seen_by_challenger: list[str]
    """Dates; so is `seen_by_champion`."""
    seen_by_champion: list[str]
    seen_all: bool
    """Whether the champion has seen all of them, so that it cannot be compared."""
    change: dict[str, Any] | None
    """As `describe_change`."""


def _test_windows(split: Split, run: RunConfig, champion: Champion | None) -> _TestWindows:
    test, by_challenger = imported_model.unseen_windows(split, run.imported) if run.imported else (split["test"], [])
    index, by_champion = split_by_seen(test, champion.seen) if champion else (test, [])
    if not champion or not len(index):
        return _TestWindows(test, by_challenger, [], seen_all=champion is not None, change=None)
    days = target_days(index)
    counted = zip(*(found.tolist() for found in np.unique(days, return_counts=True)), strict=True)
    change = describe_change(find_changes(index.frame), dict(counted))
    if change and change["days_before"] and change["judged_on"] == "after":
        index = index.take(np.flatnonzero(days >= np.datetime64(change["day"], "D").astype(np.int64)))
    return _TestWindows(index, by_challenger, by_champion, seen_all=False, change=change)


def _compare_streams(
    folder: Path,
    run: RunConfig,
    champion: Champion | None,
    index: WindowIndex,
    judged: Callable[[Forecast, Forecast | None], tuple[Forecasts, dict[str, Any]]],
    over_windows: tuple[Forecast, Forecast | None],
) -> dict[str, Any] | None:
    """The comparison of what consumers of streams get from each model; a model without a stream is run over windows.

    None where neither has one. `judged` compares forecasts, `over_windows` are those of challenger and champion.
    """
    served, by_champion = over_windows
    without = run.imported is not None and run.imported.stream is None
    own = None if without else folder / stream_onnx_name(run.version)
    theirs = champion.stream if champion and by_champion is not None else None
    if not own and not theirs:
        return None
    if own:
        served = forecast_stream(open_stream(own, threads=0), index)
    if theirs:
        by_champion = forecast_stream(open_stream(theirs, threads=0), index)
    _, comparison = judged(served, by_champion)
    comparison["modes"] = {"challenger": "stream" if own else "windows"}
    if by_champion is not None:
        comparison["modes"]["champion"] = "stream" if theirs else "windows"
    return comparison


def _forecast_of_champion(champion: Champion | None, index: WindowIndex) -> tuple[Forecast | None, str | None]:
    """Its forecasts, or why there are none; neither where nothing is in production."""
    if champion is None:
        return None, None
    try:
        return forecast_with_bounds(champion.onnx, index), None
    except ModelError as error:
        return None, str(error)


def _write_forecasts(
    folder: Path, forecasts: Forecasts, comparison: Mapping[str, Any], bounds: Bounds | None, horizon_minutes: float
) -> None:
    """Write the forecasts, their accuracy link by link, and the pictures of both."""
    write_forecasts(folder / FORECASTS, forecasts)
    best = {target: figures["best_baseline"] for target, figures in comparison["skill"].items()}
    accuracy = by_link.accuracy_by_link(forecasts, bounds, best)
    by_link.write_accuracy(folder / LINK_ACCURACY_NAME, accuracy)
    by_link.write_series(folder / LINK_SERIES_NAME, forecasts, bounds, accuracy)
    figures = comparison["models"]["challenger"]["per_target"]
    plots.predictions_scatter(
        folder / SCATTER_PLOT, forecasts.actual, forecasts.models["challenger"], figures, targets=forecasts.targets
    )
    for target in forecasts.targets:
        links = comparison["links"][target]
        forecast_plots.link_forecasts(folder / f"{LINKS_PLOT}_{target}.png", target, forecasts, links, bounds)
    forecast_plots.residuals(folder / RESIDUALS_PLOT, forecasts)
    forecast_plots.horizon(folder / HORIZON_PLOT, comparison, horizon_minutes)


def _links_of(index: WindowIndex) -> frozenset[tuple[int, int]]:
    """(node_id, peer_id) of the links with a window."""
    links = index.frame.links.iloc[np.unique(index.frame.link[index.target_rows])]
    return frozenset(links[list(schema.LINK_KEY)].itertuples(index=False, name=None))


def _write_metadata(
    folder: Path, split: Split, run: RunConfig, snapshot: Mapping[str, Any], comparison: Mapping[str, Any]
) -> None:
    compression = folder / COMPRESSION
    frame = split["train"].frame
    document = metadata.model_metadata(
        run=run,
        artifact=_artifact(folder, split, run),
        snapshot=snapshot,
        split=split.describe(),
        history=None if run.imported else read_document(folder / HISTORY, "training_history"),
        trained_elsewhere=read_document(folder / IMPORTED, "imported_model") if run.imported else None,
        comparison=comparison,
        environment=metadata.measure_environment(LOCK),
        filled=frame.filled,
        cadence_seconds=frame.cadence_seconds,
        calendar=frame.calendar,
        profile=PROFILE_NAME if (folder / PROFILE_NAME).is_file() else None,
        compression=read_document(compression, "compression") if compression.is_file() else None,
    )
    write_document(folder / metadata_name(run.version), "model_metadata", document)
    write_document(folder / REPORT, "bandwidth_predictor_report", metadata.predictor_report(document))


def _artifact(folder: Path, split: Split, run: RunConfig) -> metadata.Artifact:
    onnx, stream = folder / onnx_name(run.version), folder / stream_onnx_name(run.version)
    properties: dict[str, Any]
    if run.imported:
        architecture = imported_model.describe_file(onnx)
        properties = {
            "architecture": architecture,
            "parameters": architecture["total_parameters"],
            "scaler_params": {},
            "intervals": imported_model.describe_intervals(),
            "streaming": imported_model.describe_stream(stream, run.version),
        }
    else:
        served = load_checkpoint(folder / CHECKPOINT)
        properties = {
            "architecture": network.describe(served.architecture),
            "parameters": network.parameter_count(served),
            "scaler_params": served.scaler_params(),
            "intervals": intervals.describe(served, split),
            "streaming": onnx_export.streaming_contract(served, run.version) | {"sha256": sha256_of(stream)},
        }
    return metadata.Artifact(onnx=onnx.name, sha256=sha256_of(onnx), size_bytes=onnx.stat().st_size, **properties)


def _log_intervals(model: network.Forecaster, split: Split) -> None:
    if not model.calibration_windows:
        logger.warning("no intervals are made: %s", intervals.why_none(split))
    else:
        windows = int(model.calibration_windows)
        logger.info("%.0f %% intervals calibrated on %s windows", 100 * schema.INTERVAL_LEVEL, f"{windows:,}")
