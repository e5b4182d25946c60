"""Fracast-0 as a rival: a pretrained network that was never trained on links, with the weights of its package."""

from __future__ import annotations

import json
from collections.abc import Callable
from dataclasses import replace
from typing import Any

import numpy as np

from accuracy import features
from accuracy.task import OFFSETS, TARGETS, Array, Fitted, Task, bounded, choose, described
from bwpredict.datasets.windows import Index, WindowIndex
from bwpredict.models.network import parameter_count

CONTEXTS = (20, 120)
"""Samples that it may see; a day of them takes seven times as long as the longer of these."""
MEDIAN = 4
"""Of its quantiles."""
WINDOWS_TO_TUNE = 500
WINDOWS_AT_A_TIME = 256


def fit_fracast(task: Task) -> Fitted:
    """The median, from each target's own past; validation chooses how much of it, in raw units or in log space."""
    few = replace(task, budget=replace(task.budget, validation_windows=WINDOWS_TO_TUNE))
    models = {context: fracast_model(context) for context in CONTEXTS}
    candidates = {
        f"{context} samples, {'log space' if logs else 'raw units'}": _forecast_with(models[context], logs=logs)
        for context in CONTEXTS
        for logs in (False, True)
    }
    chosen, forecast = choose(few, candidates)
    model = models[CONTEXTS[0]]
    return Fitted(forecast, parameter_count(model.core) + parameter_count(model.head), described(task, chosen))


def _forecast_with(model: Any, *, logs: bool) -> Callable[[WindowIndex], Array]:
    def forecast(index: WindowIndex) -> Array:
        places = np.arange(len(index))
        parts = [places[begin : begin + WINDOWS_AT_A_TIME] for begin in range(0, len(index), WINDOWS_AT_A_TIME)]
        return np.concatenate([_medians(model, index, part, logs=logs) for part in parts])

    return forecast


def _medians(model: Any, index: WindowIndex, which: Index, *, logs: bool) -> Array:
    """[n, targets] in raw units; each target of each window is a separate series."""
    past = features.past_logs(index, which, model.context_length)
    series = past if logs else np.exp(past) - OFFSETS
    rows = series.transpose(0, 2, 1).reshape(-1, model.context_length)
    ahead = model.forecast_batch(rows, horizon=index.horizon_steps)[:, -1, MEDIAN].reshape(-1, TARGETS)
    return bounded(np.exp(np.minimum(ahead, 30)) - OFFSETS if logs else ahead)


def fracast_model(context: int) -> Any:
    """The package's model, with its weights, for a context of this many steps.

    It is convolutional: a shorter context gives what padding up to the 2,048 steps of its training would give.
    """
    from fracast import inference
    from fracast._core.model import build_from_cfg

    config = json.loads((inference._PACKAGE_WEIGHTS_DIR / "config.json").read_text())  # noqa: SLF001
    config["model"] |= {"W": context, "level_widths": [context]}
    trained = inference.load_fracast(inference._PACKAGE_WEIGHTS_DIR, weights="fp32")  # noqa: SLF001
    parts = build_from_cfg(config)
    for part, source in zip(parts, trained, strict=True):
        part.load_state_dict(source.state_dict())
    return inference.FracastModel(*parts, config)
