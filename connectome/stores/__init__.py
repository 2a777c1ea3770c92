"""Where documents live: the protocols, the requests, and ``open_store``, which knows every kind of store."""

from __future__ import annotations

from importlib import import_module
from pathlib import Path
from typing import Any, Final

from connectome.errors import ConfigurationError
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

# From the scheme of a URL to the module and the class of its store, which is imported when it is asked for.
_STORES: Final = {
    "mongodb": ("connectome.stores.mongodb", "MongoDBStore"),
    "mongodb+srv": ("connectome.stores.mongodb", "MongoDBStore"),
}


def open_store(place: Path | str, **settings: Any) -> Store:
    """
    Open the store at a place: in a data directory, which is made where there is none, or behind a URL.

    Args:
        place: A path; or, as text, a URL.
        settings: As ``EmbeddedStore`` takes them; a server has settings of its own, and of these ``max_document_bytes``
            alone.

    Raises:
        StoreLocked: Another process holds the directory.
        StoreFailed: The directory cannot be read or written, or holds what cannot be understood; or there is nobody to
            answer at the URL.
        ConfigurationError: It is no URL of a store.
    """
    if isinstance(place, Path):
        from connectome.stores.embedded import EmbeddedStore

        return EmbeddedStore(place, **settings)
    scheme = place.partition("://")[0]
    if "://" not in place or scheme not in _STORES:
        # What was given is not repeated: a password may stand in it.
        raise ConfigurationError(
            f"a store is a URL that begins with {' or '.join(f'{each}://' for each in _STORES)}, and this one does not"
        )
    module, name = _STORES[scheme]
    of_all = {key: value for key, value in settings.items() if key == "max_document_bytes"}
    store: Store = getattr(import_module(module), name)(place, **of_all)
    return store
