"""One instance under test: a daemon and the app beside it, on one host, as the two containers of a pod are."""

from __future__ import annotations

import json
import math
import os
import signal
import sys
from collections.abc import Sequence
from dataclasses import dataclass, field
from pathlib import Path
from signal import Signals

from chaos.history import Recorder
from chaos.probe import EVERY_S, Probe
from chaos.program import Program
from chaos.proxy.control import ProxyProcess
from chaos.subjects import PEERS
from chaos.substrates import Links
from chaos.topology import Topology
from chaos.workload.clocks import SkewFile
from chaos.workload.journaled import CLOCK_ENV
from testbed.process import StartError, wait_until

APP = Path(__file__).with_name("workload") / "app.py"
JOURNAL = "promises.ndjson"
_OTHER_CLOCK = ("unshare", "--time", "--monotonic", "3600", "--boottime", "3600")
_GOES_S = 10.0
"""So long a daemon that is asked to go may take at the end of a run, on a busy machine."""
PREFIX = "chaos"
"""The path of the daemons in the store."""


@dataclass(frozen=True, slots=True)
class Plan:
    """What every pod of a run has in common. Times are as in the configuration file (`3s`)."""

    election: str
    ttl: str
    promise: str
    slot_s: float
    settings: str = ""
    """More lines for the `timing` mapping."""
    peer: str = ""
    """A subject other than leaderd (`chaos.subjects.PEERS`): without an app beside it, for it has no tokens to write with."""
    topology: Topology = field(default_factory=Topology)
    """What the scenario wants the pods to be like."""
    poll_every_s: float = EVERY_S

    @property
    def has_apps(self) -> bool:
        """Whether there is an app beside each daemon."""
        return not self.peer and self.topology.apps == "each"


@dataclass
class Pod:
    """One pod. `host` names its place in the network, `store_url` the store nodes it knows."""

    name: str
    host: str
    folder: Path
    sockets: Path
    """Where all pods and resources listen. A short path: a socket's address has 107 bytes, and a run folder may lie deep."""
    links: Links
    endpoints: Sequence[str]
    store: str
    plan: Plan
    recorder: Recorder
    via_proxy: bool = False
    """Whether it reaches the store through a proxy of its own."""
    proxy: ProxyProcess | None = None
    skew: SkewFile | None = None
    """Its daemon's clocks, where they can be changed."""
    daemon: Program = field(init=False)
    app: Program = field(init=False)
    probe: Probe = field(init=False)
    _life: str | None = field(init=False, default=None)
    """Of the daemon that was started last, until its end is written down."""
    _asked: list[str] = field(init=False, default_factory=list)
    """What it has been sent."""

    def __post_init__(self) -> None:
        """Write its configuration; nothing runs yet."""
        self.folder.mkdir(parents=True)
        self.socket.parent.mkdir()
        plan = self.plan
        if self.via_proxy:
            upstreams = {f"s{number}": address for number, address in enumerate(self.endpoints, 1)}
            self.proxy = ProxyProcess(
                self.links.inside(self.host), self.sockets / self.name / "proxy", upstreams, self.folder / "proxy.log"
            )
            self.endpoints = list(self.proxy.start().values())
        environment = {"LEADERD_RUNTIME_DIR": str(self.socket.parent)}
        true_ns = None
        if plan.topology.clock == "faked":
            there = self.sockets / self.name / "clock"
            skew = self.skew = SkewFile(there)
            environment[CLOCK_ENV] = str(there)
            true_ns = lambda shown_ns: math.floor(skew.get().true(shown_ns / 1e9) * 1e9)  # noqa: E731
        self.probe = Probe(self.name, self.socket, plan.election, plan.promise, self.recorder, plan.poll_every_s, true_ns=true_ns)
        elsewhen = _OTHER_CLOCK if plan.topology.app_clock == "other" else ()
        arguments = [self.name, str(self.socket), plan.election, str(self.sockets), str(plan.slot_s), plan.promise]
        beside = [*elsewhen, sys.executable, str(APP), *arguments]
        self.app = self.links.program(self.host, "app", beside, self.folder / "app.log", {})
        command = self._leaderd() if not plan.peer else PEERS[plan.peer].command(self.endpoints, plan.election, str(self.socket))
        self.daemon = self.links.program(self.host, "daemon", command, self.folder / "daemon.log", environment)

    def _leaderd(self) -> list[str]:
        plan, url = self.plan, f"{self.store}://{','.join(self.endpoints)}/{PREFIX}"
        config = self.folder / "leaderd.yaml"
        config.write_text(
            f"instance: {'twin' if plan.topology.identity == 'same' else self.name}\nstore: {{url: '{url}'}}\n"
            f"timing: {{ttl: {plan.ttl}, promise: {plan.promise}{plan.settings}}}\nelections: [{{name: {plan.election}}}]\n"
            f"listen: {{http: off, ops: off, socket: {{path: {self.socket}}}}}\nlog: {{format: json}}\n",
            encoding="utf-8",
        )
        journal = self.folder / JOURNAL
        journal.touch()
        return [sys.executable, "-m", "chaos.workload.journaled", str(journal), "run", "--config", str(config)]

    @property
    def socket(self) -> Path:
        """The daemon's Unix socket."""
        return self.sockets / self.name / "leaderd.sock"

    def start(self) -> None:
        """Both processes, and the probe."""
        self.start_daemon()
        if self.plan.has_apps:
            self.app.start()
            self._see_clock()
        self.probe.start()

    def _see_clock(self) -> None:
        """Whether the app's clock is another one, where that was asked for."""
        pid = self.app.pid
        if self.plan.topology.app_clock == "other" and pid is not None:
            ours, theirs = "/proc/self/ns/time", f"/proc/{pid}/ns/time"
            wait_until(lambda: os.readlink(theirs) != os.readlink(ours), 5.0, f"the app {self.name} has another clock")

    def launch(self) -> None:
        """Start the daemon's process, and do not wait for more."""
        self.note_exit()
        self.daemon.start()
        self._asked = []
        self._life = self.daemon.life
        self.recorder.note("process", pod=self.name, what="started", life=self._life)

    def start_daemon(self) -> None:
        """The daemon alone, as a supervisor restarts it."""
        self.launch()
        if self.plan.peer:
            return  # some answer only once they lead
        wait_until(lambda: self.socket.exists() or not self.daemon.running, 20.0, f"{self.name} listens")
        if not self.daemon.running:
            raise StartError(f"daemon {self.name} has ended:\n{self.daemon.log_tail()}")

    def signal(self, number: signal.Signals) -> None:
        """Send a signal to the daemon; to a peer with all it runs, as systemd stops a unit."""
        if self.daemon.running:
            self.expect(number)
            self.daemon.send(number, group=bool(self.plan.peer))
            self.recorder.note("process", pod=self.name, what=number.name)

    def kill(self) -> None:
        """End the daemon at once."""
        if self.daemon.running:
            self.expect(signal.SIGKILL)
        self.daemon.kill()
        self.recorder.note("process", pod=self.name, what="killed")
        self.note_exit()

    def expect(self, number: Signals) -> None:
        """Somebody sends the daemon this, so that its end is no crash."""
        self._asked.append(number.name)

    def note_exit(self) -> None:
        """Write down how the daemon ended, if it has, and that was not written down before."""
        code = None if self._life is None else self.daemon.exit_code
        if code is None:
            return
        self.recorder.note("exit", pod=self.name, life=self._life, code=code, asked=self._asked)
        self._life = None

    def stop(self) -> None:
        """All of it, whatever state it is in."""
        self.probe.stop()
        self.note_exit()  # whoever has ended by now has not been asked to
        for process, grace_s in ((self.app, 3.0), (self.daemon, _GOES_S)):
            if process.running:
                process.thaw()
                if process is self.daemon:
                    self.expect(signal.SIGTERM)
            process.stop(grace_s)
        self.note_exit()
        if self.proxy is not None:
            self.proxy.stop()
        for text in _errors(self.daemon.log):
            self.recorder.note("error", pod=self.name, text=text)


def _errors(log: Path) -> list[str]:
    """What a daemon's log calls an error: whatever is done to the store and the network, there is to be none."""
    found = []
    for line in log.read_text(encoding="utf-8", errors="replace").splitlines() if log.exists() else []:
        try:
            entry = json.loads(line)
        except ValueError:
            found += [line] if line.startswith("Traceback") else []
            continue
        if isinstance(entry, dict) and entry.get("level") in ("error", "critical"):
            found.append(f"{entry.get('msg')} ({entry.get('error', 'no exception')}, {entry.get('at', 'somewhere')})")
    return found
