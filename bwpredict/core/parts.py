"""Rows that are sorted by link, in parts of whole links."""

from __future__ import annotations

from collections.abc import Iterator

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
