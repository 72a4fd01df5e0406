"""`python3 -c THIS SOCKET`: breaks, and looks at, the network of the container whose network namespace it shares.

It is run in a container of its own, by the Python of leaderd's image, and has the standard library only. It needs NET_ADMIN, in
that namespace alone. Who asks comes over a Unix socket, which crosses no network: one JSON list a line, `[what, ...]`, and one JSON
value back, or `{"error": TEXT}`.

A packet is made to vanish by a neighbour entry with an address that no network card has: the kernel sends it, the bridge finds
nobody to give it to, and the sender sees nothing of it. The other direction stays as it is.
"""

from __future__ import annotations

import json
import os
import socket
import socketserver
import struct
import sys
import threading
import urllib.error
import urllib.request
from collections.abc import Callable
from typing import Any

NOBODY = bytes((0x02, 0, 0, 0, 0, 0x01))
"""Of the range that nobody assigns but us (locally administered)."""
_NEW, _DELETE = 28, 29
_REQUEST, _ACKNOWLEDGE, _REPLACE, _CREATE = 0x1, 0x4, 0x100, 0x400
_PERMANENT = 0x80
_DESTINATION, _LINK_ADDRESS = 1, 2
_NO_SUCH = 2
_ESTABLISHED = "01"
_PATIENCE_S = 1.0
_lock = threading.Lock()
_deaf: set[str] = set()


def deaf(addresses: list[str]) -> int:
    """From now on what we send to these vanishes, and to nobody else. Returns how many they are."""
    with _lock:
        for each in _deaf - set(addresses):
            _neighbour(_DELETE, each)
            _deaf.discard(each)
        for each in addresses:
            _deaf.add(each)  # first: where there are several cards, it may fail at the second of them
            _neighbour(_NEW, each)
    return len(addresses)


def _neighbour(what: int, address: str) -> None:
    """For every card but the loopback one. Raises `OSError`, but not for one that is to be deleted and is not there."""
    for index, name in socket.if_nameindex():
        if name == "lo":
            continue
        body = struct.pack("=BBHiHBB", socket.AF_INET, 0, 0, index, _PERMANENT, 0, 0)
        body += _attribute(_DESTINATION, socket.inet_aton(address))
        if what == _NEW:
            body += _attribute(_LINK_ADDRESS, NOBODY)
        flags = _REQUEST | _ACKNOWLEDGE | (_CREATE | _REPLACE if what == _NEW else 0)
        with socket.socket(socket.AF_NETLINK, socket.SOCK_RAW, socket.NETLINK_ROUTE) as kernel:
            kernel.settimeout(5.0)
            kernel.send(struct.pack("=IHHII", 16 + len(body), what, flags, 1, 0) + body)
            (error,) = struct.unpack_from("=i", kernel.recv(4096), 16)
        if error and not (what == _DELETE and -error == _NO_SUCH):
            raise OSError(-error, os.strerror(-error))


def _attribute(kind: int, value: bytes) -> bytes:
    length = 4 + len(value)
    return struct.pack("=HH", length, kind) + value + bytes(-length % 4)


def reaches(address: str, port: int, within_s: float) -> bool:
    """Whether a connection from here can be made now."""
    try:
        socket.create_connection((address, port), within_s).close()
    except OSError:
        return False
    return True


def connected(pid: int | str = "self") -> list[str]:
    """The addresses (IPv4) at the other ends of the connections in a process's network namespace, once for each."""
    found = []
    for table in ("tcp", "tcp6"):
        with open(f"/proc/{pid}/net/{table}", encoding="ascii") as lines:
            for line in list(lines)[1:]:
                _, _, remote, state = line.split()[:4]
                if state == _ESTABLISHED:
                    # The last word is all of an IPv4 address, and the part of an IPv6 one that maps it (::ffff:192.0.2.1).
                    found.append(socket.inet_ntoa(bytes.fromhex(remote.partition(":")[0])[-4:][::-1]))
    return found


def view(kind: str) -> list[Any] | None:
    """What the store node here believes: its term or epoch, its own name, and the leader's as far as it knows; None if it serves
    nobody. It is asked over the loopback device.
    """
    try:
        return {"etcd": _etcd, "zookeeper": _zookeeper, "consul": _consul}[kind]()
    except (OSError, ValueError, KeyError):
        return None


def _etcd() -> list[Any] | None:
    said = _http("http://127.0.0.1:2379/v3/maintenance/status", {})
    leader = said.get("leader", "0")
    return None if leader == "0" else [int(said["raftTerm"]), said["header"]["member_id"], leader]


def _zookeeper() -> list[Any] | None:
    with socket.create_connection(("127.0.0.1", 2181), _PATIENCE_S) as connection, connection.makefile("rb") as stream:
        connection.sendall(b"srvr")
        said = dict(line.partition(": ")[::2] for line in stream.read().decode().splitlines())
    mode = said["Mode"]
    return [int(said["Zxid"], 16) >> 32, "me", "me" if mode == "leader" else None] if mode in ("leader", "follower") else None


def _consul() -> list[Any] | None:
    raft = _http("http://127.0.0.1:8500/v1/agent/self")["Stats"]["raft"]
    known = _http("http://127.0.0.1:8500/v1/status/leader")
    return [int(raft["term"]), "me", "me" if raft["state"] == "Leader" else None] if known else None


def sessions(kind: str, place: str) -> int:
    """How many sessions or leases the store keeps; of ZooKeeper's, those that stand at `place`."""
    if kind == "etcd":
        return len(_http("http://127.0.0.1:2379/v3/lease/leases", {}).get("leases", ()))
    if kind == "consul":
        return len(_http("http://127.0.0.1:8500/v1/session/list"))
    from kazoo.client import KazooClient  # in leaderd's image; not at the top: the others need none of it

    client = KazooClient("127.0.0.1:2181", timeout=5.0)
    client.start(5.0)
    try:
        found = {client.exists(f"{place}/{each}") for each in client.get_children(place)} if client.exists(place) else set()
        return len({stat.ephemeralOwner for stat in found if stat is not None} - {0})
    finally:
        client.stop()
        client.close()


def _http(url: str, body: object = None) -> Any:  # noqa: ANN401 - JSON
    said = None if body is None else json.dumps(body).encode()
    with urllib.request.urlopen(urllib.request.Request(url, said), timeout=_PATIENCE_S) as answer:
        return json.load(answer)


WHAT: dict[str, Callable[..., object]] = {
    "deaf": deaf,
    "reaches": reaches,
    "connected": connected,
    "view": view,
    "sessions": sessions,
}


class _Handler(socketserver.StreamRequestHandler):
    def handle(self) -> None:
        for line in self.rfile:
            what, *given = json.loads(line)
            try:
                said = WHAT[what](*given)
            except Exception as error:  # noqa: BLE001 - whatever it is, whoever asked is told
                said = {"error": f"{type(error).__name__}: {error}"}
            self.wfile.write(json.dumps(said).encode() + b"\n")


class _Server(socketserver.ThreadingUnixStreamServer):
    daemon_threads = True


def main(path: str) -> None:
    """Listen; the socket is for whoever can get into its folder."""
    with _Server(path, _Handler) as server:
        os.chmod(path, 0o666)
        server.serve_forever()


if __name__ == "__main__":
    main(sys.argv[1])
