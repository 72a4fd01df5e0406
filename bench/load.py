"""A load generator that costs less than what it loads: `python -m bench.load ADDRESS PATH CONNECTIONS SECONDS`.

One thread, epoll, one request outstanding per kept-alive connection. It knows the end of an answer by the brace that closes its
JSON, so that it need not parse: some 10 us of processor per request, system calls included. Prints requests per second and the
quantiles of the latency. ADDRESS is `unix:PATH` or `HOST:PORT`.
"""

from __future__ import annotations

import json
import select
import socket
import sys
import time


def connect(address: str) -> socket.socket:
    """A connection to `address`."""
    if address.startswith("unix:"):
        sock = socket.socket(socket.AF_UNIX)
        sock.connect(address.removeprefix("unix:"))
        return sock
    host, _, port = address.rpartition(":")
    sock = socket.create_connection((host, int(port)))
    sock.setsockopt(socket.IPPROTO_TCP, socket.TCP_NODELAY, 1)
    return sock


def load(address: str, path: str, connections: int, seconds: float) -> dict[str, float]:
    """Load for so long. Raises `ValueError` for an answer that is not 200."""
    request = f"GET {path} HTTP/1.1\r\nHost: localhost\r\n\r\n".encode()
    epoll, socks, sent_s, parts = select.epoll(), {}, {}, {}
    for _ in range(connections):
        sock = connect(address)
        socks[sock.fileno()] = sock
        parts[sock.fileno()] = b""
        epoll.register(sock, select.EPOLLIN)
    took_s: list[float] = []
    clock = time.perf_counter
    begun_s = clock()
    end_s = begun_s + seconds
    for fd, sock in socks.items():
        sent_s[fd] = clock()
        sock.sendall(request)
    while (now_s := clock()) < end_s:
        for fd, _ in epoll.poll(end_s - now_s):
            sock = socks[fd]
            answer = parts[fd] + sock.recv(65536)
            if not answer.startswith(b"HTTP/1.1 200"):
                raise ValueError(f"answered {answer[:200]!r}")
            if not answer.endswith(b"}"):
                parts[fd] = answer
                continue
            parts[fd] = b""
            at_s = clock()
            took_s.append(at_s - sent_s[fd])
            sent_s[fd] = at_s
            sock.sendall(request)
    spent_s = clock() - begun_s
    for sock in socks.values():
        sock.close()
    took_s.sort()
    count = len(took_s)
    return {"per_s": count / spent_s, "count": count, "p50_us": took_s[count // 2] * 1e6, "p99_us": took_s[int(count * 0.99)] * 1e6}


if __name__ == "__main__":
    print(json.dumps(load(sys.argv[1], sys.argv[2], int(sys.argv[3]), float(sys.argv[4]))))
