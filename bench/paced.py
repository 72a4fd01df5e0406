"""Requests at their appointed times: `python -m bench.paced ADDRESS PATH CONNECTIONS PER_S SECONDS` prints how long they waited.

One thread that never sleeps, so that the wait is the server's, and not that of a processor which has to be woken for us. A request
goes out at its time on a connection that is free, or, if none is, on the first that becomes so. The wait counts from the appointed
time, so that a slow answer is not hidden by the requests that it delays.
"""

from __future__ import annotations

import json
import select
import sys
import time
from collections import deque

from bench.load import connect

QUANTILES = (0.5, 0.99, 0.999)


def pace(address: str, path: str, connections: int, per_s: int, seconds: float) -> list[float]:
    """Seconds each request waited, sorted. Raises `ValueError` for an answer that is not 200, or cut short."""
    request = f"GET {path} HTTP/1.1\r\nHost: localhost\r\n\r\n".encode()
    epoll, clock = select.epoll(), time.perf_counter
    socks = {sock.fileno(): sock for sock in (connect(address) for _ in range(connections))}
    for sock in socks.values():
        epoll.register(sock, select.EPOLLIN)
    free, parts, due_s = deque(socks), dict.fromkeys(socks, b""), dict.fromkeys(socks, 0.0)
    count, sent = int(per_s * seconds), 0
    waits_s: list[float] = []
    begun_s = clock()
    while len(waits_s) < count:
        at_s = begun_s + sent / per_s
        if sent < count and free and clock() >= at_s:
            fd = free.popleft()
            due_s[fd] = at_s
            socks[fd].sendall(request)
            sent += 1
        for fd, _ in epoll.poll(0):
            received = socks[fd].recv(65536)
            answer = parts[fd] + received
            if not received or not answer.startswith(b"HTTP/1.1 200"):
                raise ValueError(f"answered {answer[:200]!r}")
            parts[fd] = b"" if answer.endswith(b"}") else answer
            if not parts[fd]:
                waits_s.append(clock() - due_s[fd])
                free.append(fd)
    for sock in socks.values():
        sock.close()
    return sorted(waits_s)


if __name__ == "__main__":
    waits_s = pace(sys.argv[1], sys.argv[2], int(sys.argv[3]), int(sys.argv[4]), float(sys.argv[5]))
    print(json.dumps([waits_s[int(len(waits_s) * share)] * 1e3 for share in QUANTILES]))
