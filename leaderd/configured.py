"""The store driver that a configuration asks for; what is wrong with it becomes one line for the user."""

from __future__ import annotations

from pathlib import Path

from leaderd.clock import BootClock
from leaderd.config.model import Config
from leaderd.errors import EXIT_CONFIG, Fatal
from leaderd.stores.base import Identity, Store
from leaderd.stores.factory import StoreNotInstalled, make_store


def configured_store(config: Config, identity: Identity, clock: BootClock) -> Store:
    """The driver; it does not connect yet. Raises `Fatal`."""
    try:
        store = config.store
        if store.defaulted:
            # Chosen by us, so made by us, all of it; a directory somebody named must be there, or be mounted.
            Path(store.address.path).parent.mkdir(mode=0o700, parents=True, exist_ok=True)
        return make_store(store.address, identity, config.timing, store.credentials, store.tls, clock.now_s)
    except StoreNotInstalled as error:
        raise Fatal(str(error), EXIT_CONFIG) from error
    except OSError as error:
        raise Fatal(f"store.url: cannot make {error.filename}: {error.strerror}: name a store", EXIT_CONFIG) from error
