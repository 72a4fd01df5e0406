"""Three daemons on the local store, each beside a toy app with a job every second; the leading pair is killed half-way."""

from __future__ import annotations

import os
import shutil
import signal
import subprocess
import sys
import tempfile
import time
from contextlib import suppress
from dataclasses import dataclass, field
from pathlib import Path

from demo.toy_app import ask, boot_ns
from demo.verdict import Run, Verdict, judge, read_runs

NAMES = ("pod-a", "pod-b", "pod-c")
TTL = "3s"
SLOTS_BEFORE_KILL = 6
SLOTS_IN_ALL = 16
START_LIMIT_S = 8.0


@dataclass
class Pod:
    """One daemon and the app beside it."""

    name: str
    root: Path
    processes: list[subprocess.Popen[bytes]] = field(default_factory=list)
    killed: bool = False

    @property
    def socket(self) -> str:
        """Where its daemon answers."""
        return str(self.root / self.name / "leaderd.sock")

    @property
    def log(self) -> Path:
        """What its daemon said."""
        return self.root / f"{self.name}.log"

    def start(self, ledger: Path) -> None:
        """Start both."""
        environ = {k: v for k, v in os.environ.items() if not k.startswith("LEADERD_")}
        environ["LEADERD_RUNTIME_DIR"] = str(self.root / self.name)
        daemon = [sys.executable, "-m", "leaderd", "run", "--store", f"local://{self.root}/store", "--election", "report"]
        daemon += ["--instance", self.name, "--ttl", TTL, "--socket", self.socket, "--http", "off", "--ops", "off"]
        app = [sys.executable, "-m", "demo.toy_app", self.name, self.socket, str(ledger)]
        with self.log.open("wb") as log:
            for command in (daemon, app):
                self.processes.append(subprocess.Popen(command, env=environ, stdout=log, stderr=log, stdin=subprocess.DEVNULL))

    def kill(self) -> None:
        """SIGKILL both: nothing is released, nothing is said."""
        self.killed = True
        for process in self.processes:
            process.kill()
            process.wait()

    def stop(self) -> None:
        """Stop both in good order: the app first, so that nothing is promised to it any more."""
        for process in reversed(self.processes):
            if process.poll() is None:
                process.terminate()
        for process in self.processes:
            with suppress(subprocess.TimeoutExpired):
                process.wait(timeout=5)
            if process.poll() is None:
                process.kill()
                process.wait()


def main() -> int:
    """Run the demo; 0 when no slot ran twice, tokens rose and leadership moved, else 1."""
    signal.signal(signal.SIGTERM, lambda *_: sys.exit(143))
    signal.signal(signal.SIGPIPE, signal.SIG_DFL)
    root = Path(tempfile.mkdtemp(prefix="leaderd-demo-"))
    ledger = root / "ledger.ndjson"
    pods = [Pod(name, root) for name in NAMES]
    print(f"Three daemons on one local store, ttl {TTL}; a job is due each second and must run exactly once.\n", flush=True)
    try:
        for pod in pods:
            pod.start(ledger)
        if not _wait_for_first_run(pods, ledger):
            return 1
        verdict = _watch(pods, ledger)
    except KeyboardInterrupt:
        print("\nstopped")
        return 130
    finally:
        for pod in pods:
            pod.stop()
        shutil.rmtree(root, ignore_errors=True)
    return _report(verdict)


def _wait_for_first_run(pods: list[Pod], ledger: Path) -> bool:
    until_s = time.monotonic() + START_LIMIT_S
    while time.monotonic() < until_s:
        if read_runs(ledger):
            return True
        time.sleep(0.05)
    print(f"nobody led within {START_LIMIT_S:g} s; what the daemons said:")
    for pod in pods:
        print(f"--- {pod.name}\n{pod.log.read_text(errors='replace')[-2000:]}")
    return False


def _watch(pods: list[Pod], ledger: Path) -> Verdict:
    first_slot = read_runs(ledger)[0].slot
    last_slot = first_slot + SLOTS_IN_ALL - 1
    print("slot   " + "".join(f"{pod.name:<18}" for pod in pods) + "job ran on", flush=True)
    for slot in range(first_slot, last_slot + 1):
        # Half a second after the slot its job has run, or will not.
        time.sleep(max(0.0, slot + 0.5 - boot_ns() / 1e9))
        runs = [run for run in read_runs(ledger) if run.slot == slot]
        print(_row(slot - first_slot + 1, pods, runs), flush=True)
        if slot == first_slot + SLOTS_BEFORE_KILL - 1:
            leader = next(pod for pod in pods if runs and pod.name == runs[-1].app)
            leader.kill()
            print(f"       ✗ SIGKILL {leader.name}: daemon and app, without a word to anybody", flush=True)
    return judge(read_runs(ledger), first_slot, last_slot)


def _row(number: int, pods: list[Pod], runs: list[Run]) -> str:
    cells = []
    for pod in pods:
        answer = {"state": "killed"} if pod.killed else ask(pod.socket, "0")
        mark = f"● leader #{answer['token']}" if answer.get("leader") else f"· {answer.get('state', 'silent')}"
        cells.append(f"{mark:<18}")
    ran = ", ".join(f"{run.app} (token {run.token})" for run in runs) or "- (nobody led at the tick)"
    return f"{number:>4}   " + "".join(cells) + ran


def _report(verdict: Verdict) -> int:
    took_over = " -> ".join(f"{name} (token {token})" for name, token in zip(verdict.leaders, verdict.tokens, strict=True))
    print(f"\nslots {verdict.slots} · runs {verdict.runs} · duplicates {len(verdict.duplicates)} · tokens {verdict.tokens}")
    print(f"led: {took_over}; {len(verdict.missed)} slots passed while the killed leader's lease ran out")
    if verdict.good:
        print("PASS: no slot ran twice, and the tokens only rose")
        return 0
    print("FAIL: " + (f"slots {verdict.duplicates} ran twice" if verdict.duplicates else "leadership did not move as it must"))
    return 1


if __name__ == "__main__":
    sys.exit(main())
