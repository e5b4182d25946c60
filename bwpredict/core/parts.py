"""Rows that are sorted by link: whether they are, and their parts of whole links."""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from typing import Any

import numpy as np
import numpy.typing as npt


def whole_links(begins: npt.NDArray[np.int64], rows: int) -> Iterator[tuple[int, int]]:
    """Parts, as [first, past) among links that begin at the rows `begins` [links + 1]; the last one is the end.

    A part has at most `rows` rows, more only where one link has more.
    """
    first = 0
    while first < len(begins) - 1:
        past = max(first + 1, int(np.searchsorted(begins, begins[first] + rows, side="right")) - 1)
        yield first, past
        first = past


def ascending(columns: Sequence[npt.NDArray[Any]], *, strictly: bool = False) -> bool:
    """Whether rows, given as columns of numbers, are sorted by the first column, then the second, and so on.

    `strictly`: and no two rows are equal. NaN is never in order.
    """
    length = max(0, len(columns[0]) - 1)
    later, equal = np.zeros(length, dtype=bool), np.ones(length, dtype=bool)
    for column in columns:
        later |= equal & (column[1:] > column[:-1])
        equal &= column[1:] == column[:-1]
    return bool((later if strictly else later | equal).all())
