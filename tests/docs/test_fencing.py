"""examples/fencing: a stale token is refused by real servers, one after the other and in a race; each file runs as it is shown.

PostgreSQL and Redis are real. S3 is moto's server, which simulates S3; it serves one request at a time, as S3 orders those of
one object.
"""

from __future__ import annotations

import importlib.util
import os
import socket
import subprocess
import sys
import threading
from collections.abc import Callable, Iterator
from concurrent.futures import ThreadPoolExecutor
from contextlib import closing, contextmanager
from pathlib import Path
from types import ModuleType
from typing import Any

import boto3
import psycopg
import pytest
import redis

from testbed import require
from testbed.resources import PostgreSQL, Redis
from tests.system.daemons import DaemonProcess

ROOT = Path(__file__).parent.parent.parent
HIGH = 1 << 60  # above what a double can hold exactly
TOKENS = [HIGH + n % 8 for n in range(48)]


def example(name: str) -> ModuleType:
    spec = importlib.util.spec_from_file_location(f"fencing_{name}", ROOT / "examples" / "fencing" / f"{name}.py")
    assert spec is not None
    assert spec.loader is not None
    module = importlib.util.module_from_spec(spec)
    spec.loader.exec_module(module)
    return module


def race(write: Callable[[int], Any], stale: type[Exception]) -> list[bool]:
    """Every token at once; for each whether it was refused."""
    start = threading.Barrier(8)

    def some(tokens: list[int]) -> list[bool]:
        start.wait(10)
        refused = []
        for token in tokens:
            try:
                write(token)
            except stale:
                refused.append(True)
            else:
                refused.append(False)
        return refused

    with ThreadPoolExecutor(8) as pool:
        return [each for some_ in pool.map(some, [TOKENS[n::8] for n in range(8)]) for each in some_]


@pytest.fixture(scope="module")
def daemon(tmp_path_factory: pytest.TempPathFactory) -> Iterator[dict[str, str]]:
    """A leading daemon; the environment in which an example finds it."""
    root = tmp_path_factory.mktemp("daemon")
    process = DaemonProcess("a", f"local://{root}/store", root, ("daily-report",))
    process.start()
    env = {**os.environ, "LEADERD_SOCKET": str(process.socket)}
    subprocess.run([sys.executable, "-m", "leaderd", "wait", "--for=leader", "--max=10s"], env=env, check=True, capture_output=True)
    yield env
    process.kill()


def run(name: str, *arguments: str, env: dict[str, str]) -> tuple[int, str]:
    argv = [sys.executable, str(ROOT / "examples" / "fencing" / name), *arguments]
    done = subprocess.run(argv, env=env, capture_output=True, text=True, timeout=20)
    return done.returncode, done.stdout + done.stderr


# PostgreSQL


@pytest.fixture(scope="module")
def postgresql(tmp_path_factory: pytest.TempPathFactory) -> Iterator[PostgreSQL]:
    require("postgresql")
    with PostgreSQL(tmp_path_factory.mktemp("postgresql")) as server:
        yield server


@pytest.fixture
def reports(postgresql: PostgreSQL) -> Iterator[psycopg.Connection]:
    with example("with_postgresql").connect(postgresql.dsn) as connection:
        connection.execute("DROP TABLE IF EXISTS fence, report")
        connection.execute(example("with_postgresql").SCHEMA)
        yield connection


def rows(connection: psycopg.Connection) -> list[tuple[int, str]]:
    return connection.execute("SELECT token, body FROM report ORDER BY id").fetchall()


@pytest.mark.servers
def test_postgresql_refuses_a_stale_token_and_undoes_its_transaction(reports: psycopg.Connection) -> None:
    it = example("with_postgresql")
    it.write(reports, HIGH, "a")
    it.write(reports, HIGH, "a again")
    it.write(reports, HIGH + 1, "b")
    with pytest.raises(it.StaleToken, match="term that is over"):
        it.write(reports, HIGH, "a too late")
    assert rows(reports) == [(HIGH, "a"), (HIGH, "a again"), (HIGH + 1, "b")]
    with pytest.raises(psycopg.DatabaseError, match="fenced"), reports.transaction():  # noqa: PT012
        reports.execute("INSERT INTO report (token, body) VALUES (0, 'before the fence')")
        reports.execute("SELECT fence('daily-report', %s)", (HIGH,))
    assert len(rows(reports)) == 3


@pytest.mark.servers
def test_postgresql_keeps_order_in_a_race(postgresql: PostgreSQL, reports: psycopg.Connection) -> None:
    it = example("with_postgresql")

    def write(token: int) -> None:
        with it.connect(postgresql.dsn) as connection:
            it.write(connection, token, "x")

    refused = race(write, it.StaleToken)
    written = [token for token, _ in rows(reports)]
    assert written == sorted(written)
    assert len(written) + sum(refused) == len(TOKENS)
    assert written[-1] == max(TOKENS)


@pytest.mark.servers
def test_postgresql_who_waited_for_the_row_is_compared_with_what_was_left_there(
    postgresql: PostgreSQL, reports: psycopg.Connection
) -> None:
    it = example("with_postgresql")
    it.write(reports, HIGH, "a")
    with it.connect(postgresql.dsn) as old, ThreadPoolExecutor(1) as pool:
        with reports.transaction():
            reports.execute("SELECT fence('daily-report', %s)", (HIGH + 1,))
            late = pool.submit(it.write, old, HIGH, "a too late")
            with it.connect(postgresql.dsn) as looking:
                for _ in range(1_000_000):
                    if looking.execute("SELECT count(*) FROM pg_locks WHERE NOT granted").fetchone() != (0,):
                        break
                else:
                    pytest.fail("the older leader did not wait for the row")
            reports.execute("INSERT INTO report (token, body) VALUES (%s, 'b')", (HIGH + 1,))
        with pytest.raises(it.StaleToken):
            late.result(10)
    assert rows(reports) == [(HIGH, "a"), (HIGH + 1, "b")]


@pytest.mark.servers
def test_postgresql_does_not_wait_for_a_frozen_leader(postgresql: PostgreSQL, reports: psycopg.Connection) -> None:
    it = example("with_postgresql")
    with it.connect(postgresql.dsn) as frozen:
        assert frozen.execute("SHOW idle_in_transaction_session_timeout").fetchone() == ("5s",)
        frozen.execute("SET idle_in_transaction_session_timeout = '100ms'")
        with pytest.raises(psycopg.Error, match="idle-in-transaction"), frozen.transaction():  # noqa: PT012
            frozen.execute("SELECT fence('daily-report', %s)", (HIGH,))
            it.write(reports, HIGH + 1, "b")
            frozen.execute("INSERT INTO report (token, body) VALUES (%s, 'a too late')", (HIGH,))
    assert rows(reports) == [(HIGH + 1, "b")]


@pytest.mark.servers
def test_postgresql_example_runs(postgresql: PostgreSQL, reports: psycopg.Connection, daemon: dict[str, str]) -> None:
    code, said = run("with_postgresql.py", postgresql.dsn, env=daemon)
    ((token, body),) = rows(reports)
    assert (code, said, body) == (0, f"written under token {token}\n", "all is well")
    example("with_postgresql").write(reports, token + 1, "b")
    assert run("with_postgresql.py", postgresql.dsn, env=daemon)[0] == 1


# Redis


@pytest.fixture(scope="module")
def redis_server(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Redis]:
    require("redis")
    with Redis(tmp_path_factory.mktemp("redis")) as server:
        yield server


@pytest.fixture
def client(redis_server: Redis) -> Iterator[redis.Redis]:
    with redis.Redis(port=redis_server.port, decode_responses=True) as client:
        client.flushall()
        yield client


@pytest.mark.servers
def test_redis_refuses_a_stale_token(client: redis.Redis) -> None:
    it = example("with_redis")
    for token, body in [(9, "a"), (9, "a again"), (10, "b"), (HIGH, "c"), (HIGH + 1, "d")]:
        it.write(client, token, body)
    for token in (9, 10, HIGH):
        with pytest.raises(it.StaleToken, match=str(HIGH + 1)):
            it.write(client, token, "too late")
    assert client.lrange(it.REPORTS, 0, -1) == ["a", "a again", "b", "c", "d"]


@pytest.mark.servers
def test_redis_keeps_order_in_a_race(client: redis.Redis) -> None:
    it = example("with_redis")
    refused = race(lambda token: it.write(client, token, str(token)), it.StaleToken)
    written = [int(each) for each in client.lrange(it.REPORTS, 0, -1)]
    assert written == sorted(written)
    assert len(written) + sum(refused) == len(TOKENS)
    assert written[-1] == max(TOKENS)


@pytest.mark.servers
def test_redis_example_runs(redis_server: Redis, client: redis.Redis, daemon: dict[str, str]) -> None:
    it = example("with_redis")
    code, said = run("with_redis.py", f"redis://127.0.0.1:{redis_server.port}/0", env=daemon)
    token = int(client.get(it.FENCE))
    assert (code, said) == (0, f"written under token {token}\n")
    it.write(client, token + 1, "b")
    assert run("with_redis.py", f"redis://127.0.0.1:{redis_server.port}/0", env=daemon)[0] == 1


# S3


@contextmanager
def serving(server: Any) -> Iterator[Any]:
    thread = threading.Thread(target=server.serve_forever, kwargs={"poll_interval": 0.01})
    thread.start()
    try:
        yield server
    finally:
        server.shutdown()
        thread.join(10)
        server.server_close()


@pytest.fixture(scope="module")
def s3_address(tmp_path_factory: pytest.TempPathFactory) -> Iterator[str]:
    from moto.server import DomainDispatcherApplication, create_backend_app
    from werkzeug.serving import WSGIRequestHandler, make_server

    class Quiet(WSGIRequestHandler):
        def log(self, *_: object) -> None: ...

    app = DomainDispatcherApplication(create_backend_app)
    with serving(make_server("127.0.0.1", 0, app, threaded=False, request_handler=Quiet)) as server:
        yield f"http://127.0.0.1:{server.server_port}"


@pytest.fixture
def s3(s3_address: str, monkeypatch: pytest.MonkeyPatch) -> Any:
    for name, value in {"ACCESS_KEY_ID": "x", "SECRET_ACCESS_KEY": "x", "DEFAULT_REGION": "us-east-1"}.items():
        monkeypatch.setenv(f"AWS_{name}", value)
    client = boto3.client("s3", endpoint_url=s3_address)
    client.create_bucket(Bucket="reports")
    client.delete_object(Bucket="reports", Key="daily-report.json")
    return client


def stored(s3: Any) -> bytes:
    return s3.get_object(Bucket="reports", Key="daily-report.json")["Body"].read()


def test_s3_refuses_a_stale_token(s3: Any) -> None:
    it = example("with_s3")
    for token, body in [(9, "a"), (9, "a again"), (HIGH, "b"), (HIGH + 1, "b")]:
        it.write(s3, "reports", token, body)
    for token in (9, HIGH):
        with pytest.raises(it.StaleToken):
            it.write(s3, "reports", token, "too late")
    assert stored(s3) == b'{"token": %d, "body": "b"}' % (HIGH + 1)


@pytest.mark.parametrize("there", [True, False], ids=["replaced", "created"])
def test_s3_refuses_who_was_overtaken_between_look_and_write(s3: Any, s3_address: str, there: bool) -> None:
    """The later leader writes the same report, so only the token in it tells the two apart."""
    it, overtaken = example("with_s3"), []
    if there:
        it.write(s3, "reports", 5, "same")
    other = boto3.client("s3", endpoint_url=s3_address)

    def overtake(**_: Any) -> None:
        if not overtaken:
            overtaken.append(True)
            it.write(other, "reports", 6, "same")

    s3.meta.events.register("before-send.s3.PutObject", overtake)
    with pytest.raises(it.StaleToken):
        it.write(s3, "reports", 5, "same")
    assert overtaken
    assert stored(s3) == b'{"token": 6, "body": "same"}'


def test_s3_keeps_the_latest_in_a_race(s3: Any) -> None:
    it = example("with_s3")
    race(lambda token: it.write(s3, "reports", token, "x"), it.StaleToken)
    assert stored(s3) == b'{"token": %d, "body": "x"}' % max(TOKENS)


def test_s3_example_runs(s3: Any, s3_address: str, daemon: dict[str, str]) -> None:
    aws = {name: value for name, value in os.environ.items() if name.startswith("AWS_")}
    code, said = run("with_s3.py", s3_address, "reports", env={**daemon, **aws})
    assert code == 0
    assert said.startswith("written under token ")
    example("with_s3").write(s3, "reports", HIGH, "b")
    assert run("with_s3.py", s3_address, "reports", env={**daemon, **aws})[0] == 1


# HTTP


@pytest.fixture
def service(tmp_path: Path) -> Iterator[str]:
    with serving(example("over_http").server(0, str(tmp_path / "reports.db"))) as server:
        yield f"http://127.0.0.1:{server.server_port}/"


def http_rows(tmp_path: Path) -> list[tuple[int, str]]:
    with closing(example("over_http").sqlite3.connect(tmp_path / "reports.db")) as database:
        return database.execute("SELECT token, body FROM report ORDER BY id").fetchall()


def test_http_refuses_a_stale_token_also_after_a_restart(service: str, tmp_path: Path) -> None:
    it = example("over_http")
    assert [it.send(service, token, "x") for token in (HIGH, HIGH, HIGH + 1, HIGH)] == [201, 201, 201, 412]
    with serving(it.server(0, str(tmp_path / "reports.db"))) as again:
        url = f"http://127.0.0.1:{again.server_port}/"
        assert [it.send(url, token, "y") for token in (HIGH, HIGH + 1)] == [412, 201]
    assert http_rows(tmp_path) == [(HIGH, "x"), (HIGH, "x"), (HIGH + 1, "x"), (HIGH + 1, "y")]


def test_http_refuses_who_was_overtaken_between_the_door_and_the_write(service: str, tmp_path: Path) -> None:
    it = example("over_http")
    port = int(service.rsplit(":", 1)[1].strip("/"))
    with socket.create_connection(("127.0.0.1", port), timeout=10) as old:
        old.sendall(b"POST / HTTP/1.1\r\nHost: x\r\nX-Fencing-Token: 5\r\nContent-Length: 1\r\n\r\n")
        reports = it.Reports(str(tmp_path / "reports.db"))
        with closing(reports._open()) as database:
            for _ in range(1_000_000):
                if database.execute("SELECT token FROM fence").fetchone() == (5,):
                    break
            else:
                pytest.fail("token 5 did not get in at the door")
        assert it.send(service, 6, "b") == 201
        old.sendall(b"a")
        assert b" 412 " in old.recv(4096).split(b"\r\n")[0]
    assert http_rows(tmp_path) == [(6, "b")]


def test_http_keeps_order_in_a_race(service: str, tmp_path: Path) -> None:
    it = example("over_http")

    def write(token: int) -> None:
        status = it.send(service, token, "x")
        assert status in (201, 412)
        if status == 412:
            raise TimeoutError

    refused = race(write, TimeoutError)
    written = [token for token, _ in http_rows(tmp_path)]
    assert written == sorted(written)
    assert len(written) + sum(refused) == len(TOKENS)
    assert written[-1] == max(TOKENS)


def test_http_example_runs(service: str, daemon: dict[str, str]) -> None:
    code, said = run("over_http.py", "send", service, env=daemon)
    assert code == 0
    assert said.startswith("201 under token ")
    example("over_http").send(service, HIGH, "b")
    assert run("over_http.py", "send", service, env=daemon)[0] == 1
