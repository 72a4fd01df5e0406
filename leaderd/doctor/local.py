"""The local store: the directory and the database, looked at without making either, and the queues in it."""

from __future__ import annotations

import os
import sqlite3
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
from leaderd.election.problems import Problem, Reason
from leaderd.stores.local.files import DB_NAME, inspect
from leaderd.stores.local.host import read_host
from leaderd.stores.local.problem import LocalError
from leaderd.stores.local.recipe import shown
from leaderd.stores.local.schema import APPLICATION_ID, sqlite_problem

_LONG = 10
_QUEUE = """SELECT entry.token, session.instance, session.expires_s, session.boot
    FROM entry JOIN session ON session.id = entry.session WHERE entry.election = ? ORDER BY entry.token LIMIT 1000"""


def examine(patient: Patient, report: Report) -> None:
    """Look at the directory, then at the database in it."""
    directory = Path(patient.address.path)
    sent_at_s = patient.now_s()
    try:
        exists = inspect(directory)
        if exists:
            report.findings += _look(patient, directory / DB_NAME)
    except LocalError as error:
        report.endpoints.append(Endpoint(str(directory), trouble=error.problem.detail))
        report.findings.append(_trouble(str(directory), error.problem))
        return
    version = f"SQLite {sqlite3.sqlite_version}" if exists else "not used yet"
    report.endpoints.append(Endpoint(str(directory), patient.now_s() - sent_at_s, version))


def _trouble(where: str, problem: Problem) -> Finding:
    if problem.reason is Reason.PERMISSION_DENIED:
        return denied(where, f"to read and write there as uid {os.geteuid()}, and that nobody else may", problem.detail)
    return unreachable(where, problem.detail)


def _look(patient: Patient, path: Path) -> list[Finding]:
    """Read what is in the database. Raises `LocalError`."""
    host = read_host()
    db = None
    try:
        db = sqlite3.connect(f"file:{quote(str(path))}?mode=ro", uri=True, timeout=BOUND_S, isolation_level=None)
        db.text_factory = lambda raw: raw.decode("utf-8", "replace")
        application = db.execute("PRAGMA application_id").fetchone()[0]
        if application == 0 and db.execute("SELECT count(*) FROM sqlite_master").fetchone()[0] == 0:
            return []  # made, and not used yet
        if application != APPLICATION_ID:
            raise LocalError(Reason.FOREIGN_ENTRY, f"{path} is the database of another program: name another directory")
        found = []
        for election in patient.elections:
            rows = db.execute(_QUEUE, (election,)).fetchall()
            mark = db.execute("SELECT token FROM mark WHERE election = ?", (election,)).fetchone()
            found += check_queue(patient, election, rows, host.boot)
            given = db.execute("SELECT seq FROM sqlite_sequence WHERE name = 'entry'").fetchone()
            found += stuck_below_mark(election, given[0] if given else 0, mark[0] if mark else 0)
        return found
    except sqlite3.Error as error:
        raise sqlite_problem(error, path) from error
    finally:
        if db is not None:
            db.close()


def check_queue(patient: Patient, election: str, rows: list[tuple[int, str, float, str]], boot: str) -> list[Finding]:
    """What is wrong with a queue: token, instance, end of the session and its boot, first come first."""
    now_s = patient.now_s()
    alive = [row for row in rows if row[3] == boot and row[2] > now_s]
    found = []
    for token, instance, expires_s, _ in alive:
        left_s = expires_s - now_s
        if left_s > max(60.0, _LONG * patient.timing.ttl_s):
            what = f"the session of {shown(instance)!r} (token {token}) has {left_s:.0f} s left, where ours are of "
            found.append(orphan(election, f"{what}{patient.timing.ttl_s:g} s"))
    return found + duplicates(election, [shown(row[1]) for row in alive])
