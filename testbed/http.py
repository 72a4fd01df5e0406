"""HTTP to a server on this machine with the standard library: no proxy, no redirects to elsewhere, always a deadline."""

from __future__ import annotations

import json
import ssl
import urllib.error
import urllib.request
from typing import Any, TypeAlias

Json: TypeAlias = Any  # what a server's JSON answer decodes to; tests look into it as they please


class HttpError(RuntimeError):
    """The server refused; `status` and `body` tell how."""

    def __init__(self, url: str, status: int, body: str) -> None:
        """Keep what the server said."""
        super().__init__(f"{url}: {status} {body.strip()}")
        self.status = status
        self.body = body


def request(
    method: str,
    url: str,
    *,
    body: object = None,
    headers: dict[str, str] | None = None,
    context: ssl.SSLContext | None = None,
    timeout: float = 2.0,
) -> str:
    """One request, returning the body. `bytes` are sent as they are, anything else but None as JSON.

    Raises `HttpError` when the server refuses and `OSError` when it cannot be reached in time.
    """
    data = body if body is None or isinstance(body, bytes) else json.dumps(body).encode()
    handlers: list[urllib.request.BaseHandler] = [urllib.request.ProxyHandler({})]
    if context is not None:
        handlers.append(urllib.request.HTTPSHandler(context=context))
    call = urllib.request.Request(url, data=data, method=method, headers=headers or {})
    try:
        with urllib.request.build_opener(*handlers).open(call, timeout=timeout) as answer:
            content: bytes = answer.read()
    except urllib.error.HTTPError as error:
        with error:
            raise HttpError(url, error.code, error.read().decode("utf-8", "replace")) from error
    return content.decode("utf-8", "replace")
