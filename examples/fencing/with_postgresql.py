"""Fencing PostgreSQL: the transaction that writes compares the token first, and is undone when a later leader has been here.

    python with_postgresql.py "host=127.0.0.1 dbname=reports user=reports"

The row of the resource stays locked until the transaction ends. So two writers never overlap, and who waited for the lock
compares with what the other one left. Needs psycopg 3; the same two statements work from any language.
"""

import sys

import psycopg

from leaderd.client import DaemonUnreachable, Leader, NotLeader

ELECTION = "daily-report"

SCHEMA = """
CREATE TABLE IF NOT EXISTS fence (resource text PRIMARY KEY, token bigint NOT NULL);

CREATE OR REPLACE FUNCTION fence(of_resource text, with_token bigint) RETURNS void LANGUAGE plpgsql AS $$
BEGIN
    INSERT INTO fence AS held (resource, token) VALUES (of_resource, with_token)
        ON CONFLICT (resource) DO UPDATE SET token = excluded.token WHERE held.token <= excluded.token;
    IF NOT FOUND THEN
        RAISE EXCEPTION 'fenced: token % of % is of a term that is over', with_token, of_resource USING ERRCODE = 'LF412';
    END IF;
END $$;

CREATE TABLE IF NOT EXISTS report (id bigserial PRIMARY KEY, token bigint NOT NULL, body text NOT NULL);
"""
STALE = "LF412"


class StaleToken(Exception):
    """A later leader has written: nothing of ours was."""


def connect(dsn: str) -> psycopg.Connection:
    """The server ends a transaction in which nothing is said for 5 s: a frozen leader must not block the next."""
    return psycopg.connect(dsn, autocommit=True, options="-c idle_in_transaction_session_timeout=5s")


def write(connection: psycopg.Connection, token: int, body: str) -> None:
    """Write one report as the leader of that term. Raises `StaleToken`."""
    try:
        with connection.transaction():
            connection.execute("SELECT fence(%s, %s)", (ELECTION, token))
            connection.execute("INSERT INTO report (token, body) VALUES (%s, %s)", (token, body))
    except psycopg.Error as error:
        if error.sqlstate == STALE:
            raise StaleToken(str(error)) from error
        raise


def main() -> int:
    with connect(sys.argv[1]) as connection:
        connection.execute(SCHEMA)
        try:
            with Leader(ELECTION).guard("2s") as term:
                write(connection, term.token, "all is well")
        except (NotLeader, DaemonUnreachable) as error:
            print(f"skipped: {error}")
            return 0
        except StaleToken as error:
            print(error)
            return 1
    print(f"written under token {term.token}")
    return 0


if __name__ == "__main__":
    sys.exit(main())
