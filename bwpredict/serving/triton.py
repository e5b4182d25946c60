"""A delivered version as a model repository of Triton Inference Server, which KServe serves too.

```
REPOSITORY/bandwidth_lstm/config.pbtxt                       windows
           bandwidth_lstm/20261101093000/model.onnx
           bandwidth_lstm_stream/…                           streams: Triton's sequence batcher keeps each link's state
```

`config.pbtxt` names the one version that serves, so that a rollback serves a lower number than the highest.
"""

from __future__ import annotations

import shutil
from functools import lru_cache
from importlib import resources
from pathlib import Path
from typing import Any

import jinja2

from bwpredict.errors import ModelError
from bwpredict.inference.session import open_session
from bwpredict.serving.delivery import STREAM_MODEL, read_pair, read_stream
from bwpredict.store.files import write_atomically

WINDOWS, STREAMS = "bandwidth_lstm", "bandwidth_lstm_stream"
"""Names of the two models."""
CONFIG, MODEL_FILE = "config.pbtxt", "model.onnx"
MAX_BATCH_SIZE = 1024
MAX_SEQUENCES = 16_384
"""Links whose state one instance keeps."""
MAX_IDLE_MICROSECONDS = 24 * 3600 * 1_000_000
"""After so long without a sample, a link's state is dropped."""
_STATES = {"state": "next_state"}
_TEMPLATE = "triton_config.pbtxt.j2"


def write_repository(repository: Path, folder: Path) -> None:
    """Make `repository` serve the version in `folder`, as `deliver` left it; what is there already stays untouched.

    Raises:
        ModelError, DocumentError: as `read_pair` and `read_stream`.
    """
    content, metadata = read_pair(folder)
    kept = {_number(each.name) for each in folder.parent.iterdir()}
    _write_model(repository / WINDOWS, content, metadata["version"], kept)
    if (folder / STREAM_MODEL).is_file():
        _write_model(repository / STREAMS, read_stream(folder)[0], metadata["version"], kept)
    else:
        shutil.rmtree(repository / STREAMS, ignore_errors=True)


def _write_model(model: Path, content: bytes, version: str, kept: set[str]) -> None:
    """The model first, then the configuration that names it, then the old ones go."""
    number = _number(version)
    _write_if_changed(model / number / MODEL_FILE, content)
    _write_if_changed(model / CONFIG, _config(model.name, content, version).encode())
    for old in model.iterdir():
        if old.is_dir() and old.name not in kept:
            shutil.rmtree(old)


def _number(version: str) -> str:
    """v20261101_093000 as Triton counts versions: 20261101093000."""
    return version.removeprefix("v").replace("_", "")


def _write_if_changed(path: Path, content: bytes) -> None:
    """Triton loads a model again when its files get another time of change."""
    if not path.is_file() or path.read_bytes() != content:
        write_atomically(path, content)


@lru_cache(maxsize=2)  # a version's two models: each check of `pull --watch` asks for both
def _config(name: str, content: bytes, version: str) -> str:
    session = open_session(content, threads=1)
    inputs = {tensor.name: _tensor(tensor) for tensor in session.get_inputs()}
    outputs = {tensor.name: _tensor(tensor) for tensor in session.get_outputs()}
    states = [
        (inputs.pop(before), outputs.pop(after))
        for before, after in _STATES.items()
        if before in inputs and after in outputs
    ]
    source = resources.files(__package__).joinpath(_TEMPLATE).read_text("utf-8")
    rendered: str = jinja2.Template(source, undefined=jinja2.StrictUndefined, keep_trailing_newline=True).render(
        name=name,
        number=_number(version),
        version=version,
        inputs=inputs.values(),
        outputs=outputs.values(),
        states=states,
        max_batch_size=MAX_BATCH_SIZE,
        max_sequences=MAX_SEQUENCES,
        max_idle_microseconds=MAX_IDLE_MICROSECONDS,
    )
    return rendered


def _tensor(tensor: Any) -> dict[str, str]:
    """Name and dimensions without the batch, which Triton adds; -1: any size."""
    batch, *sizes = tensor.shape
    if tensor.type != "tensor(float)" or isinstance(batch, int):
        raise ModelError(
            f"{tensor.name}: is not a float32 tensor with a free batch dimension, so Triton cannot batch it."
        )
    return {"name": tensor.name, "shape": ", ".join(str(size if isinstance(size, int) else -1) for size in sizes)}
