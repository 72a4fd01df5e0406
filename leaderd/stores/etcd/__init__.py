"""etcd: elections over its key-value, lease and watch services, in the layout of `etcdctl elect` and the Go concurrency package.

`driver` takes the core's commands, `queue` is the recipe of one election, `transactions` holds it as plain data, `watcher` the one
watch stream, `records` what lies beside the elections, `farewell` the end of a lease, `client` endpoints and tokens, `wire` what a
transport must do, `channel` the transport over grpc.aio.

Importing this package imports grpcio: do it only when etcd is the configured store.
"""

import os

# The library would write its own log to stderr beside ours; every failure reaches us as a status anyway.
os.environ.setdefault("GRPC_VERBOSITY", "NONE")

from leaderd.stores.etcd.driver import EtcdStore

__all__ = ["EtcdStore"]
