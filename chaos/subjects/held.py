"""The job behind a lock of somebody else's: while it runs it takes itself for the only one, and says so when asked.

Usage: held.py SOCKET. Ends on SIGTERM. Standard library only.
"""

from __future__ import annotations

import http.server
import json
import os
import socketserver
import sys
from collections.abc import Callable
from pathlib import Path

FENCE = "ETCD_LOCK_REV"
"""What `etcdctl lock` hands its child: the store's revision when the lock was taken, which can fence a resource."""


def serve(path: str, leading: Callable[[], bool], term: Callable[[], int] = os.getpid) -> None:
    """Answer `GET /is-leader/...` over a Unix socket for ever. `term` tells one term of leading from the next."""

    class Handler(http.server.BaseHTTPRequestHandler):
        protocol_version = "HTTP/1.1"

        def do_GET(self) -> None:
            yes = leading()
            body = json.dumps({"leader": yes, "token": term(), "state": "leader" if yes else "follower"}).encode()
            self.send_response(200 if yes else 503)
            self.send_header("Content-Length", str(len(body)))
            self.end_headers()
            self.wfile.write(body)

        def address_string(self) -> str:
            return "unix"

        def log_message(self, *arguments: object) -> None:
            pass

    class Server(socketserver.ThreadingMixIn, socketserver.UnixStreamServer):
        daemon_threads = True

    Path(path).unlink(missing_ok=True)
    with Server(path, Handler) as server:
        server.serve_forever()


if __name__ == "__main__":
    serve(sys.argv[1], lambda: True, lambda: int(os.environ.get(FENCE) or os.getpid()))
