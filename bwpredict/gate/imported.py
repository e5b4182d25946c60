"""The gate's checks of a model trained elsewhere, which replace those of a model that the run trained."""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import replace
from typing import Any

from bwpredict.config import NEVER, GatePolicy
from bwpredict.gate import Document
from bwpredict.gate.check import Check, check_flag, check_threshold, info_check, nested_value


def imported_document(imported: Document | None) -> dict[str, Any] | None:
    """The `trained_elsewhere` part of a decision; None where the run trained its own model."""
    if imported is None:
        return None
    kept = {name: imported[name] for name in ("name", "sha256", "trained_through", "stated_by")}
    told = f" {_stated(imported)}" if imported["trained_through"] else ""
    return kept | {"sentence": f"{imported['name']} was trained elsewhere.{told}"}


def imported_checks(imported: Document | None, comparison: Document) -> Iterator[Check]:
    """That somebody states which days the model has seen, and what it lacks beside a model of a run."""
    if imported is None:
        return
    stated = bool(imported["trained_through"])
    sentence = f"The days that a model trained elsewhere has seen must be stated. {_stated(imported)}"
    check = check_flag("training_days_stated", sentence, stated)
    told = (
        f"Nobody has stated the days that {imported['name']} was trained on, so it may have seen the test days; state"
        " its last day as trained_through."
    )
    yield check if stated else replace(check, headline=told)
    if nested_value(comparison, "stream", "modes", "challenger") == "stream":
        return
    mode = nested_value(comparison, "stream", "modes", "champion")
    against = (
        "The champion has one, and is compared as a stream."
        if mode == "stream"
        else "No model is compared as a stream."
    )
    sentence = f"The model has no file for streams, so consumers of streams cannot load it. {against}"
    yield info_check("stream_file", sentence, None, "==", None)


def batch_check(parity: Document, policy: GatePolicy, *, tested: bool) -> Check:
    """Instead of parity with torch, which there is none of.

    Trees jump where an input crosses a threshold, and sums are rounded differently in a batch, so they have the bound
    of int8 weights.
    """
    jumps = nested_value(parity, "jumps") is True or nested_value(parity, "quantized") is True
    bound = policy.maximum_parity_error_quantized if jumps else policy.maximum_parity_error
    sentence = (
        f"The relative difference between forecasts for a window alone and in a batch must be at most {bound:g}. The"
        " model was trained elsewhere, so there is nothing else to compare the file with."
    )
    effect = nested_value(parity, "max_batch_effect") if tested else None
    return check_threshold("batch_effect", sentence, effect, "<=", bound, low=0)


def _stated(imported: Document) -> str:
    through, who = imported["trained_through"], imported["stated_by"]
    if not through:
        return "Nobody has stated the days that it was trained on."
    what = "no day of this telemetry" if through == NEVER else f"no day after {through}"
    return f"According to {who}, it was trained on {what}."
