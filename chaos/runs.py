"""A list of runs: what is to be made, what is done already, and each carried out in namespaces of its own.

The output folder keeps the list (`runs.ndjson`): a line for what was wanted, then one for each run that came to a verdict. Whoever
resumes makes only those that are missing. A run that was interrupted came to none.
"""

from __future__ import annotations

import json
import os
import signal
import subprocess
import sys
import threading
import time
from collections.abc import Callable, Sequence
from concurrent.futures import ThreadPoolExecutor, as_completed
from dataclasses import asdict, dataclass
from pathlib import Path

from chaos import history, judge
from chaos.substrates import netns
from chaos.substrates.menu import MENU

LIST = "runs.ndjson"
JOB = "job.json"
LOG = "harness.log"
BROKEN = "BROKEN"
"""Of a run that the harness could not carry out: it says nothing about the subject."""
INTERRUPTED = 130
_HEALING_S = 45.0
_REMOVING_S = 120.0
"""Containers end one after the other, and the engine takes its time."""
_REMOVED = (0, 2, INTERRUPTED)
"""The exit codes of a run that has removed its containers."""

Say = Callable[[str], None]


@dataclass(frozen=True, slots=True)
class Job:
    """One run that is wanted. `seed` 0 changes nothing; any other shifts each fault (`engine.Engine`)."""

    scenario: str
    store: str
    subject: str = "leaderd"
    substrate: str = "netns"
    seed: int = 0
    variables: tuple[str, ...] = ()
    """`NAME=VALUE` of the scenario's topology."""

    @property
    def title(self) -> str:
        """What a person calls it."""
        more = ("" if self.substrate == "netns" else f" by {self.substrate}") + (f" seed {self.seed}" if self.seed else "")
        more += "".join(f" {each}" for each in self.variables)
        return f"{Path(self.scenario).stem}: {self.subject} on {self.store}{more}"

    @property
    def folder(self) -> str:
        """The name of its run folder, without the time."""
        more = ("" if self.substrate == "netns" else f"-{self.substrate}") + (f"-{self.seed}" if self.seed else "")
        return f"{Path(self.scenario).stem}-{self.subject}-{self.store}{more}"


@dataclass(frozen=True, slots=True)
class Done:
    """One run that came to a verdict: PASS, FAIL, UNKNOWN, or BROKEN."""

    job: Job
    folder: str
    verdict: str
    took_s: float


def job_of(facts: dict[str, object]) -> Job:
    """A job as it was written down."""
    return Job(**{**facts, "variables": tuple(facts.get("variables", ()))})  # type: ignore[arg-type]


class RunList:
    """The list in an output folder."""

    def __init__(self, out: Path) -> None:
        self.out = out
        self._path = out / LIST
        self._lock = threading.Lock()

    def begin(self, jobs: Sequence[Job]) -> None:
        """What is wanted from now on; what was done before is history."""
        self._append({"wanted": [asdict(job) for job in jobs]})

    def finish(self, done: Done) -> None:
        """One of them has come to a verdict."""
        facts = {"job": asdict(done.job), "folder": done.folder, "verdict": done.verdict, "took_s": round(done.took_s, 1)}
        self._append({"done": facts})

    def wanted(self) -> list[Job]:
        """What was wanted last; nothing in a folder without a list."""
        found: list[Job] = []
        for line in self._lines():
            if "wanted" in line:
                found = [job_of(each) for each in line["wanted"]]
        return found

    def done(self, *, since_last: bool = False) -> list[Done]:
        """What came to a verdict: ever, or since it was last said what is wanted."""
        found: list[Done] = []
        for line in self._lines():
            if "wanted" in line and since_last:
                found = []
            if "done" in line:
                facts = line["done"]
                found.append(Done(job_of(facts["job"]), facts["folder"], facts["verdict"], facts["took_s"]))
        return found

    def missing(self) -> list[Job]:
        """What is wanted and not done. A broken run is not done."""
        over = [each.job for each in self.done(since_last=True) if each.verdict != BROKEN]
        return [job for job in self.wanted() if job not in over]

    def _lines(self) -> list[history.Line]:
        if not self._path.exists():
            return []
        texts = self._path.read_text(encoding="utf-8").splitlines(keepends=True)
        return [json.loads(text) for text in texts if text.endswith("\n")]

    def _append(self, line: dict[str, object]) -> None:
        with self._lock, self._path.open("a", encoding="utf-8") as file:
            file.write(json.dumps(line, separators=(",", ":")) + "\n")


RunOne = Callable[[Job, Path], str]
"""Carries one job out in that folder, which is there and empty, and returns the verdict."""


def carry_out(
    jobs: Sequence[Job],
    listed: RunList,
    run_one: RunOne,
    say: Say,
    interrupt: Callable[[], None],
    *,
    at_once: int = 1,
    fail_fast: bool = False,
) -> list[Done]:
    """All of them, `at_once` at a time. `fail_fast`: none is begun after one that did not pass. `interrupt` makes `run_one` return
    soon, by raising or else: it is called when we are interrupted, or fail.
    """
    over: list[Done] = []
    stop, interrupted = threading.Event(), threading.Event()

    def one(job: Job) -> Done | None:
        if stop.is_set():
            return None
        began_s = time.monotonic()
        folder = fresh(listed.out, job)
        try:
            verdict = run_one(job, folder)
        except (OSError, ValueError, RuntimeError) as error:
            if interrupted.is_set():
                return None
            say(f"{job.title}: {error}")
            verdict = BROKEN
        if fail_fast and verdict != judge.PASS:
            stop.set()
        return Done(job, folder.name, verdict, time.monotonic() - began_s)

    with ThreadPoolExecutor(at_once) as pool:
        try:
            for future in as_completed([pool.submit(one, job) for job in jobs]):
                done = future.result()
                if done is None:
                    continue  # none was begun
                over.append(done)
                listed.finish(done)
                if len(jobs) > 1:
                    say(f"{len(over)} of {len(jobs)}: {done.verdict} {done.job.title}, {done.took_s:.0f} s")
        except BaseException:
            stop.set()
            interrupted.set()
            interrupt()
            raise
    return over


_NAMING = threading.Lock()


def fresh(out: Path, job: Job) -> Path:
    """A new folder for the run, named by when it began."""
    stamp = time.strftime("%Y%m%d-%H%M%S", time.gmtime())
    with _NAMING:
        for number in range(1, 1000):
            folder = (out / f"{stamp}-{job.folder}{'' if number == 1 else f'-{number}'}").absolute()
            if not folder.exists():
                folder.mkdir(parents=True)
                return folder
    raise OSError(f"{out} holds a thousand runs of this second: give another --out")


class LeftBroken(RuntimeError):
    """What an interrupted run broke is not healed; the text says what to do."""


class Children:
    """The processes of runs under way, each in a process group of its own, so that only we end them."""

    def __init__(self) -> None:
        self._running: dict[Path, tuple[Job, subprocess.Popen[str]]] = {}
        self._lock = threading.Lock()
        self._over = False

    def run(self, folder: Path, say: Say) -> int:
        """What the folder says, on its substrate; its lines go to `say` and into the folder. Returns the exit code."""
        job = job_of(json.loads((folder / JOB).read_text(encoding="utf-8")))
        command = MENU[job.substrate].enter([sys.executable, "-m", "chaos", "inside", str(folder)])
        with self._lock:
            if self._over:
                return INTERRUPTED
            child = subprocess.Popen(
                command,
                stdout=subprocess.PIPE,
                stderr=subprocess.STDOUT,
                text=True,
                errors="replace",
                env={**os.environ, netns.INSIDE_ENV: "1" if job.substrate == "netns" else "0"},
                start_new_session=True,
            )
            self._running[folder] = job, child
        assert child.stdout is not None
        try:
            with child.stdout, (folder / LOG).open("a", encoding="utf-8") as log:
                for line in child.stdout:
                    log.write(line)
                    log.flush()
                    say(line.rstrip("\n"))
            return child.wait()
        finally:
            with self._lock:
                del self._running[folder]

    def interrupt(self) -> None:
        """Ask all of them to heal what they did and end; begin none. Those that do not are killed, and the kernel heals.

        But containers are the engine's: raises `LeftBroken` if a run that has some was killed, or could not remove them.
        """
        with self._lock:
            self._over = True
            running = dict(self._running)
        for _, child in running.values():
            _signal(child, signal.SIGINT)
        began_s, left = time.monotonic(), []
        for folder, (job, child) in running.items():
            bound_s = _REMOVING_S if job.substrate == "docker" else _HEALING_S
            try:
                child.wait(max(0.1, began_s + bound_s - time.monotonic()))
            except subprocess.TimeoutExpired:
                _signal(child, signal.SIGKILL)
                child.wait()
            if job.substrate == "docker" and child.returncode not in _REMOVED:
                left.append(str(folder))
        if left:
            raise LeftBroken(
                f"interrupted, and containers may be left, stopped or cut off, of the run in {', '.join(left)}: "
                "`leaderd-chaos clean` removes them; then `run --resume` goes on from here"
            )


def _signal(child: subprocess.Popen[str], number: signal.Signals) -> None:
    if child.poll() is None:
        os.killpg(child.pid, number)
