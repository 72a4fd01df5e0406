"""The chaos suite in containers (`leaderd-chaos run --substrate docker`): it breaks what it says, and leaves nothing behind.

Skipped, plainly, where no engine answers; `python -m tests.deploy.box STORE` runs it in the boxed one.
"""

from __future__ import annotations

import json
import os
import signal
import subprocess
import sys
import tempfile
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest

from chaos import engine, history, judge, leftovers, scenario, verdicts
from chaos.containers import override, project
from chaos.containers.process import Contained
from chaos.containers.project import Project
from chaos.faults import NotBiting
from chaos.history import Recorder
from chaos.substrates import docker
from chaos.substrates.docker import DockerLinks
from testbed.process import StartError, wait_until
from tests.deploy import tools
from tests.deploy.project import STORES
from tests.deploy.tree import ROOT

_LABEL = "com.docker.compose.project"
_ENDS = """
title: The leading daemon is killed, then the next one stands still; the store's leader with it
why: Each of these is another thing that an engine can do.
method:
  - {step: inject, name: kill, fault: {fault: kill, at: leader}}
  - {step: await-leader, other: true}
  - {step: heal, name: kill}
  - {step: inject, name: freeze, fault: {fault: freeze, at: leader}}
  - {step: await-leader, other: true}
  - {step: heal, name: freeze}
  - {step: inject, name: node, fault: {fault: kill-node, at: store-leader, ready: true}}
  - {step: hold, time: 1ttl}
  - {step: heal, name: node}
  - {step: inject, name: terminate, fault: {fault: terminate, at: leader}}
  - {step: await-leader, other: true}
  - {step: heal, name: terminate}
expect: {recovers_within: 30s}
"""


@pytest.fixture(autouse=True)
def there(monkeypatch: pytest.MonkeyPatch) -> Iterator[Any]:
    """The engine, in which nothing of ours is left, and everything of others is as it was, once a test is over."""
    monkeypatch.setenv("PATH", f"{Path(tools.tool('docker-compose')).parent}:{os.environ['PATH']}")
    reason = docker.missing()
    if reason is not None:
        tools.no_engine(reason)
    found = project.client()
    before = _everything(found)
    yield found
    assert _everything(found) == before
    found.close()


def _everything(found: Any) -> set[str]:
    listed = [*found.containers.list(all=True), *found.networks.list(), *found.volumes.list()]
    return {f"{type(each).__name__} {each.name}" for each in listed}


def _command(out: Path, *words: str) -> list[str]:
    return [sys.executable, "-m", "chaos", "run", "--substrate", "docker", "--out", str(out), *words]


def _judged(out: Path) -> tuple[dict[str, Any], list[dict[str, Any]]]:
    (folder,) = (path.parent for path in out.glob("*/history.ndjson"))
    return json.loads((folder / "results.json").read_text()), list(history.lines(folder))


@pytest.mark.timeout(300)
@pytest.mark.parametrize("store", STORES)
def test_a_cut_bites_and_the_run_passes(tmp_path: Path, store: str) -> None:
    done = subprocess.run(
        _command(tmp_path, "partition-leader", "--store", store), cwd=ROOT, timeout=280, capture_output=True, text=True
    )
    assert done.returncode == 0, done.stdout + done.stderr
    results, lines = _judged(tmp_path)
    assert (results["verdict"], results["substrate"]) == ("PASS", "docker")
    checks = {each["name"] for each in results["checks"]}
    assert {"no-overlap", "promises-kept", "no-stale-write", "cut-off-stops", "no-orphans", "never-crashes"} <= checks
    assert [line["seen"] for line in lines if line["kind"] == "bites"] == ["no connection between them can be made"]
    assert results["figures"]["fenced_writes"] > 0


@pytest.mark.timeout(300)
def test_ends_and_freezes_bite_etcd(tmp_path: Path) -> None:
    path = tmp_path / "ends.yaml"
    path.write_text(_ENDS)
    words = _command(tmp_path / "out", str(path), "--store", "etcd")
    done = subprocess.run(words, cwd=ROOT, timeout=280, capture_output=True, text=True)
    assert done.returncode == 0, done.stdout + done.stderr
    _, lines = _judged(tmp_path / "out")
    assert [line["name"] for line in lines if line["kind"] == "bites"] == ["kill", "freeze", "node", "terminate"]
    codes = [line["code"] for line in lines if line["kind"] == "exit"]
    assert codes[0] == -signal.SIGKILL, "as the kernel ended it, and not as the engine counts"
    assert set(codes[1:]) == {0}


@pytest.mark.timeout(300)
def test_an_app_stops_itself_between_its_yes_and_its_write_etcd(tmp_path: Path) -> None:
    """The negative control: without a fence the stale write is there."""
    words = _command(tmp_path, "freeze-app", "--store", "etcd")
    done = subprocess.run(words, cwd=ROOT, timeout=280, capture_output=True, text=True)
    assert done.returncode == 0, done.stdout + done.stderr
    results, _ = _judged(tmp_path)
    assert {each["name"]: each["verdict"] for each in results["checks"]}["control"] == "PASS"


class Toothless(DockerLinks):
    """Says that it has cut, and has not."""

    def _apply(self, sources: object) -> None:
        """Nothing."""


@pytest.mark.timeout(240)
def test_a_cut_that_does_not_bite_shows_nothing_etcd(tmp_path: Path) -> None:
    found = scenario.load("partition-leader")
    (tmp_path / verdicts.SCENARIO).write_text(scenario.text(found))
    recorder = Recorder(tmp_path)
    recorder.note("run", **engine.facts(found, "partition-leader", "etcd", "docker"))  # type: ignore[arg-type]
    recorder.close()
    with pytest.raises(NotBiting, match="still reach each other"):
        engine.Engine(found, "etcd", Toothless("etcd"), tmp_path, print).run()
    assert verdicts.judged(tmp_path, lambda line: None) == judge.UNKNOWN


@pytest.mark.timeout(240)
def test_ctrl_c_removes_everything_etcd(tmp_path: Path, there: Any) -> None:
    with subprocess.Popen(
        _command(tmp_path, "partition-leader", "--store", "etcd"),
        cwd=ROOT,
        stdout=subprocess.PIPE,
        stderr=subprocess.STDOUT,
        text=True,
    ) as run:
        assert run.stdout is not None
        said = next((line for line in run.stdout if "store up" in line), "")
        assert said, "the store never came up"
        assert there.containers.list(filters={"label": _LABEL}), "or there is nothing to be removed"
        run.send_signal(signal.SIGINT)
        rest = run.stdout.read()
        assert run.wait(120) == 255, rest
    assert "interrupted" in rest


@pytest.fixture
def made(tmp_path: Path, there: Any, monkeypatch: pytest.MonkeyPatch) -> Iterator[Project]:
    """The containers of a run that nobody goes on with."""
    monkeypatch.setattr(tempfile, "tempdir", str(tmp_path))
    folder = Path(tempfile.mkdtemp(prefix=leftovers.SOCKETS_PREFIX))
    leftovers.hold(folder).close()
    (tmp_path / "run").mkdir()
    it = Project(override.layout(ROOT, "etcd"), "etcd", folder, tmp_path / "run")
    try:
        it.create()
        yield it
    finally:
        it.remove()


@pytest.mark.timeout(120)
def test_clean_removes_what_a_killed_run_has_left_etcd(tmp_path: Path, there: Any, made: Project) -> None:
    made.container("etcd-0").start()
    assert made.folder in leftovers.find(tmp_path / "out")
    leftovers.remove(tmp_path / "out", print)
    assert not there.containers.list(all=True, filters={"label": f"{_LABEL}={made.name}"})
    assert not made.folder.exists()


@pytest.mark.timeout(120)
def test_what_has_ended_is_asked_nothing_etcd(made: Project) -> None:
    """The engine refuses in words of its own; here they are those of processes."""
    node = Contained(made, "etcd-0")
    node.start()
    wait_until(node.log_tail, 20.0, "it has printed something")
    node.signal_stop()
    wait_until(lambda: not node.running, 20.0, "it has ended")
    with pytest.raises(ProcessLookupError):
        node.send(signal.SIGTERM)
    with pytest.raises(RuntimeError, match="is not running"):
        node.freeze()

    def joined() -> None:
        node.kill()
        made.join("s1")

    with pytest.raises(StartError, match=r"etcd-0 has ended: .*etcd"):
        Contained(made, "etcd-0", joined=joined).start()
