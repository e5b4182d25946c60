"""A challenger that was trained elsewhere: which file it is, what its author states, and its import into a run.

The file is published as its author wrote it, byte for byte. Nothing of its training is known here but what somebody
states, so every document says who.
"""

from __future__ import annotations

import hashlib
import math
from collections.abc import Mapping
from datetime import UTC, datetime, timedelta
from pathlib import Path
from typing import Any

import onnx
from onnxruntime import InferenceSession

from bwpredict import schema
from bwpredict.config import IMPORTED_PATHS, NEVER, ImportedModel, ImportedStream, RunConfig, TrainingConfig, load
from bwpredict.core.limits import ONNX_BYTES
from bwpredict.datasets.windows import Split, WindowIndex
from bwpredict.documents import write_document
from bwpredict.errors import ConfigError, ModelError, ObjectMissingError
from bwpredict.inference.confidence import FLOORS, FORMULA
from bwpredict.inference.guard import check_onnx
from bwpredict.inference.onnx_model import check_served_contract, decoded, open_model
from bwpredict.inference.stream_model import Step, check_stream_contract
from bwpredict.pipeline.seen_days import days_through, split_by_seen
from bwpredict.registry.layout import challenger_key, onnx_name, stream_onnx_name
from bwpredict.store.base import Store
from bwpredict.store.factory import open_store
from bwpredict.store.files import sha256_of, write_atomically
from bwpredict.telemetry.months import month_window
from bwpredict.workspace.artifacts import IMPORTED

Document = dict[str, Any]

THROUGH, ON = "trained_through", "trained_on"
"""What an author states of the training: options of the command, params of the DAG, or properties of the file."""
_BY_THE_FILE = "the file"


def record_file(
    file: Path | str,
    stream: Path | str | None,
    registry: str,
    contract: TrainingConfig,
    stated: Mapping[str, str],
    *,
    by: str,
) -> ImportedModel:
    """The run's record of a file and of its file for streams, once both passed the guard and keep the contract.

    Args:
        file: on this machine, or the name of one in the registry's `challengers/`; so is `stream` (None: none).
        contract: window size and horizon that consumers have.
        stated: `trained_through` and `trained_on`, as far as a person gives them; else the file's properties.
        by: the person.

    Raises:
        ModelError: a file may not be loaded, or does not keep the contract.
        ConfigError: person and file state different days, or what is stated is not a day.
    """
    consumers = {"window_size": contract.window_size, "horizon_minutes": contract.horizon_minutes}
    session, values = _opened(file, registry)
    name = values["name"]
    check_served_contract(session, name=name, **consumers)
    told = session.get_modelmeta()
    properties = {key: str(decoded(value)) for key, value in told.custom_metadata_map.items() if key in (THROUGH, ON)}
    given = {key: " ".join(value.split()) for key, value in stated.items() if value}
    if THROUGH in given and THROUGH in properties and given[THROUGH] != properties[THROUGH]:
        raise ConfigError(
            f"{name}: its property {THROUGH} says {properties[THROUGH]!r}, but {given[THROUGH]!r} was given; give the"
            " same day, or none."
        )
    values |= {key: value for key, value in (properties | given).items() if value}
    values["producer"] = " ".join(told.producer_name.split())[:200]
    if THROUGH in values:
        values["stated_by"] = (by or "a person") if THROUGH in given else _BY_THE_FILE
    imported = load(ImportedModel, values, origin=name)
    if stream is None:
        return imported
    session, values = _opened(stream, registry)
    check_stream_contract(session, name=values["name"], **consumers)
    return imported.model_copy(update={"stream": load(ImportedStream, values, origin=values["name"])})


def _opened(file: Path | str, registry: str) -> tuple[InferenceSession, Document]:
    """A session with the file, which the guard has passed, and the record of it."""
    content = _read(file, registry)
    name, path = (file.name, str(file.absolute())) if isinstance(file, Path) else (file, None)
    session = open_model(check_onnx(content, name=name), 1, name=name)
    sha256 = hashlib.sha256(content).hexdigest()
    return session, {"name": name, "path": path, "sha256": sha256, "size_bytes": len(content)}


def require_days_left(imported: ImportedModel, month: str) -> None:
    """Refuse, before anything is read, a model that has seen the month to its end. Raises ModelError."""
    _, end = month_window(month)
    last = (end - timedelta(days=1)).date().isoformat()
    if imported.trained_through not in (None, NEVER) and str(imported.trained_through) >= last:
        raise _none_left(imported, last)


def import_model(folder: Path, split: Split, run: RunConfig, imported: ImportedModel) -> Path:
    """Write the run's model into the folder as it is: `bandwidth_lstm_<version>.onnx`, `imported_model.json`.

    Its file for streams too, if it has one: `bandwidth_lstm_stream_<version>.onnx`. Returns the document.

    Raises:
        ModelError: the file is not the one that the run was planned with, may not be loaded, or has seen all test days.
    """
    files: dict[str, ImportedModel | ImportedStream] = {onnx_name(run.version): imported}
    if imported.stream:
        files[stream_onnx_name(run.version)] = imported.stream
    contents = {name: _content(file, run.registry) for name, file in files.items()}
    unseen_windows(split, imported)
    for name, content in contents.items():
        write_atomically(folder / name, content)
    document = imported.model_dump(exclude=IMPORTED_PATHS) | {
        "imported_by": run.requested_by,
        "counts_as_seen_through": last_day_seen(imported, split),
    }
    return write_document(folder / IMPORTED, "imported_model", document)


def _content(file: ImportedModel | ImportedStream, registry: str) -> bytes:
    content = _read(Path(file.path) if file.path else file.name, registry)
    if hashlib.sha256(content).hexdigest() != file.sha256:
        raise ModelError(f"{file.name}: is not the file that this run was started with; start another run.")
    return check_onnx(content, name=file.name)


def unseen_windows(split: Split, imported: ImportedModel) -> tuple[WindowIndex, list[str]]:
    """The test windows of days that the model has not seen, and the dates that are left out.

    Raises:
        ModelError: it has seen all of them.
    """
    index, left_out = split_by_seen(split["test"], days_through(last_day_seen(imported, split)))
    if not len(index):
        raise _none_left(imported, left_out[-1])
    return index, left_out


def last_day_seen(imported: ImportedModel, split: Split) -> str | None:
    """The last day that counts as seen (YYYY-MM-DD); None: no day does.

    Where nobody states one, all days before the test part count as seen; the gate then publishes nothing.
    """
    if imported.trained_through == NEVER:
        return None
    if imported.trained_through:
        return imported.trained_through
    first, _ = split.boundaries["test"]
    return (datetime.fromtimestamp(first, UTC).date() - timedelta(days=1)).isoformat()


def describe_file(path: Path) -> Document:
    """`type`, `framework` and `layers` (kind of operator and how many) for the metadata, and the numbers it holds."""
    model = onnx.load(path)
    kinds = [node.op_type for node in model.graph.node]
    numbers = sum(math.prod(tensor.dims) for tensor in model.graph.initializer)
    numbers += sum(len(attribute.floats) for node in model.graph.node for attribute in node.attribute)
    return {
        "type": "trained elsewhere",
        "framework": " ".join(model.producer_name.split())[:200] or "unknown",
        "layers": [{"type": kind, "count": kinds.count(kind)} for kind in dict.fromkeys(kinds)],
        "total_parameters": numbers,
    }


def describe_stream(path: Path, version: str) -> Document | None:
    """What the metadata says of the file for streams; None where there is none."""
    if not path.is_file():
        return None
    told = open_model(path, 1).get_modelmeta().custom_metadata_map
    streaming = decoded(told["streaming"])
    kept = ("state_size", "state_version", "horizons_minutes", "quantiles", "warm_up_minutes", "largest_step")
    return {
        "onnx": stream_onnx_name(version),
        "sha256": sha256_of(path),
        "inputs": ["input", "state"],
        "outputs": list(Step._fields),
        **{name: streaming[name] for name in kept},
    }


def describe_intervals() -> Document:
    """What the metadata says of the intervals: they are in the file, and were not calibrated here."""
    return {
        "made": True,
        "reason": None,
        "level": schema.INTERVAL_LEVEL,
        "method": "of the model's author; not calibrated here",
        "calibration_windows": 0,
        "confidence": {"formula": FORMULA, "floors": dict(FLOORS)},
    }


def _none_left(imported: ImportedModel, last: str) -> ModelError:
    return ModelError(
        f"{imported.name}: was trained through {imported.trained_through}, and the test days end on {last}, so no day"
        " is left to judge it on; judge it on a later month."
    )


def _read(file: Path | str, registry: str) -> bytes:
    """The bytes of a file on this machine, or of the challenger of that name in the registry's store."""
    if isinstance(file, str):
        return _read_stored(open_store(registry), file)
    try:
        _require_small(str(file), file.stat().st_size)
        return file.read_bytes()
    except OSError as error:
        raise ModelError(f"{file}: cannot be read ({error.strerror}); expected an ONNX model.") from error


def _read_stored(store: Store, name: str) -> bytes:
    key = challenger_key(name)
    try:
        _require_small(f"{store.uri}/{key}", store.info(key).size_bytes)
        return store.read(key)[0]
    except ObjectMissingError as error:
        raise ConfigError(f"{name}: no such challenger; put the file into {store.uri} as {key}.") from error


def _require_small(where: str, size_bytes: int) -> None:
    if size_bytes > ONNX_BYTES:
        raise ModelError(f"{where}: has {size_bytes:,} bytes; expected at most {ONNX_BYTES:,}.")
