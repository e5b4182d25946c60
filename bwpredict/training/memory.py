"""Memory that is freed stays with the process while it trains.

A step of the recurrent layers frees and takes some hundred MB. By default, glibc gives blocks of that size back to the
system, which clears each page when it is taken again: most of what a step loses beside its products. Filling new
memory, which torch does where algorithms are deterministic, changes nothing: every value is written before it is read.
"""

from __future__ import annotations

import ctypes
from collections.abc import Iterator
from contextlib import contextmanager

from torch.utils import deterministic

_TRIM_THRESHOLD, _MMAP_MAX = -1, -4
"""glibc's names for what `mallopt` sets: bytes at the heap's end that are given back, blocks outside of the heap."""
_DEFAULTS = {_TRIM_THRESHOLD: 128 * 1024, _MMAP_MAX: 65_536}
_KEEP = {_TRIM_THRESHOLD: 2**31 - 1, _MMAP_MAX: 0}


@contextmanager
def kept() -> Iterator[None]:
    """Within the block freed memory is kept, and new memory is not filled; after it, what is free is given back."""
    library = ctypes.CDLL(None)
    tunable = hasattr(library, "mallopt") and hasattr(library, "malloc_trim")  # glibc
    before = deterministic.fill_uninitialized_memory  # type: ignore[attr-defined]
    deterministic.fill_uninitialized_memory = False  # type: ignore[attr-defined]
    for option, value in _KEEP.items() if tunable else ():
        library.mallopt(option, value)
    try:
        yield
    finally:
        deterministic.fill_uninitialized_memory = before  # type: ignore[attr-defined]
        for option, value in _DEFAULTS.items() if tunable else ():
            library.mallopt(option, value)
        if tunable:
            library.malloc_trim(0)
