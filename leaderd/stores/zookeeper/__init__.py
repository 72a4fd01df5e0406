"""ZooKeeper: Curator's LeaderSelector recipe, over kazoo as session and transport only.

::

    store ──► session ──► contest (one election) ──► paths (names, order, marks: pure)
                 │            │
                 └────────────┴──► transport ──► kazoo's threads

``transport`` is the only file that knows kazoo's threads and its private parts; everything else runs on the event loop.
"""

from leaderd.stores.zookeeper.store import ZooKeeperStore

__all__ = ["ZooKeeperStore"]
