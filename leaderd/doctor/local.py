"""The local store: the directory and the database, looked at without making either, and the queues in it."""

from __future__ import annotations

import os
import sqlite3
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from urllib.parse import quote

from leaderd.doctor.findings import (
    BOUND_S,
    Endpoint,
    Finding,
    Patient,
    Report,
    denied,
    duplicates,
    orphan,
    stuck_below_mark,
    unreachable,
)
from leaderd.doctor.second_look import Head, Look, examine_queues
from leaderd.election.problems import Problem, Reason
from leaderd.stores.local.files import DB_NAME, inspect
from leaderd.stores.local.host import read_host
from leaderd.stores.local.problem import LocalError
from leaderd.stores.local.recipe import shown
from leaderd.stores.local.schema import APPLICATION_ID, sqlite_problem

_LONG = 10
_QUEUE = """SELECT entry.token, session.instance, session.expires_s, session.boot, session.id
    FROM entry JOIN session ON session.id = entry.session WHERE entry.election = ? ORDER BY entry.token LIMIT 1000"""
_Row = tuple[int, str, float, str, str]


async def examine(patient: Patient, report: Report) -> None:
    """Look at the directory, then at the database in it."""
    directory = Path(patient.address.path)
    database = directory / DB_NAME

    async def look(election: str) -> Look:
        try:
            with _opened(database) as db:
                return _look(patient, database, db, election) if db is not None else Look([])
        except LocalError as error:
            report.endpoints[:] = [Endpoint(str(directory), trouble=error.problem.detail)]
            return Look([_trouble(str(directory), error.problem)])

    sent_at_s = patient.now_s()
    try:
        exists = inspect(directory)
        if exists:
            with _opened(database):
                pass
    except LocalError as error:
        report.endpoints.append(Endpoint(str(directory), trouble=error.problem.detail))
        report.findings.append(_trouble(str(directory), error.problem))
        return
    version = f"SQLite {sqlite3.sqlite_version}" if exists else "not used yet"
    report.endpoints.append(Endpoint(str(directory), patient.now_s() - sent_at_s, version))
    if exists:
        await examine_queues(patient, report, look)


def _trouble(where: str, problem: Problem) -> Finding:
    if problem.reason is Reason.PERMISSION_DENIED:
        return denied(where, f"to read and write there as uid {os.geteuid()}, and that nobody else may", problem.detail)
    return unreachable(where, problem.detail)


@contextmanager
def _opened(path: Path) -> Iterator[sqlite3.Connection | None]:
    """The database, to be read; None if it is made, and not used yet. Raises `LocalError`, also for what is done with it."""
    db = None
    try:
        db = sqlite3.connect(f"file:{quote(str(path))}?mode=ro", uri=True, timeout=BOUND_S, isolation_level=None)
        db.text_factory = lambda raw: raw.decode("utf-8", "replace")
        application = db.execute("PRAGMA application_id").fetchone()[0]
        unused = application == 0 and db.execute("SELECT count(*) FROM sqlite_master").fetchone()[0] == 0
        if application != APPLICATION_ID and not unused:
            raise LocalError(Reason.FOREIGN_ENTRY, f"{path} is the database of another program: name another directory")
        yield None if unused else db
    except sqlite3.Error as error:
        raise sqlite_problem(error, path) from error
    finally:
        if db is not None:
            db.close()


def _look(patient: Patient, path: Path, db: sqlite3.Connection, election: str) -> Look:
    rows: list[_Row] = db.execute(_QUEUE, (election,)).fetchall()
    row = db.execute("SELECT token FROM mark WHERE election = ?", (election,)).fetchone()
    mark = row[0] if row else 0
    given = db.execute("SELECT seq FROM sqlite_sequence WHERE name = 'entry'").fetchone()
    now_s, boot = patient.now_s(), read_host().boot
    alive = [row for row in rows if row[3] == boot and row[2] > now_s]
    found = check_queue(patient, election, alive, now_s) + stuck_below_mark(election, given[0] if given else 0, mark)
    return Look(found, head_of(path, election, alive, mark))


def check_queue(patient: Patient, election: str, alive: list[_Row], now_s: float) -> list[Finding]:
    """What is wrong with a queue: token, instance, end of the session, its boot and id; those alive, first come first."""
    found = []
    for token, instance, expires_s, _, _ in alive:
        left_s = expires_s - now_s
        if left_s > max(60.0, _LONG * patient.timing.ttl_s):
            what = f"the session of {shown(instance)!r} (token {token}) has {left_s:.0f} s left, where ours are of "
            found.append(orphan(election, f"{what}{patient.timing.ttl_s:g} s"))
    return found + duplicates(election, [shown(row[1]) for row in alive])


def head_of(path: Path, election: str, alive: list[_Row], mark: int) -> Head | None:
    """Who is first among those alive."""
    if not alive:
        return None
    token, instance, expires_s, _, session = alive[0]
    return Head(
        where=election,
        name=shown(instance),
        entry=f"session {shown(session)}",
        token=token,
        mark=mark,
        remove=f'`sqlite3 {path} "DELETE FROM session WHERE id = (SELECT session FROM entry WHERE token = {token})"`',  # noqa: S608 - shown
        holder=f"`fuser {path}` names the processes that use the store",
        until_s=expires_s,
    )
