"""Go constants of a model's contract, and the check that goes with them: for the DWCP backend."""

from __future__ import annotations

import json
import re
from collections.abc import Mapping
from importlib import resources
from pathlib import Path
from typing import Any

import jinja2

from bwpredict.errors import ConfigError
from bwpredict.serving.contract import contract_of
from bwpredict.serving.delivery import METADATA, MODEL
from bwpredict.store.files import write_atomically

_TEMPLATE = "go_config.go.j2"


def write_go_config(path: Path, metadata: Mapping[str, Any], *, dest: Path, package: str) -> None:
    """Write the Go file, if it is not there already with the same content; it changes only with the contract.

    Args:
        metadata: the `model_metadata` document of the model that the service is built for.
        dest: the folder that `pull` fills, as the service sees it.

    Raises:
        ConfigError: `package` is no name of a Go package.
    """
    content = go_config(metadata, dest=dest, package=package).encode()
    if not path.is_file() or path.read_bytes() != content:
        write_atomically(path, content)


def go_config(metadata: Mapping[str, Any], *, dest: Path, package: str) -> str:
    """The Go source, as gofmt leaves it. Raises ConfigError as `write_go_config`."""
    if not re.fullmatch(r"[a-z][a-z0-9_]*", package):
        raise ConfigError(f"{package!r} is not a name of a Go package; expected lower-case letters and digits.")
    contract = contract_of(metadata)
    source = resources.files(__package__).joinpath(_TEMPLATE).read_text("utf-8")
    template = jinja2.Template(source, undefined=jinja2.StrictUndefined, keep_trailing_newline=True)
    rendered: str = template.render(
        package=package,
        model_path=_quoted(str(dest / MODEL)),
        metadata_path=_quoted(str(dest / METADATA)),
        window_size=contract.window_size,
        cadence_seconds=contract.cadence_seconds,
        horizon_minutes=contract.horizon_minutes,
        calendar=_quoted(metadata["contract"]["calendar"]["sentence"]),
        features=[_quoted(" ".join(column).strip()) for column in contract.features],
        targets=[_quoted(" ".join(column).strip()) for column in contract.targets],
    )
    return rendered


def _quoted(text: str) -> str:
    """A Go string; JSON's escapes are Go's too."""
    return json.dumps(text, ensure_ascii=True)
