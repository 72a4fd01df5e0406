"""One process that watches: `python -m bench.watcher KIND ADDRESS [COUNT]`, until its standard input ends.

It says `ready` when it has been told how things stand. At the end it prints a line for each message that came: the number of the
watcher, the election's index in it, and when it had been received, in nanoseconds on CLOCK_BOOTTIME. KIND: `sse`, COUNT subscribers
in one loop; `blocking`, a reader that asks again as soon as it has been answered; `grpc`, a call of `WatchElection`, after COUNT of
`GetElection`; `stuck`, COUNT subscribers that read nothing until the end, and then tell how many events each had to read.
"""

from __future__ import annotations

import re
import select
import socket
import sys
import threading
import time

from bench.load import connect

ELECTION = "jobs-0"
_EVENTS = f"GET /v1/events?election={ELECTION}&promise=0 HTTP/1.1\r\nHost: localhost\r\n\r\n".encode()
_SERVICE = "/leaderd.v1.ElectionService/"
_INDEX = re.compile(rb'"index":\s?(\d+)')
_LEFT_S = 0.05
Receipts = list[tuple[int, int, int]]


def boot_ns() -> int:
    """The clock of the daemons and of all watchers."""
    return time.clock_gettime_ns(time.CLOCK_BOOTTIME)


def subscribed(address: str) -> socket.socket:
    """A subscriber that has heard how things stand."""
    sock = connect(address)
    sock.sendall(_EVENTS)
    heard = b""
    while not heard.endswith(b"}\n\n"):
        more = sock.recv(65536)
        if not more:
            raise ConnectionError(f"no subscriber: {heard[:200]!r}")
        heard += more
    return sock


def sse(address: str, count: int) -> Receipts:
    """Subscribers; a message counts as received when its end is there."""
    epoll, numbers, rests = select.epoll(), {}, {}
    socks = [subscribed(address) for _ in range(count)]
    for number, sock in enumerate(socks):
        numbers[sock.fileno()], rests[sock.fileno()] = (number, sock), b""
        epoll.register(sock, select.EPOLLIN)
    epoll.register(sys.stdin, select.EPOLLIN | select.EPOLLHUP)
    say_ready()
    found: Receipts = []
    while True:
        for fd, _ in epoll.poll():
            if fd == sys.stdin.fileno():
                return found
            number, sock = numbers[fd]
            whole, end, rests[fd] = (rests[fd] + sock.recv(65536)).rpartition(b"\n\n")
            at_ns = boot_ns()
            indices = _INDEX.findall(whole)
            if indices:
                found.append((number, int(indices[-1]), at_ns))
            elif not whole and not end and not rests[fd]:
                raise ConnectionError("the daemon has closed a stream")


def blocking(address: str) -> Receipts:
    """A reader of `GET /is-leader?index=&wait=`."""
    sock, index, found = connect(address), 0, []
    poll = select.poll()
    poll.register(sys.stdin, select.POLLIN | select.POLLHUP)
    poll.register(sock, select.POLLIN)
    while True:
        wait = f"&index={index}&wait=30s" if found else ""
        sock.sendall(f"GET /is-leader/{ELECTION}?promise=0{wait} HTTP/1.1\r\nHost: localhost\r\n\r\n".encode())
        answer = b""
        while not answer.endswith(b"}}"):
            if any(fd == sys.stdin.fileno() for fd, _ in poll.poll()):
                return found
            answer += sock.recv(65536)
        at_ns = boot_ns()
        index = int(_INDEX.findall(answer)[-1])
        if not found:
            say_ready()
        found.append((0, index, at_ns))


def grpc(address: str, calls: int) -> Receipts:
    """A call of `WatchElection`, after so many of `GetElection`."""
    import grpc as library
    from google.protobuf.duration_pb2 import Duration

    from leaderd.surfaces.grpc._proto import leaderd_pb2 as pb

    channel = library.insecure_channel(address)
    get = channel.unary_unary(
        f"{_SERVICE}GetElection",
        request_serializer=pb.GetElectionRequest.SerializeToString,
        response_deserializer=pb.GetElectionResponse.FromString,
    )
    for _ in range(calls):
        get(pb.GetElectionRequest(election=ELECTION))
    watch = channel.unary_stream(
        f"{_SERVICE}WatchElection",
        request_serializer=pb.WatchElectionRequest.SerializeToString,
        response_deserializer=pb.WatchElectionResponse.FromString,
    )
    call = watch(pb.WatchElectionRequest(election=ELECTION, promise=Duration()))
    ended = threading.Event()

    def end() -> None:
        sys.stdin.read()
        ended.set()
        call.cancel()

    threading.Thread(target=end, daemon=True).start()
    found: Receipts = []
    try:
        for message in call:
            found.append((0, message.election.index, boot_ns()))
            if len(found) == 1:
                say_ready()
    except library.RpcError:
        if not ended.is_set():
            raise
    return found


def stuck(address: str, count: int) -> Receipts:
    """Subscribers that do not read."""
    socks = [subscribed(address) for _ in range(count)]
    say_ready()
    sys.stdin.read()
    found: Receipts = []
    for number, sock in enumerate(socks):
        left = b""
        sock.settimeout(_LEFT_S)
        try:
            while more := sock.recv(65536):
                left += more
        except (TimeoutError, ConnectionError):
            pass
        found.append((number, left.count(b"\nevent: "), boot_ns()))
    return found


def say_ready() -> None:
    """Tell whoever started us that we watch."""
    print("ready", flush=True)


def main() -> None:
    """Watch, then print."""
    kind, address, count = sys.argv[1], sys.argv[2], int((sys.argv[3:] or ["0"])[0])
    match kind:
        case "sse":
            found = sse(address, count)
        case "stuck":
            found = stuck(address, count)
        case "grpc":
            found = grpc(address, count)
        case _:
            found = blocking(address)
    sys.stdout.write("".join(f"{number} {index} {at_ns}\n" for number, index, at_ns in found))


if __name__ == "__main__":
    main()
