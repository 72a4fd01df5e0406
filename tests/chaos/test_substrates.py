"""The substrates: what each can break, shown with real sockets, and what each refuses."""

import contextlib
import socket
import threading
import time

import pytest

from chaos import cli, engine, judge, scenario
from chaos.history import FILE
from chaos.proxy.control import ProxyProcess
from chaos.substrates import CannotInject, sim
from chaos.substrates.menu import MENU
from chaos.substrates.proxy import ProxyLinks
from leaderd.board import Board
from leaderd.election.ledger import Ledger
from leaderd.election.state import Term
from leaderd.election.timing import Timing


class Store:
    """Answers whatever it is sent, as any of the stores does, and counts what it was sent."""

    def __init__(self):
        self.heard = 0
        self._listener = socket.create_server(("127.0.0.1", 0))
        self.port = self._listener.getsockname()[1]
        threading.Thread(target=self._serve, daemon=True).start()

    def _serve(self):
        while True:
            try:
                connection, _ = self._listener.accept()
            except OSError:
                return
            threading.Thread(target=self._answer, args=(connection,), daemon=True).start()

    def _answer(self, connection):
        with connection, contextlib.suppress(ConnectionResetError):
            while data := connection.recv(100):
                self.heard += len(data)
                connection.sendall(b"ok")

    def close(self):
        self._listener.close()


@pytest.fixture(scope="module")
def bed(tmp_path_factory):
    """Two store nodes, two pods, a real proxy process before each pod."""
    folder = tmp_path_factory.mktemp("proxy")
    stores = {"s1": Store(), "s2": Store()}
    upstreams = {name: f"127.0.0.1:{store.port}" for name, store in stores.items()}
    links = ProxyLinks(["s1", "s2", "c1", "c2"], "etcd")
    proxies = [ProxyProcess((), folder / name, upstreams, folder / f"{name}.log") for name in ("c1", "c2")]
    for name, proxy in zip(("c1", "c2"), proxies, strict=True):
        proxy.start()
        links.through(name, proxy)
    yield links, stores
    for proxy in proxies:
        proxy.stop()
    for store in stores.values():
        store.close()


def reached(links):
    ways = [(pod, store) for pod in ("c1", "c2") for store in ("s1", "s2")]
    return {f"{pod}-{store}" for pod, store in ways if links.reaches(pod, store, 0, 0.2)}


EVERY = {"c1-s1", "c1-s2", "c2-s1", "c2-s2"}


@pytest.mark.parametrize(
    ("sources", "targets", "left"),
    [
        (["c1"], ["s1", "s2"], {"c2-s1", "c2-s2"}),
        (["c1"], ["s2"], EVERY - {"c1-s2"}),
        (["s1"], ["c1", "c2"], {"c1-s2", "c2-s2"}),
    ],
)
def test_a_proxy_cuts_the_ways_that_it_is_asked_to_and_no_other(bed, sources, targets, left):
    links, _ = bed
    assert reached(links) == EVERY
    ticket = links.block(sources, targets)
    assert reached(links) == left
    links.lift(ticket)
    links.lift(ticket)
    assert reached(links) == EVERY


def test_one_way_means_that_requests_are_carried_out(bed):
    links, stores = bed
    before = stores["s1"].heard
    ticket = links.block(["s1"], ["c1"])
    assert not links.reaches("c1", "s1", 0, 0.2)
    assert stores["s1"].heard > before, "the answer was swallowed, not the request"
    links.lift(ticket)
    heard = stores["s1"].heard
    ticket = links.block(["c1"], ["s1"])
    assert not links.reaches("c1", "s1", 0, 0.2)
    assert stores["s1"].heard == heard
    links.lift(ticket)


def test_a_reset_is_of_one_pod(bed):
    links, _ = bed
    ticket = links.reset("c2")
    assert reached(links) == {"c1-s1", "c1-s2"}
    links.lift(ticket)
    assert reached(links) == EVERY


def test_a_proxy_says_what_it_cannot_do(bed):
    links, _ = bed
    for what in (
        lambda: links.block(["s1"], ["s2"]),
        lambda: links.reset("s1"),
        lambda: links.lose("c1", 30),
        lambda: links.ping_loss("c1", "s1", 1),
        lambda: links.reaches("s1", "s2", 0),
    ):
        with pytest.raises(CannotInject, match="netns"):
            what()


@pytest.mark.parametrize(
    ("name", "able"),
    [("partition-leader", True), ("asymmetric-in", True), ("kill-leader", True), ("store-node-from-quorum", False)],
)
def test_what_cannot_be_carried_out_is_said_before_anything_starts(name, able, tmp_path, capsys):
    assert (MENU["proxy"].lacks(scenario.load(name)) is None) is able
    assert MENU["netns"].lacks(scenario.load(name)) is None
    began_s = time.monotonic()
    line = ["run", name, "--substrate", "proxy", "--store", "etcd", "--dry-run", "--out", str(tmp_path)]
    assert cli.main(line) == (0 if able else 254)
    assert ("--substrate netns" in capsys.readouterr().err) is not able
    assert time.monotonic() - began_s < 5


def test_of_many_the_others_are_left_out_loudly(tmp_path, capsys):
    assert cli.main(["run", "--smoke", "--substrate", "proxy", "--dry-run", "--out", str(tmp_path)]) == 0
    told = capsys.readouterr().out
    assert "left out, for proxy cannot do it: store-node-from-quorum" in told
    assert "swallow-replies: leaderd on consul by proxy" in told
    assert "sliced-answers" not in told, "not of the smoke set"


def test_the_smoke_set_is_what_it_is_meant_to_be():
    smoke = {name for name in scenario.names() if scenario.load(name).smoke}
    wanted = {
        "partition-leader",
        "store-node-from-quorum",
        "freeze-leader",
        "kill-leader",
        "store-majority-lost",
        "swallow-replies",
    }
    assert wanted <= smoke
    assert all(len(scenario.load(name).stores) == 3 for name in wanted)


# ---- the simulated world


def simulated(name, store, folder, seed=0):
    folder.mkdir()
    found = scenario.load(name)
    sim.carry_out(found, store, seed, folder, engine.facts(found, name, store, "sim", seed=seed), lambda line: None)
    checks = judge.judge(judge.read(folder), found)
    return {check.name: check for check in checks}, judge.worst(check.verdict for check in checks)


@pytest.mark.parametrize(
    ("name", "store"), [("partition-leader", "etcd"), ("freeze-leader", "zookeeper"), ("store-node-from-quorum", "consul")]
)
def test_a_scenario_in_the_simulated_world(name, store, tmp_path):
    checks, verdict = simulated(name, store, tmp_path / "run")
    assert verdict == judge.PASS, checks
    assert int(checks["no-overlap"].text.split()[0]) > 300, "answers, 10 ms apart"


def test_a_seed_is_the_same_run_again(tmp_path):
    texts = []
    for number, seed in enumerate((3, 3, 4)):
        simulated("partition-leader", "etcd", tmp_path / str(number), seed)
        lines = (tmp_path / str(number) / FILE).read_text().splitlines()
        texts.append(lines[1:])  # the first one tells the time of day
    assert texts[0] == texts[1] != texts[2]


@pytest.mark.parametrize(
    ("name", "store", "seed"),
    [("session-revoked", "etcd", 1002), ("entry-deleted", "consul", 1002), ("session-revoked", "zookeeper", 101)],
)
def test_a_long_promise_broken_by_an_operator_is_excused(name, store, seed, tmp_path):
    checks, verdict = simulated(name, store, tmp_path / "run", seed)
    assert verdict == judge.PASS, checks


def test_a_flag_instead_of_a_deadline_is_caught(monkeypatch, tmp_path):
    answer = Board.answer
    monkeypatch.setattr(Term, "held", lambda self, now_s: not self.doubted)
    monkeypatch.setattr(Board, "answer", lambda *args, **options: answer(*args, min_valid_s=-1e9, **options))
    checks, _ = simulated("freeze-leader", "etcd", tmp_path / "run")
    assert checks["promises-kept"].verdict == judge.FAIL, "what wakes up says yes at once"


def test_a_leader_that_goes_on_where_nobody_follows_is_caught(monkeypatch, tmp_path):
    assert simulated("all-candidates-cut", "etcd", tmp_path / "clean")[0]["cut-off-stops"].verdict == judge.PASS
    valid_until_s = Timing.valid_until_s
    monkeypatch.setattr(Timing, "valid_until_s", lambda *args: valid_until_s(*args) + 3.0)
    checks, _ = simulated("all-candidates-cut", "etcd", tmp_path / "run")
    assert checks["cut-off-stops"].verdict == judge.FAIL
    assert checks["no-overlap"].verdict == judge.PASS, "there is nobody to overlap with"


def test_a_release_before_its_promises_lapsed_is_caught(monkeypatch, tmp_path):
    assert simulated("terminate-leader", "etcd", tmp_path / "clean")[1] == judge.PASS
    monkeypatch.setattr(Ledger, "lapsed", lambda self, now_s: True)
    checks, _ = simulated("terminate-leader", "etcd", tmp_path / "run")
    assert checks["no-overlap"].verdict == judge.FAIL


@pytest.mark.parametrize("name", ["freeze-app", "answers-after-the-ttl"])
def test_what_is_not_simulated_is_refused(name, tmp_path):
    assert cli.main(["run", name, "--substrate", "sim", "--dry-run", "--out", str(tmp_path)]) == 254


def test_of_the_others_there_is_no_model(tmp_path):
    line = ["run", "partition-leader", "--substrate", "sim", "--subject", "kazoo-election", "--dry-run", "--out", str(tmp_path)]
    assert cli.main(line) == 254
