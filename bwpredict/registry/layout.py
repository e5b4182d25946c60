"""Names in the registry: the files of a version, and their keys."""

from __future__ import annotations

import re

from bwpredict.errors import ConfigError

PRODUCTION_KEY = "production.json"
MANIFEST_NAME = "MANIFEST.json"
DECISION_NAME = "decision.json"
PROFILE_NAME = "profile.json"
IMPORTED_NAME = "imported_model.json"
"""Of a model trained elsewhere, in the place of the files that a training leaves."""
CONFORMANCE_NAME = "conformance.json"
"""Inputs and the answers that a consumer must get for them."""
LINK_ACCURACY_NAME = "link_accuracy.parquet"
LINK_SERIES_NAME = "link_series.parquet"
"""The test days link by link: `bwpredict.evaluation.by_link`."""
STATEMENT_NAME = "provenance.json"
"""What the version was made from: an in-toto statement."""
ENVELOPE_NAME = "provenance.dsse.json"
"""The same, signed."""
OPENSSF_NAME = "model.sig"
"""OpenSSF's signature of all other files."""
_VERSION = re.compile(r"v[0-9]{8}_[0-9]{6}")
_CHALLENGER = re.compile(r"[A-Za-z0-9][A-Za-z0-9._-]{0,200}\.onnx")


def onnx_name(version: str) -> str:
    """File name of the version's model."""
    return f"bandwidth_lstm_{version}.onnx"


def stream_onnx_name(version: str) -> str:
    """File name of the version's model for streams: the same weights, with a state beside the samples."""
    return f"bandwidth_lstm_stream_{version}.onnx"


def metadata_name(version: str) -> str:
    """File name of the version's metadata."""
    return f"model_metadata_{version}.json"


def required_files(version: str, *, trained_elsewhere: bool = False) -> tuple[str, ...]:
    """Names of the files that every published version has, in the order they are uploaded."""
    return (
        "snapshot.json",
        PROFILE_NAME,
        *((IMPORTED_NAME,) if trained_elsewhere else ("best_model.pth", "training_history.png")),
        "predictions_scatter.png",
        "comparison.json",
        DECISION_NAME,
        "model_card.html",
        "bandwidth_predictor_report.json",
        metadata_name(version),
        onnx_name(version),
    )


OPTIONAL_FILES = (
    "history.json",
    "parity.json",
    "latency.json",
    "compression.json",
    "validation.json",
    LINK_ACCURACY_NAME,
    LINK_SERIES_NAME,
    CONFORMANCE_NAME,
    STATEMENT_NAME,
    ENVELOPE_NAME,
    OPENSSF_NAME,
)
"""Names of files that are published too where a run made them."""


def optional_files(version: str) -> tuple[str, ...]:
    """Names of all files that are published too where a run made them."""
    return (stream_onnx_name(version), *OPTIONAL_FILES)


def is_version(name: str) -> bool:
    """Whether this is a name that a version can have."""
    return _VERSION.fullmatch(name) is not None


def check_version(version: str) -> None:
    """Refuse anything but `v%Y%m%d_%H%M%S`. Raises ConfigError."""
    if not is_version(version):
        raise ConfigError(f"{version!r} is not a version; expected vYYYYMMDD_HHMMSS, such as v20261101_093000.")


def model_key(version: str, name: str) -> str:
    """Key of one file of a version. Raises ConfigError if `version` is not a version."""
    check_version(version)
    return f"models/{version}/{name}"


def challenger_key(name: str) -> str:
    """Key of a model that somebody put into the registry's store to have it judged. Raises ConfigError."""
    if not _CHALLENGER.fullmatch(name):
        raise ConfigError(
            f"{name!r} is not a name of a challenger; expected the name of a file, without a folder, such as mine.onnx."
        )
    return f"challengers/{name}"


def record_key(sequence: int, version: str, kind: str) -> str:
    """Key of the record of the pointer's move number `sequence`; sorts in the order of the moves."""
    return f"{record_prefix(sequence)}{version}_{kind}.json"


def record_prefix(sequence: int) -> str:
    """How the key of that move's record begins, whatever the move was."""
    return f"history/{sequence:08d}_"
