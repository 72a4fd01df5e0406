"""`X-Fencing-Token` on both sides of HTTP: a response is stamped with our token, a request with an older token is refused.

The check is the resource's half of fencing: a leader that was frozen and does not know it yet carries an older token than
its successor, whose request has been here before. Refused with 412 and a problem document (RFC 9457).
"""

from __future__ import annotations

import json
import threading
from collections.abc import Awaitable, Callable, Iterable, MutableMapping
from typing import Any

from leaderd.client import Leader

HEADER = "X-Fencing-Token"
Admit = Callable[[int], bool]
Scope = MutableMapping[str, Any]
Receive = Callable[[], Awaitable[Any]]
Send = Callable[[Any], Awaitable[None]]
AsgiApp = Callable[[Scope, Receive, Send], Awaitable[None]]
WsgiApp = Callable[[dict[str, Any], Callable[..., Any]], Iterable[bytes]]


class HighWater:
    """The highest token seen by this process. With several processes, let the resource itself compare (`admit=`)."""

    def __init__(self) -> None:
        self.token = 0
        self._lock = threading.Lock()

    def admit(self, token: int) -> bool:
        """Whether `token` is not older than any before."""
        with self._lock:
            if token < self.token:
                return False
            self.token = token
            return True


class _Fencing:
    def __init__(self, leader: Leader | None, admit: Admit | None, required: bool) -> None:
        self._leader = leader
        self._admit = admit or HighWater().admit
        self._required = required

    def refusal(self, header: str | None) -> tuple[int, str] | None:
        """Status and reason why a request with this header is refused; None when it may pass. `admit` may block."""
        if header is None:
            return (428, f"this resource wants {HEADER}") if self._required else None
        if not header.isascii() or not header.isdigit() or len(header) > 20:
            return 400, f"{HEADER} is a whole number"
        return None if self._admit(int(header)) else (412, "a later leader has been here: this token is of a term that is over")

    def stamp(self) -> str | None:
        """Our token, for the response."""
        token = None if self._leader is None else self._leader.token
        return None if token is None else str(token)


def _problem(status: int, detail: str) -> bytes:
    titles = {400: "Bad Request", 412: "Precondition Failed", 428: "Precondition Required"}
    return json.dumps({"type": "about:blank", "title": titles[status], "status": status, "detail": detail}).encode()


class AsgiFencing:
    """ASGI middleware. `leader`: whose token stamps responses; `required`: refuse requests without a token (428)."""

    def __init__(self, app: AsgiApp, leader: Leader | None = None, admit: Admit | None = None, required: bool = False) -> None:
        self._app = app
        self._fencing = _Fencing(leader, admit, required)

    async def __call__(self, scope: Scope, receive: Receive, send: Send) -> None:
        """As the ASGI specification says; anything but HTTP passes."""
        if scope["type"] != "http":
            await self._app(scope, receive, send)
            return
        given = [value.decode("latin-1") for name, value in scope["headers"] if name.lower() == HEADER.lower().encode()]
        refusal = (400, f"{HEADER} may be given once") if len(given) > 1 else self._fencing.refusal(given[0] if given else None)

        if refusal is not None:
            body = _problem(*refusal)
            headers = [(b"content-type", b"application/problem+json"), (b"content-length", str(len(body)).encode())]
            await send({"type": "http.response.start", "status": refusal[0], "headers": headers})
            await send({"type": "http.response.body", "body": body})
            return

        async def stamped(message: Any) -> None:  # noqa: ANN401 - ASGI messages are of any shape
            if message["type"] == "http.response.start" and (stamp := self._fencing.stamp()) is not None:
                message = {**message, "headers": [*message.get("headers", ()), (HEADER.lower().encode(), stamp.encode())]}
            await send(message)

        await self._app(scope, receive, stamped)


class WsgiFencing:
    """WSGI middleware; arguments as for `AsgiFencing`."""

    def __init__(self, app: WsgiApp, leader: Leader | None = None, admit: Admit | None = None, required: bool = False) -> None:
        self._app = app
        self._fencing = _Fencing(leader, admit, required)

    def __call__(self, environ: dict[str, Any], start_response: Callable[..., Any]) -> Iterable[bytes]:
        """As PEP 3333 says."""
        refusal = self._fencing.refusal(environ.get("HTTP_X_FENCING_TOKEN"))
        if refusal is not None:
            body = _problem(*refusal)
            title = str(json.loads(body)["title"])
            start_response(
                f"{refusal[0]} {title}", [("Content-Type", "application/problem+json"), ("Content-Length", str(len(body)))]
            )
            return [body]

        def stamped(status: str, headers: list[tuple[str, str]], *more: Any) -> Any:  # noqa: ANN401 - as PEP 3333 has it
            stamp = self._fencing.stamp()
            return start_response(status, headers if stamp is None else [*headers, (HEADER, stamp)], *more)

        return self._app(environ, stamped)
