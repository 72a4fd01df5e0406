"""The middleware: ASGI with the real Starlette, WSGI with the standard library's validator."""

from __future__ import annotations

import asyncio
from typing import Any
from wsgiref.util import setup_testing_defaults
from wsgiref.validate import validator

import pytest

from leaderd.integrations.fencing import AsgiFencing, WsgiFencing
from leaderd.testing import FakeLeader

CASES = [("7", 200), ("7", 200), ("9", 200), ("8", 412), (None, 428), ("x", 400), ("-1", 400), ("9", 200)]


def wsgi(app: Any, token: str | None) -> tuple[int, dict[str, str]]:
    environ: dict[str, Any] = {"QUERY_STRING": ""}
    setup_testing_defaults(environ)
    if token is not None:
        environ["HTTP_X_FENCING_TOKEN"] = token
    seen: list[Any] = []
    body = validator(app)(
        environ, lambda status, headers, exc=None: seen.append((int(status[:3]), dict(headers))) or (lambda b: None)
    )
    list(body)
    body.close()
    return seen[0]


def test_wsgi() -> None:
    def app(environ: Any, start: Any) -> list[bytes]:
        start("200 OK", [("Content-Type", "text/plain")])
        return [b"done"]

    leader = FakeLeader()
    fenced = WsgiFencing(app, leader, required=True)
    assert [wsgi(fenced, token)[0] for token, _ in CASES] == [status for _, status in CASES]
    assert "X-Fencing-Token" not in wsgi(fenced, "9")[1]
    leader.acquire()
    assert wsgi(fenced, "9")[1]["X-Fencing-Token"] == "1"


def test_asgi_with_starlette() -> None:
    applications = pytest.importorskip("starlette.applications")
    from starlette.middleware import Middleware
    from starlette.responses import PlainTextResponse
    from starlette.routing import Route

    async def page(request: Any) -> Any:
        return PlainTextResponse("done")

    leader = FakeLeader()
    middleware = [Middleware(AsgiFencing, leader=leader, required=True)]
    app = applications.Starlette(routes=[Route("/", page)], middleware=middleware)

    async def ask(*tokens: str) -> tuple[int, dict[bytes, bytes]]:
        sent: list[Any] = []
        headers = [(b"x-fencing-token", token.encode()) for token in tokens]
        scope = {"type": "http", "method": "GET", "path": "/", "headers": headers, "query_string": b"", "root_path": ""}

        async def receive() -> Any:
            return {"type": "http.request", "body": b"", "more_body": False}

        async def send(message: Any) -> None:
            sent.append(message)

        await app(scope, receive, send)
        return sent[0]["status"], dict(sent[0]["headers"])

    async def run() -> None:
        assert [(await ask(*filter(None, [token])))[0] for token, _ in CASES] == [status for _, status in CASES]
        assert (await ask("9", "10"))[0] == 400
        leader.acquire()
        assert (await ask("9"))[1][b"x-fencing-token"] == b"1"

    asyncio.run(run())
