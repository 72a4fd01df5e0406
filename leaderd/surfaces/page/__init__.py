"""The status page: one document that needs nothing from elsewhere, put together when a browser first asks for it."""

from __future__ import annotations

import base64
import hashlib
from functools import cache
from importlib.resources import files
from typing import NamedTuple

CONTENT_TYPE = b"text/html; charset=utf-8"
VARY = b"Vary: Accept\r\n"
"""`/` answers browsers and programs differently, so a cache must not give one the other's."""


class Page(NamedTuple):
    """The document, and its header lines: only its own two blocks may style it and run, and it may fetch from us alone."""

    body: bytes
    content_type: bytes
    headers: bytes


@cache
def page() -> Page:
    """The page; read once."""
    here = files(__name__)
    html, style, script = (here.joinpath(f"status.{kind}").read_text(encoding="utf-8") for kind in ("html", "css", "js"))
    body = html.replace("/*CSS*/", style).replace("/*JS*/", script)
    policy = "; ".join(
        (
            "default-src 'none'",
            f"style-src '{_digest(style)}'",
            f"script-src '{_digest(script)}'",
            "connect-src 'self'",
            "img-src data:",
            "base-uri 'none'",
            "form-action 'none'",
            "frame-ancestors 'none'",
        )
    )
    headers = f"Content-Security-Policy: {policy}\r\nReferrer-Policy: no-referrer\r\n".encode("ascii")
    return Page(body.encode(), CONTENT_TYPE, headers + VARY)


def wanted(accept: str) -> bool:
    """Whether a request with this `Accept` header comes from a browser: it names `text/html`, and not as refused (`q=0`)."""
    for part in accept.split(","):
        kind, *parameters = (piece.strip().lower() for piece in part.split(";"))
        if kind == "text/html":
            return not any(each.replace(" ", "") in {"q=0", "q=0.0", "q=0.00", "q=0.000"} for each in parameters)
    return False


def _digest(block: str) -> str:
    return "sha256-" + base64.b64encode(hashlib.sha256(block.encode()).digest()).decode("ascii")
