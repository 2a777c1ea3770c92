"""Where documents live: the protocols, the requests, and ``open_store``, which knows every kind of store."""

from __future__ import annotations

from pathlib import Path
from typing import Any

from connectome.stores.base import Barred as Barred
from connectome.stores.base import Collection as Collection
from connectome.stores.base import Deleted as Deleted
from connectome.stores.base import Example as Example
from connectome.stores.base import Explanation as Explanation
from connectome.stores.base import Find as Find
from connectome.stores.base import Guard as Guard
from connectome.stores.base import Index as Index
from connectome.stores.base import Ledger as Ledger
from connectome.stores.base import Loaded as Loaded
from connectome.stores.base import Modified as Modified
from connectome.stores.base import Modify as Modify
from connectome.stores.base import OnDuplicate as OnDuplicate
from connectome.stores.base import Reader as Reader
from connectome.stores.base import Store as Store
from connectome.stores.base import Watched as Watched
from connectome.stores.base import Writer as Writer
from connectome.stores.base import index_path as index_path


def open_store(directory: Path, **settings: Any) -> Store:
    """
    Open the store in a data directory, making the directory where there is none.

    Args:
        settings: As ``EmbeddedStore`` takes them.

    Raises:
        StoreLocked: Another process holds the directory.
        StoreFailed: The directory cannot be read or written, or holds what cannot be understood.
    """
    from connectome.stores.embedded import EmbeddedStore

    return EmbeddedStore(directory, **settings)
