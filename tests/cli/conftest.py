"""A daemon for the client commands to talk to: a thread on a Unix socket that answers what the test tells it to."""

from __future__ import annotations

import json
import os
import socket
import threading

import pytest

from leaderd.__main__ import main

LEADING = {
    "election": "a",
    "leader": True,
    "state": "leader",
    "reason": "lease_held",
    "token": 42,
    "token_text": "42",
    "instance": "pod-1",
    "leader_instance": "pod-1",
    "valid_for_ms": 1000,
    "lease_remaining_ms": 7312,
    "index": 17,
}
FOLLOWING = LEADING | {"leader": False, "state": "follower", "reason": "other_leader", "token": None, "token_text": None}
FOLLOWING |= {"valid_for_ms": None, "leader_instance": "pod-2"}


def response(status, body, head=""):
    data = body if isinstance(body, bytes) else json.dumps(body).encode()
    return f"HTTP/1.1 {status} Whatever\r\n{head}Content-Length: {len(data)}\r\nConnection: close\r\n\r\n".encode() + data


class FakeDaemon:
    """Gives its answers in order, the last one again and again; keeps the requests."""

    def __init__(self, path):
        self.path = str(path)
        self.requests = []
        self.answers = [response(200, LEADING)]
        self.released = threading.Event()
        self._listener = socket.socket(socket.AF_UNIX)
        self._listener.bind(self.path)
        self._listener.listen()
        self._thread = threading.Thread(target=self._serve, daemon=True)
        self._thread.start()

    def answer(self, *answers):
        self.answers = list(answers)

    def _serve(self):
        while True:
            try:
                connection, _ = self._listener.accept()
            except OSError:
                return
            with connection:
                request = b""
                while b"\r\n\r\n" not in request and (more := connection.recv(65536)):
                    request += more
                head, _, body = request.partition(b"\r\n\r\n")
                length = int(head.partition(b"Content-Length: ")[2].partition(b"\r\n")[0] or 0)
                while len(body) < length and (more := connection.recv(65536)):
                    request, body = request + more, body + more
                self.requests.append(request.decode())
                answer = self.answers.pop(0) if len(self.answers) > 1 else self.answers[0]
                try:
                    if answer is None:
                        self.released.wait(10)
                    elif callable(answer):
                        answer(connection)
                    else:
                        connection.sendall(answer)
                except OSError:
                    pass

    def close(self):
        self.released.set()
        # Wakes the accept, which a close alone does not.
        self._listener.shutdown(socket.SHUT_RDWR)
        self._thread.join(5)
        self._listener.close()


@pytest.fixture
def daemon(tmp_path, monkeypatch):
    fake = FakeDaemon(tmp_path / "leaderd.sock")
    monkeypatch.setenv("LEADERD_SOCKET", fake.path)
    yield fake
    fake.close()


@pytest.fixture(autouse=True)
def nothing_set(monkeypatch):
    """What is set for leaderd, or for its tests, is not for the commands tried here."""
    for name in [name for name in os.environ if name.startswith("LEADERD_")]:
        monkeypatch.delenv(name)


@pytest.fixture
def cli(capsys):
    """Runs a command line; gives exit code, stdout, stderr."""

    def run(*argv):
        try:
            code = main(list(argv))
        except SystemExit as exc:
            code = exc.code
        out, err = capsys.readouterr()
        return code, out, err

    return run
