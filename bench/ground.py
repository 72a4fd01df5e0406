"""What a benchmark stands on: servers, a folder, names that are never used twice, and how thorough to be."""

from __future__ import annotations

import itertools
import sys
import tempfile
from collections.abc import Callable, Iterator, Sequence
from concurrent.futures import ThreadPoolExecutor
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path
from typing import TypeVar

from bench import candidates
from bench.candidates import Candidate, Extras
from testbed import ConsulCluster, EtcdCluster, ZooKeeperCluster, available
from testbed.scratch import scratch_root

STORES = ("local", "etcd", "ZooKeeper", "Consul")
TICK_S = 0.5
T = TypeVar("T")
Servers = EtcdCluster | ZooKeeperCluster | ConsulCluster


@dataclass(frozen=True)
class Bed:
    """One store, running. `url(place)` is a store URL of its own for each place."""

    store: str
    url: Callable[[str], str]
    servers: Servers | None


class Ground:
    """A temporary folder and the daemons in it. `quick`: few rounds, for a first look."""

    def __init__(self, folder: Path, quick: bool) -> None:
        self.folder = folder
        self.quick = quick
        self._numbers = itertools.count()

    def name(self, word: str) -> str:
        """A name nobody had before."""
        return f"{word}-{next(self._numbers)}"

    def daemon(
        self,
        url: str,
        ttl: str = "10s",
        elections: int = 1,
        *,
        listen: bool = False,
        grpc: bool = False,
        journal: Path | None = None,
    ) -> Candidate:
        """One of our daemons, with a socket; and what `candidates.Extras` says."""
        extras = Extras(listen, grpc, journal)
        return candidates.leaderd(url, self.name("pod"), self.folder, ttl, elections, extras)

    @contextmanager
    def bed(self, store: str) -> Iterator[Bed]:
        """One node of the store, on loopback; of `local`, a directory."""
        if store == "local":
            yield Bed(store, lambda place: f"local://{self.folder}/store-{place}", None)
            return
        servers: Servers
        if store == "etcd":
            servers = EtcdCluster(nodes=1, version="3.5")
        elif store == "ZooKeeper":
            servers = ZooKeeperCluster(nodes=1, version="3.9", tick_time_ms=round(TICK_S * 1000))
        else:
            servers = ConsulCluster(nodes=1, session_ttl_min="1s")
        with servers:
            yield Bed(store, servers.url, servers)

    def each_store(self, measure: Callable[[Bed], T], stores: Sequence[str] = STORES) -> list[T]:
        """`measure` on every store: one after the other, so that none disturbs another, or all at once when in a hurry."""

        def one(store: str) -> T:
            with self.bed(store) as bed:
                return measure(bed)

        stores = present(stores)
        with ThreadPoolExecutor(max(1, len(stores)) if self.quick else 1) as pool:
            return list(pool.map(one, stores))


def present(stores: Sequence[str]) -> list[str]:
    """Those of the stores whose servers this machine has; the others are named on stderr."""
    missing = {store: available(store.lower()) for store in stores if store != "local"}
    for store, reason in missing.items():
        if reason is not None:
            print(f"without {store}: {reason}", file=sys.stderr, flush=True)
    return [store for store in stores if missing.get(store) is None]


@contextmanager
def ground(quick: bool) -> Iterator[Ground]:
    """A ground that is gone afterwards."""
    with tempfile.TemporaryDirectory(prefix="ld-bench-", dir=scratch_root()) as folder:
        yield Ground(Path(folder), quick)
