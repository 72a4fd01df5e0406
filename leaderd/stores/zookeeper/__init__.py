"""ZooKeeper: Curator's LeaderSelector recipe, over kazoo as session and transport only.

::

    store ──► session ──► contest (one election) ──► entry (our node), mark, roster ──► paths (names, order: pure)
                 │            │
                 └────────────┴──► transport ──► connection (kazoo's thread)

`transport` and `connection` are the only files that know kazoo's thread and its private parts; all else runs on the event loop.
"""

from leaderd.stores.zookeeper.store import ZooKeeperStore

__all__ = ["ZooKeeperStore"]
