"""Whether windows are what a model was made for: shape, order, units, calendar and age, each with its sentence."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

import numpy as np
import numpy.typing as npt

from bwpredict import schema
from bwpredict.core.limits import PREDICTED_WINDOWS
from bwpredict.errors import InputError
from bwpredict.serving.contract import ServingContract

CLOCK_SKEW_SECONDS = 60
"""How far in the future a newest sample may be, since clocks differ."""


def check_windows(
    windows: npt.NDArray[np.floating[Any]],
    columns: Sequence[str],
    newest_at: npt.ArrayLike,
    contract: ServingContract,
    now: float,
    maximum_age_seconds: float,
) -> npt.NDArray[np.int64]:
    """[n] unix seconds of the windows' newest samples, if everything is as the contract says.

    Raises:
        InputError: names what is not, with the first window concerned.
    """
    _check_shape(windows, columns, contract)
    newest = _check_age(newest_at, len(windows), now, maximum_age_seconds)
    _check_units(windows, contract)
    _check_calendar(windows, newest, contract)
    return newest


def require_distinct(links: Sequence[tuple[int, int]], rows: int) -> None:
    """Raise an InputError unless there is one link for each row, and no link appears twice."""
    if len(links) != rows:
        raise InputError(f"{len(links)} links were given for {rows} rows; expected one link for each row.")
    if len(set(links)) != len(links):
        raise InputError("a link appears twice in one call; expected one row for each link.")


def _check_shape(windows: npt.NDArray[Any], columns: Sequence[str], contract: ServingContract) -> None:
    expected = contract.feature_names
    if tuple(columns) != expected:
        raise InputError(
            f"the windows' columns are {', '.join(columns)}; expected, in this order: {', '.join(expected)}."
        )
    shape = (contract.window_size, len(expected))
    if not isinstance(windows, np.ndarray) or windows.ndim != 3 or windows.shape[1:] != shape or not len(windows):
        found = list(windows.shape) if isinstance(windows, np.ndarray) else type(windows).__name__
        raise InputError(f"the windows are {found}; expected an array of [n, {shape[0]}, {shape[1]}], n at least 1.")
    if not np.issubdtype(windows.dtype, np.floating):
        raise InputError(f"the windows are of type {windows.dtype}; expected float32.")
    if len(windows) > PREDICTED_WINDOWS:
        raise InputError(f"{len(windows):,} windows were given at once; expected at most {PREDICTED_WINDOWS:,}.")


def _check_age(newest_at: npt.ArrayLike, count: int, now: float, maximum_age: float) -> npt.NDArray[np.int64]:
    given = np.asarray(newest_at)
    if given.shape not in ((), (count,)) or given.dtype.kind not in "iuf" or not np.isfinite(given).all():
        raise InputError(
            f"newest_at has the shape {list(given.shape)} and the type {given.dtype}; expected unix seconds, one"
            f" or {count}."
        )
    newest = np.broadcast_to(given.astype(np.int64), (count,))
    age = now - newest
    if (age > maximum_age).any():
        first = int(np.argmax(age > maximum_age))
        raise InputError(
            f"window {first}: its newest sample is {age[first]:.0f} s old; expected at most {maximum_age:.0f} s:"
            " its forecast would be for a moment that is nearly here or past."
        )
    if (age < -CLOCK_SKEW_SECONDS).any():
        first = int(np.argmax(age < -CLOCK_SKEW_SECONDS))
        raise InputError(
            f"window {first}: its newest sample is {-age[first]:.0f} s in the future; expected unix seconds, UTC."
        )
    return newest


def _check_units(windows: npt.NDArray[np.floating[Any]], contract: ServingContract) -> None:
    """Scaled values, percentages and local habits show: as negatives, as loss above 1, as hours that are not whole."""
    for place, (name, unit) in enumerate(contract.features):
        values, column = windows[:, :, place], schema.COLUMN[name]
        _refuse(~np.isfinite(values), values, name, "a finite number; leave the window out until the sample is there")
        bad = values < (-np.inf if column.minimum is None else column.minimum)
        bad |= values > (np.inf if column.maximum is None else column.maximum)
        bounds = (
            f"{column.minimum:g} or more" if column.maximum is None else f"{column.minimum:g} to {column.maximum:g}"
        )
        _refuse(bad, values, name, f"{bounds} ({unit}, raw: the model scales by itself)")
        if name in ("time_of_day", "day_of_week"):
            _refuse(
                values != np.floor(values), values, name, f"a whole number ({unit}, raw: the model scales by itself)"
            )


def _refuse(bad: npt.NDArray[np.bool_], values: npt.NDArray[Any], name: str, expected: str) -> None:
    if bad.any():
        window, step = (int(place[0]) for place in np.nonzero(bad))
        raise InputError(f"window {window}, sample {step}: {name} is {values[window, step]:g}; expected {expected}.")


def _check_calendar(windows: npt.NDArray[Any], newest: npt.NDArray[np.int64], contract: ServingContract) -> None:
    """Compare the calendar of each window's last sample with its time: this finds a collector in local time."""
    names = contract.feature_names
    if contract.time_zone == schema.OF_EACH_LINK:
        return  # the contract does not state a link's time zone
    calendar = schema.Calendar(contract.time_zone, contract.first_day)
    expected = {"time_of_day": calendar.hours(newest), "day_of_week": calendar.days(newest)}
    for name, right in expected.items():
        given = windows[:, -1, names.index(name)]
        if (given != right).any():
            first = int(np.argmax(given != right))
            raise InputError(
                f"window {first}: {name} of its newest sample is {given[first]:g}, but at {newest[first]} it is"
                f" {right[first]}: {calendar.sentence}."
            )
