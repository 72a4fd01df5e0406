"""A fenced resource: it takes a job only under the newest token it has seen, whatever the app that sends it believes.

`POST /jobs` with slot, app and token: 201, or 409 for a stale token. `GET /ledger`: what it took and refused, in order. One process
and one lock, in memory; a database does the same in one statement.
"""

import http.server
import json
import signal
import sys
import threading

LOCK = threading.Lock()
LEDGER: list[dict[str, object]] = []
KEPT = 100_000
highest = 0


def take(said: dict[str, object]) -> bool:
    """Whether the job is taken."""
    global highest
    token = int(str(said["token"]))
    with LOCK:
        fresh = token >= highest
        highest = max(highest, token)
        LEDGER.append({"slot": int(str(said["slot"])), "app": str(said["app"]), "token": token, "taken": fresh})
        del LEDGER[:-KEPT]
    return fresh


class Handler(http.server.BaseHTTPRequestHandler):
    """The two requests."""

    def do_POST(self) -> None:
        """A job."""
        try:
            fresh = take(json.loads(self.rfile.read(min(4096, int(self.headers["Content-Length"])))))
        except (KeyError, TypeError, ValueError):
            return self.answer(400, {"error": "slot, app and token, as JSON"})
        return self.answer(201 if fresh else 409, {"taken": fresh})

    def do_GET(self) -> None:
        """The ledger."""
        with LOCK:
            found = list(LEDGER)
        self.answer(200, found)

    def answer(self, status: int, said: object) -> None:
        """Send it."""
        body = json.dumps(said).encode()
        self.send_response(status)
        self.send_header("Content-Type", "application/json")
        self.send_header("Content-Length", str(len(body)))
        self.end_headers()
        self.wfile.write(body)

    def log_message(self, format: str, *args: object) -> None:  # noqa: A002 - the base class's name
        """The ledger is the log."""


if __name__ == "__main__":
    signal.signal(signal.SIGTERM, lambda *_: sys.exit(0))
    http.server.ThreadingHTTPServer(("0.0.0.0", 8080), Handler).serve_forever()
