"""Every host a network namespace of its own, on one bridge, inside namespaces of the run's own: no root, no containers, no trace.

`unshare` gives the run a user, network, mount and pid namespace in which it is root; the kernel removes all of it when the run's
first process ends. Hosts share files and process ids, so the probes, which ask over Unix sockets, cross no faulted network.
"""

from __future__ import annotations

import os
import shutil
import subprocess
import sys
from collections.abc import Callable, Iterable, Mapping, Sequence
from pathlib import Path

import msgspec

from chaos.packets.kinds import Mishap
from chaos.program import Part, Program
from chaos.substrates import CannotInject
from chaos.substrates.names import NameServer, ask_only
from testbed import fetch
from testbed.process import Process, WaitTimeout, wait_until

INSIDE_ENV = "LEADERD_CHAOS_INSIDE"
_NET = "192.0.2"  # TEST-NET-1 (RFC 5737): nobody's
_BRIDGE = "chaos0"
_CONNECT = (
    "import socket,sys\n"
    "try: socket.create_connection((sys.argv[1], int(sys.argv[2])), float(sys.argv[3])).close()\n"
    "except OSError: sys.exit(1)\n"
)
_LISTEN = """
import socket,sys
s=socket.socket(socket.AF_INET,socket.SOCK_DGRAM); s.setsockopt(socket.SOL_SOCKET,socket.SO_RCVBUF,1<<20)
s.bind(("",9)); print("ready",flush=True); s.settimeout(1.0); n=0
try:
    while n < int(sys.argv[1]): s.recv(9); n+=1
except TimeoutError: pass
print(n)
"""
_SEND = """
import socket,sys,time
s=socket.socket(socket.AF_INET,socket.SOCK_DGRAM)
for _ in range(int(sys.argv[2])): s.sendto(b"x",(sys.argv[1],9)); time.sleep(0.001)
"""
_TAKE = """
import socket,sys,time
s=socket.create_server((sys.argv[1],9)); print("ready",flush=True); s.settimeout(60.0)
c,_=s.accept(); c.settimeout(60.0); c.recv(1); n=1
began=time.monotonic()
while data := c.recv(65536): n+=len(data)
print(n*8/1000/max(1e-6, time.monotonic()-began))
"""
_GIVE = "import socket,sys\ns=socket.create_connection((sys.argv[1],9),60.0); s.sendall(bytes(int(sys.argv[2]))); s.close()\n"
_LOOK_UP = "import socket,sys\nprint(socket.getaddrinfo(sys.argv[1], 1, socket.AF_INET)[0][4][0])\n"
_DISK_MIB = 192
"""etcd and ZooKeeper take two segments of 64 MiB in advance."""
_TABLE = """
flush ruleset
table inet chaos {{
  chain arriving {{
    type filter hook input priority 0; policy accept;
    iifname "lo" accept
    {rules}
  }}
}}
"""


def enter(command: Sequence[str]) -> list[str]:
    """The command line that runs `command` inside fresh namespaces, as root of them."""
    return ["unshare", "-Urnmpf", "--kill-child", "--mount-proc", *command]


def missing() -> str | None:
    """Why this machine cannot do it, or None if it can."""
    absent = [name for name in ("unshare", "ip") if shutil.which(name) is None]
    if absent:
        return f"no {' and no '.join(absent)} on PATH (Debian: util-linux, iproute2)"
    reason = fetch.available("nftables")
    if reason is not None:
        return reason
    tried = subprocess.run(enter(["true"]), capture_output=True, text=True, timeout=20)
    if tried.returncode != 0:
        return f"this machine gives no user namespaces ({tried.stderr.strip()}): run as root, or use --substrate proxy"
    return None


class NetnsLinks:
    """The hosts of one run. Make it inside `enter`; there is nothing to clean up."""

    name = "netns"

    def __init__(self, hosts: Sequence[str]) -> None:
        """Make the bridge and the hosts. Raises `CannotInject` outside of `enter`."""
        if os.environ.get(INSIDE_ENV) != "1":
            raise CannotInject("the namespaces substrate works only inside the namespaces it made")
        self._addresses = {host: f"{_NET}.{number}" for number, host in enumerate(hosts, 11)}
        nft = fetch.installed("nftables").programs["nft"]
        libraries = sorted({str(each.parent) for each in Path(nft).parents[2].glob("**/*.so*")})
        self._nft = nft
        self._tickets = 0
        self._disturbed: dict[int, dict[str, str]] = {}
        self._mishaps: dict[int, Path] = {}
        self._ends: dict[int, Callable[[], None]] = {}
        self._devices = {host: f"v{number}" for number, host in enumerate(hosts)}
        self._scratch = Path("/run/chaos")  # in the tmpfs of the run's own mount namespace
        self._env = {**os.environ, "LD_LIBRARY_PATH": ":".join(libraries)}
        _run(["mount", "-t", "tmpfs", "tmpfs", "/run"])
        Path("/run/netns").mkdir()
        self._scratch.mkdir()
        _run(["ip", "link", "set", "lo", "up"])
        _run(["ip", "link", "add", _BRIDGE, "type", "bridge"])
        _run(["ip", "addr", "add", f"{_NET}.1/24", "dev", _BRIDGE])
        _run(["ip", "link", "set", _BRIDGE, "up"])
        for number, host in enumerate(hosts):
            self._make_host(number, host)

    def _make_host(self, number: int, host: str) -> None:
        _run(["ip", "netns", "add", host])
        _run(["ip", "link", "add", f"v{number}", "type", "veth", "peer", "name", "eth0", "netns", host])
        _run(["ip", "link", "set", f"v{number}", "master", _BRIDGE, "up"])
        _run(["ip", "-n", host, "addr", "add", f"{self._addresses[host]}/24", "dev", "eth0"])
        for device in ("lo", "eth0"):
            _run(["ip", "-n", host, "link", "set", device, "up"])
        self._apply(host)

    def block(self, sources: Iterable[str], targets: Iterable[str]) -> int:
        """Drop on arrival: the sender sees nothing."""
        addresses = ", ".join(self._addresses[source] for source in sources)
        return self._disturb(targets, f"ip saddr {{ {addresses} }} drop")

    def lose(self, host: str, percent: int) -> int:
        """Drop that share of the packets on arrival."""
        return self._disturb([host], f"numgen random mod 100 < {percent} drop")

    def reset(self, host: str) -> int:
        """Answer arriving TCP segments with a reset."""
        return self._disturb([host], "meta l4proto tcp reject with tcp reset")

    def mishap(self, host: str, mishap: Mishap) -> int:
        """Its cable is taken out of the bridge and goes by way of a process, where it happens to them."""
        self._tickets += 1
        ticket, device = self._tickets, self._devices[host]
        ours, theirs, count = f"q{ticket}a", f"q{ticket}b", self._scratch / f"mishap{ticket}"
        _run(["ip", "link", "add", ours, "type", "veth", "peer", "name", theirs])
        for plain in ([], self.inside(host)):
            _run([*plain, sys.executable, "-m", "chaos.packets.wire", "eth0" if plain else ours])
        # Nobody but the process is to answer what arrives at an end that lies open.
        for each in (device, theirs):
            Path(f"/proc/sys/net/ipv4/conf/{each}/arp_ignore").write_text("8", encoding="ascii")
        _run(["ip", "link", "set", theirs, "up"])
        _run(["ip", "link", "set", ours, "master", _BRIDGE, "up"])
        _run(["ip", "link", "set", device, "nomaster"])
        command = [sys.executable, "-m", "chaos.packets.server", device, theirs, str(count), msgspec.json.encode(mishap).decode()]
        server = Process(command, self._scratch / f"mishap{ticket}.log")
        server.start()
        self._mishaps[ticket] = count

        def end() -> None:
            server.stop(5.0)
            _run(["ip", "link", "set", device, "master", _BRIDGE])
            _run(["ip", "link", "del", ours])

        self._ends[ticket] = end
        try:
            wait_until(lambda: count.exists() or not server.running, 20.0, "the cable is spliced")
        except WaitTimeout:
            pass  # told below
        if not count.exists():
            self.lift(ticket)
            raise CannotInject(f"no packet of {host} can be had: {server.log_tail(1)}")
        return ticket

    def acted(self, ticket: int) -> int:
        """As the process has written it down."""
        return int(self._mishaps[ticket].read_text(encoding="ascii"))

    def throttle(self, host: str, kbit: int) -> int:
        """A token bucket in both ends of the host's cable."""
        ends: tuple[tuple[list[str], str], ...] = ((["-n", host], "eth0"), ([], self._devices[host]))
        for where, device in ends:
            rate = ["tbf", "rate", f"{kbit}kbit", "burst", "2kb", "latency", "2s"]
            _run(["tc", *where, "qdisc", "add", "dev", device, "root", *rate])

        def end() -> None:
            for where, device in ends:
                _run(["tc", *where, "qdisc", "del", "dev", device, "root"])

        self._tickets += 1
        self._ends[self._tickets] = end
        return self._tickets

    def rate_kbit(self, source: str, target: str, size: int) -> float:
        """By the time that so many bytes take over TCP."""
        take = [*self.inside(target), sys.executable, "-c", _TAKE, self.address(target)]
        with subprocess.Popen(take, stdout=subprocess.PIPE, text=True) as taker:
            assert taker.stdout is not None
            taker.stdout.readline()
            give = [*self.inside(source), sys.executable, "-c", _GIVE, self.address(target), str(size)]
            subprocess.run(give, check=True, timeout=90)
            return float(taker.stdout.readline())

    def lift(self, ticket: int) -> None:
        """Take the rules of one disturbance out."""
        for host in self._disturbed.pop(ticket, {}):
            self._apply(host)
        if ticket in self._ends:
            self._ends.pop(ticket)()

    def _disturb(self, hosts: Iterable[str], rule: str) -> int:
        self._tickets += 1
        self._disturbed[self._tickets] = dict.fromkeys(hosts, rule)
        for host in self._disturbed[self._tickets]:
            self._apply(host)
        return self._tickets

    def _apply(self, host: str) -> None:
        rules = [rules[host] for rules in self._disturbed.values() if host in rules]
        self._load(host, _TABLE.format(rules="\n    ".join(rules)))

    def reaches(self, source: str, target: str, port: int, within_s: float = 1.0) -> bool:
        """Connect from one host to the other."""
        command = [*self.inside(source), sys.executable, "-c", _CONNECT, self.address(target), str(port), str(within_s)]
        return subprocess.run(command, capture_output=True, timeout=within_s + 20).returncode == 0

    def ping_loss(self, source: str, target: str, count: int) -> tuple[int, int]:
        """Count datagrams that arrive."""
        listen = [*self.inside(target), sys.executable, "-c", _LISTEN, str(count)]
        with subprocess.Popen(listen, stdout=subprocess.PIPE, text=True) as listener:
            assert listener.stdout is not None
            listener.stdout.readline()
            send = [*self.inside(source), sys.executable, "-c", _SEND, self.address(target), str(count)]
            subprocess.run(send, check=True, timeout=30)
            arrived = int(listener.stdout.readline())
        return count - arrived, count

    def resolves(self, host: str, name: str, within_s: float) -> str | None:
        """As any program there would look it up."""
        command = [*self.inside(host), sys.executable, "-c", _LOOK_UP, name]
        try:
            done = subprocess.run(command, capture_output=True, text=True, timeout=within_s + 1.0)
        except subprocess.TimeoutExpired:
            return None
        return done.stdout.strip() or None

    def name_server(self, known: Mapping[str, str]) -> NameServer:
        """On the bridge, which every host reaches."""
        server = NameServer(f"{_NET}.1", known)
        ask_only(f"{_NET}.1", self._scratch)
        return server

    def small_disks(self, nodes: int) -> Path:
        """In memory, in the run's own mount namespace."""
        folder = self._scratch / "disks"
        for node in range(nodes):
            there = folder / f"node{node}"
            there.mkdir(parents=True)
            _run(["mount", "-t", "tmpfs", "-o", f"size={_DISK_MIB}m", "tmpfs", str(there)])
        return folder

    def address(self, host: str) -> str:
        """The host's address on the bridge."""
        return self._addresses[host]

    def inside(self, host: str) -> Sequence[str]:
        """Run in the host's network namespace."""
        return ("ip", "netns", "exec", host)

    def program(self, host: str, part: Part, argv: Sequence[str], log: Path, env: Mapping[str, str]) -> Program:
        """A process of its own."""
        return Program([*self.inside(host), *argv], log, env=env)

    def _load(self, host: str, text: str) -> None:
        done = subprocess.run(
            [*self.inside(host), self._nft, "-f", "-"], input=text, capture_output=True, text=True, env=self._env, timeout=20
        )
        if done.returncode != 0:
            raise CannotInject(f"nft on {host}: {done.stderr.strip()}")


def _run(command: Sequence[str]) -> None:
    done = subprocess.run(command, capture_output=True, text=True, timeout=20)
    if done.returncode != 0:
        raise CannotInject(f"{' '.join(command)}: {done.stderr.strip()}")
