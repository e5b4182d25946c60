"""Checkpoints as files: opened without running anything in them, and without filling memory."""

from __future__ import annotations

import zipfile
from dataclasses import asdict
from pathlib import Path
from typing import Any

import torch

from bwpredict.core.limits import CHECKPOINT_BYTES
from bwpredict.errors import ModelError
from bwpredict.models.network import Contract, Forecaster
from bwpredict.store.files import atomic_path


def save_checkpoint(model: Forecaster, path: Path, extra: dict[str, Any]) -> None:
    """Write weights, contract, architecture and `extra` (plain values) to `path`, atomically."""
    described = {"contract": asdict(model.contract), "architecture": model.architecture}
    with atomic_path(path) as temporary:
        torch.save({**described, "state": model.state_dict(), **extra}, temporary)


def load_checkpoint(path: Path) -> Forecaster:
    """The model in a checkpoint; never runs code from the file (`weights_only=True`).

    Raises:
        ModelError: not a checkpoint of this model.
    """
    checkpoint = read_checkpoint(path)
    try:
        model = Forecaster(Contract(**checkpoint["contract"]), checkpoint["architecture"])
        checkpoint["state"].setdefault("warm_up_minutes", model.warm_up_minutes)  # 0.2 did not measure it
        model.load_state_dict(checkpoint["state"])
    except Exception as error:  # torch raises whatever a damaged file makes it raise
        raise ModelError(f"{path}: not a checkpoint of this model ({type(error).__name__}).") from error
    return model.eval()


def read_checkpoint(path: Path) -> dict[str, Any]:
    """What `torch.save` wrote: tensors and plain values; never runs code from the file (`weights_only=True`).

    Raises:
        ModelError: not a checkpoint, or one that holds more than there may be.
    """
    try:
        packed = path.stat().st_size
        with zipfile.ZipFile(path) as archive:
            unpacked = sum(record.file_size for record in archive.infolist())
            stored = all(record.compress_type == zipfile.ZIP_STORED for record in archive.infolist())
        if not stored or max(packed, unpacked) > CHECKPOINT_BYTES:
            raise ModelError(
                f"{path}: holds {max(packed, unpacked):,} bytes{'' if stored else ', compressed'};"
                f" expected a checkpoint of {CHECKPOINT_BYTES:,} at most, as torch writes it."
            )
        checkpoint = torch.load(path, map_location="cpu", weights_only=True)
        if not isinstance(checkpoint, dict):
            raise TypeError(type(checkpoint).__name__)
    except ModelError:
        raise
    except Exception as error:  # torch raises whatever a damaged file makes it raise
        raise ModelError(f"{path}: not a checkpoint of this model ({type(error).__name__}).") from error
    return checkpoint
