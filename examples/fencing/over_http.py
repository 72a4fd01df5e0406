"""Fencing an HTTP service: requests carry X-Fencing-Token, and one with an older token than the last is refused with 412.

    python over_http.py serve 8080 reports.db           # the service, which keeps its reports in a file
    python over_http.py send http://127.0.0.1:8080/     # the leader, who writes to it

The middleware refuses at the door. Between the door and the write another leader may come in, so the write compares once
more, in its own transaction. The mark is kept beside the data: one in memory would forget it with the next restart.
"""

import sqlite3
import sys
import urllib.error
import urllib.request
from collections.abc import Callable, Iterable
from contextlib import closing
from socketserver import ThreadingMixIn
from wsgiref.simple_server import WSGIRequestHandler, WSGIServer, make_server

from leaderd.client import DaemonUnreachable, Leader, NotLeader
from leaderd.integrations.fencing import HEADER, WsgiFencing

ELECTION = "daily-report"
SCHEMA = """
CREATE TABLE IF NOT EXISTS fence (one INTEGER PRIMARY KEY CHECK (one = 1), token INTEGER NOT NULL);
CREATE TABLE IF NOT EXISTS report (id INTEGER PRIMARY KEY, token INTEGER NOT NULL, body TEXT NOT NULL);
"""
RAISE_MARK = """
INSERT INTO fence VALUES (1, ?) ON CONFLICT (one) DO UPDATE SET token = excluded.token WHERE fence.token <= excluded.token
"""


class Reports:
    """The resource: a file of reports, and the highest token that wrote one or came to write one."""

    def __init__(self, path: str) -> None:
        self._path = path
        with closing(self._open()) as database:
            database.executescript(SCHEMA)

    def _open(self) -> sqlite3.Connection:
        return sqlite3.connect(self._path, timeout=5, isolation_level=None)

    def admit(self, token: int) -> bool:
        """Raise the mark to `token`; False if it is higher."""
        with closing(self._open()) as database:
            return database.execute(RAISE_MARK, (token,)).rowcount == 1

    def write(self, token: int, body: str) -> bool:
        """Compare and write in one transaction; False if a later leader has been here."""
        with closing(self._open()) as database:
            database.execute("BEGIN IMMEDIATE")
            if database.execute(RAISE_MARK, (token,)).rowcount == 1:
                database.execute("INSERT INTO report (token, body) VALUES (?, ?)", (token, body))
                database.execute("COMMIT")
                return True
            database.execute("ROLLBACK")
            return False

    def app(self, environ: dict, start_response: Callable) -> Iterable[bytes]:
        """POST a report: 201, or 412 if a later leader came in meanwhile."""
        token = int(environ["HTTP_X_FENCING_TOKEN"])
        body = environ["wsgi.input"].read(int(environ.get("CONTENT_LENGTH") or 0)).decode()
        written = self.write(token, body)
        start_response("201 Created" if written else "412 Precondition Failed", [("Content-Type", "text/plain")])
        return [b"written\n" if written else b"a later leader has been here\n"]


class _Server(ThreadingMixIn, WSGIServer):
    daemon_threads = True


class _Quiet(WSGIRequestHandler):
    def log_message(self, *_: object) -> None:
        """No line per request."""


def server(port: int, path: str) -> WSGIServer:
    """The service on loopback, not yet serving; port 0 takes a free one."""
    reports = Reports(path)
    fenced = WsgiFencing(reports.app, admit=reports.admit, required=True)
    return make_server("127.0.0.1", port, fenced, server_class=_Server, handler_class=_Quiet)


def send(url: str, token: int, body: str) -> int:
    """POST one report as the leader of that term; the status of the answer, 412 when the term is over."""
    request = urllib.request.Request(url, body.encode(), {HEADER: str(token), "Content-Type": "text/plain"})
    try:
        with urllib.request.urlopen(request, timeout=2) as answer:
            return answer.status
    except urllib.error.HTTPError as error:
        with error:
            return error.code


def main() -> int:
    if sys.argv[1] == "serve":
        server(int(sys.argv[2]), sys.argv[3]).serve_forever()
    try:
        with Leader(ELECTION).guard("2s") as term:
            status = send(sys.argv[2], term.token, "all is well")
    except (NotLeader, DaemonUnreachable) as error:
        print(f"skipped: {error}")
        return 0
    print(f"{status} under token {term.token}")
    return 0 if status == 201 else 1


if __name__ == "__main__":
    sys.exit(main())
