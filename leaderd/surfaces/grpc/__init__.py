"""gRPC: the same answers as HTTP, as messages and streams. Imported only when `listen.grpc` is on.

::

    doorman ──bytes──► grpc's server ──call──► calls ──► elections | streams | health ──► view ──► board
    (accepts, limits, knows who)     (frames, TLS)  (parses, refuses, counts)

grpc's server can neither say which user is at the other end of a Unix socket, nor limit connections, nor take over a socket that
was bound safely. So it listens on a socket that has no name, and `doorman`, which has the listeners, carries the bytes to it.
"""

from leaderd.surfaces.grpc.server import GrpcSurface, GrpcTls

__all__ = ["GrpcSurface", "GrpcTls"]
