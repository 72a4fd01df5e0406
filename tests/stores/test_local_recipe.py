"""The local store's transactions, under a clock moved by hand."""

from __future__ import annotations

import sqlite3
from collections.abc import Iterator
from dataclasses import dataclass, field
from pathlib import Path

import pytest

from leaderd.election.commands import Entry
from leaderd.election.problems import Outcome, Reason
from leaderd.stores.local import files, recipe, schema
from leaderd.stores.local.host import Host
from leaderd.stores.local.problem import LocalError, SessionLost

HERE = Host("boot-1", "time:[1]")
TTL_S = 10.0


@dataclass
class World:
    """One file, one clock, any number of sessions."""

    directory: Path
    now_s: float = 1000.0
    connections: list[sqlite3.Connection] = field(default_factory=list)

    def session(self, name: str, host: Host = HERE, foreign: recipe.Foreign | None = None) -> recipe.Recipe:
        made = self.closed_session(host)
        made.open(name, "incarnation", TTL_S, foreign or recipe.Foreign(), lambda living: None)
        return made

    def closed_session(self, host: Host = HERE) -> recipe.Recipe:
        db = schema.connect(files.prepare(self.directory), 0.2)
        self.connections.append(db)
        return recipe.Recipe(db, host, files.new_session_id(), lambda: self.now_s)


@pytest.fixture
def world(tmp_path: Path) -> Iterator[World]:
    made = World(tmp_path / "store")
    yield made
    for db in made.connections:
        db.close()


def test_the_queue_is_in_the_order_of_the_tokens(world: World) -> None:
    several = [world.session(name) for name in "abc"]
    tokens = [one.stand("e")[1] for one in several]
    assert tokens == [1, 2, 3]
    look = several[2].look("e", world.now_s)
    assert [member.instance for member in look.queue] == ["a", "b", "c"]
    assert not look.led()


def test_a_claim_raises_the_mark_to_the_token(world: World) -> None:
    one = world.session("a")
    _, token = one.stand("e")
    look, done = one.claim("e", token, 0)
    assert done
    assert (look.mark, look.led()) == (token, True)


def test_a_claim_is_refused_while_another_is_first(world: World) -> None:
    one, two = world.session("a"), world.session("b")
    one.stand("e")
    _, token = two.stand("e")
    look, done = two.claim("e", token, 0)
    assert not done
    assert look.mark == 0


def test_a_claim_is_refused_with_another_mark(world: World) -> None:
    one = world.session("a")
    _, token = one.stand("e")
    look, done = one.claim("e", token, 7)
    assert not done
    assert look.mark == 0


def test_a_claim_at_the_instant_of_the_others_expiry(world: World) -> None:
    one, two = world.session("a"), world.session("b")
    one.stand("e")
    _, token = two.stand("e")
    world.now_s += TTL_S - 0.001
    two.db.execute("UPDATE session SET expires_s = expires_s + 100 WHERE id = ?", (two.session,))
    assert two.claim("e", token, 0)[1] is False
    world.now_s += 0.001
    assert two.claim("e", token, 0)[1] is True


def test_an_expired_session_is_not_renewed(world: World) -> None:
    one = world.session("a")
    one.stand("e")
    world.now_s += TTL_S
    with pytest.raises(SessionLost):
        one.renew(TTL_S, ())


def test_a_candidate_that_expired_while_waiting_cannot_claim(world: World) -> None:
    one = world.session("a")
    _, token = one.stand("e")
    world.now_s += TTL_S
    with pytest.raises(SessionLost):
        one.claim("e", token, 0)
    with pytest.raises(SessionLost):
        one.stand("other")


def test_sessions_of_another_boot_are_dead(world: World) -> None:
    one = world.session("a")
    one.stand("e")
    world.now_s = 5.0  # a reboot: the clock starts anew
    two = world.session("b", Host("boot-2", "time:[1]"))
    look, token = two.stand("e")
    assert [member.instance for member in look.queue] == ["b"]
    assert token == 2
    with pytest.raises(SessionLost):
        one.renew(TTL_S, ())


def test_another_time_namespace_is_refused(world: World) -> None:
    one = world.session("a")
    stranger, foreign = Host("boot-1", "time:[2]"), recipe.Foreign()
    world.now_s += 1_000_000.0  # its clock may show anything
    with pytest.raises(LocalError, match="time namespace"):
        world.closed_session(stranger).open("b", "i", TTL_S, foreign, lambda living: None)
    world.now_s -= 1_000_000.0
    assert one.renew(TTL_S, ())[2] == recipe.Left()


def test_a_session_of_another_time_namespace_that_renews_no_more_is_dead(world: World) -> None:
    one = world.session("a")
    one.stand("e")
    stranger, foreign = Host("boot-1", "time:[2]"), recipe.Foreign()
    for renewing in (True, True, False):
        with pytest.raises(LocalError, match="time namespace"):
            world.closed_session(stranger).open("b", "i", TTL_S, foreign, lambda living: None)
        world.now_s += TTL_S * 0.9
        if renewing:
            one.renew(TTL_S, ())
    world.now_s += TTL_S * 0.2
    world.session("b", stranger, foreign)
    with pytest.raises(SessionLost):
        one.renew(TTL_S, ())


def test_a_late_withdraw_frees_nothing(world: World) -> None:
    one = world.session("a")
    _, first = one.stand("e")
    one.withdraw("e", first)
    _, second = one.stand("e")
    assert second > first
    one.withdraw("e", first)
    assert one.own_token("e") == second


def test_leaving_the_head_of_the_queue_wakes_the_next(world: World) -> None:
    one, two, three = [world.session(name) for name in "abc"]
    for each in (one, two, three):
        each.stand("e")
    assert two.withdraw("e", None).wake == frozenset()
    assert one.withdraw("e", None).wake == frozenset({three.session})


def test_closing_wakes_the_heirs_of_every_election(world: World) -> None:
    one, two, three = [world.session(name) for name in "abc"]
    for election, heir in (("x", two), ("y", three)):
        one.stand(election)
        heir.stand(election)
    assert one.close().wake == frozenset({two.session, three.session})
    assert one.look("x", world.now_s).queue[0].session == two.session


def test_whoever_renews_removes_the_dead_and_wakes_their_heirs(world: World) -> None:
    one, two, three = [world.session(name) for name in "abc"]
    one.stand("e")
    two.stand("e")
    world.now_s += TTL_S * 0.6
    for each in (two, three):
        each.renew(TTL_S, ())
    world.now_s += TTL_S * 0.5
    left = three.renew(TTL_S, ())[2]
    assert left == recipe.Left(frozenset({two.session}), frozenset({one.session}))


def test_a_renewal_tells_ours_from_others(world: World) -> None:
    one, two = world.session("a"), world.session("b")
    _, x = one.stand("x")
    _, y = two.stand("y")
    asked = (Entry("x", x), Entry("x2", x), Entry("y", y))
    owned, lost, _ = one.renew(TTL_S, asked)
    assert owned == {"x"}
    assert lost == {"x2", "y"}
    assert one.renew(TTL_S, (Entry("x", x + 1),))[1] == {"x"}
    assert one.renew(TTL_S, (Entry("x", None),))[0] == {"x"}


def test_tokens_rise_above_a_raised_mark(world: World) -> None:
    one = world.session("a")
    one.raise_mark("e", 500)
    assert one.stand("e")[1] == 501
    one.raise_mark("e", 100)
    assert one.look("e", world.now_s).mark == 500
    one.raise_mark("e", -1)
    one.raise_mark("e", 2**63 - 1)
    assert one.look("e", world.now_s).mark == 500


def test_tokens_survive_an_empty_table(world: World) -> None:
    one = world.session("a")
    _, first = one.stand("e")
    one.close()
    one.db.execute("DELETE FROM entry")
    two = world.session("b")
    assert two.stand("e")[1] > first


def test_when_to_look_again(world: World) -> None:
    one, two, three = [world.session(name) for name in "abc"]
    for each in (one, two, three):
        each.stand("e")
    world.now_s += 1.0
    two.renew(TTL_S, ())
    look = three.look("e", world.now_s)
    assert look.ahead_until_s(one.session) is None
    assert look.ahead_until_s(two.session) == 1000.0 + TTL_S
    assert look.ahead_until_s(three.session) == 1001.0 + TTL_S
    assert look.ahead_until_s("nobody") is None


def test_the_clock_is_read_after_the_right_to_write_was_won(world: World) -> None:
    """Or a process that waited for the right would judge expiries by a time before them."""
    one = world.session("a")
    seen: list[bool] = []

    def clock() -> float:
        seen.append(one.db.in_transaction)
        return world.now_s

    one.now_s = clock
    _, token = one.stand("e")
    one.claim("e", token, 0)
    one.renew(TTL_S, ())
    one.withdraw("e", token)
    assert seen
    assert all(seen)


def test_a_token_is_on_disk_before_it_is_told(world: World, monkeypatch: pytest.MonkeyPatch) -> None:
    one = world.session("a")
    statements: list[str] = []
    one.db.set_trace_callback(statements.append)
    one.stand("e")
    assert statements[0] == "PRAGMA synchronous = FULL"
    assert statements[-2:] == ["COMMIT", "PRAGMA synchronous = NORMAL"]
    statements.clear()
    one.renew(TTL_S, ())
    assert not any("synchronous" in statement for statement in statements)


def test_a_malformed_row_is_a_problem_not_a_crash(world: World) -> None:
    one = world.session("a")
    one.stand("e")
    one.db.execute("PRAGMA ignore_check_constraints = ON")
    one.db.execute("UPDATE session SET expires_s = 'never'")
    with pytest.raises(LocalError, match="malformed"):
        one.look("e", world.now_s)
    one.db.execute("DELETE FROM revision")
    with pytest.raises(LocalError, match="revision"):
        one.probe()
    one.db.execute("INSERT INTO mark VALUES ('f', 'high')")
    with pytest.raises(LocalError, match="mark"):
        one.look("f", world.now_s)


def test_constraints_hold_off_nonsense(world: World) -> None:
    one = world.session("a")
    for statement in (
        "UPDATE session SET expires_s = 'never'",
        "INSERT INTO mark VALUES ('e', -1)",
        "UPDATE session SET instance = x'00'",
    ):
        with pytest.raises(sqlite3.IntegrityError):
            one.db.execute(statement)


def test_names_are_shown_fit_for_a_terminal() -> None:
    assert recipe.shown("a\x1b[2Jb\n") == "a\ufffd[2Jb\ufffd"
    assert len(recipe.shown("x" * 1000)) == 255
    assert recipe.shown("größe") == "größe"


def test_a_newer_schema_of_our_generation_is_used(world: World) -> None:
    one = world.session("a")
    one.db.execute("CREATE TABLE pause (election TEXT)")
    one.db.execute(f"PRAGMA user_version = {schema.SCHEMA_VERSION + 1}")
    two = world.session("b")
    assert two.stand("e")[1] == 1
    assert two.db.execute("PRAGMA user_version").fetchone()[0] == schema.SCHEMA_VERSION + 1


def test_another_generation_is_refused(world: World) -> None:
    one = world.session("a")
    one.db.execute("PRAGMA user_version = 201")
    with pytest.raises(LocalError, match="schema 201") as refused:
        world.session("b")
    assert refused.value.problem.reason is Reason.FOREIGN_ENTRY


def test_a_failed_commit_is_of_unknown_outcome(world: World) -> None:
    one = world.session("a")
    error = sqlite3.OperationalError("disk I/O error")
    error.sqlite_errorcode = sqlite3.SQLITE_IOERR
    problem = schema.sqlite_problem(schema.CommitFailed(error), Path("/x")).problem
    assert (problem.outcome, problem.reason) == (Outcome.UNKNOWN, Reason.STORE_ERROR)
    assert one.own_token("e") is None


@pytest.mark.parametrize(
    ("code", "reason"),
    [
        (sqlite3.SQLITE_BUSY, Reason.STORE_UNREACHABLE),
        (sqlite3.SQLITE_READONLY, Reason.PERMISSION_DENIED),
        (sqlite3.SQLITE_NOTADB, Reason.FOREIGN_ENTRY),
        (sqlite3.SQLITE_CORRUPT, Reason.STORE_ERROR),
        (sqlite3.SQLITE_FULL, Reason.STORE_ERROR),
        (sqlite3.SQLITE_IOERR | 10 << 8, Reason.STORE_ERROR),
    ],
)
def test_errors_of_sqlite_become_problems_of_one_line(code: int, reason: Reason) -> None:
    error = sqlite3.OperationalError("some text")
    error.sqlite_errorcode = code
    problem = schema.sqlite_problem(error, Path("/var/lib/leaderd/leaderd.db")).problem
    assert problem.reason is reason
    assert "/var/lib/leaderd/leaderd.db" in problem.detail
    assert "\n" not in problem.detail
    assert schema.is_busy(error) is (reason is Reason.STORE_UNREACHABLE)


def test_a_programming_error_stays_one() -> None:
    with pytest.raises(sqlite3.ProgrammingError):
        schema.sqlite_problem(sqlite3.ProgrammingError("Cannot operate on a closed database."), Path("/x"))
