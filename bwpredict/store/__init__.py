"""Object stores: one small protocol over a local folder and S3. `open_store(uri)` picks the one."""

from bwpredict.store.base import ObjectInfo, Store, open_store

__all__ = ["ObjectInfo", "Store", "open_store"]
