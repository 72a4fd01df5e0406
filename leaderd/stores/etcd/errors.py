"""etcd's and gRPC's errors, mapped once to the closed list of reasons that users see.

Texts beginning with `etcdserver:` are etcd's own (api/v3rpc/rpctypes/error.go); the others come from the gRPC library.
"""

from __future__ import annotations

from leaderd.election.problems import Outcome, Problem, Reason
from leaderd.stores.etcd.wire import BAD_REPLY, NO_CREDENTIALS, OTHER_CLUSTER, STALE_MEMBER, WireError

_DETAIL_LIMIT = 240

# Texts with which etcd refuses a token; a new one may be accepted. `user name is empty`: authentication was switched on meanwhile.
_TOKEN_REFUSED = ("invalid auth token", "revision of auth store is old", "user name is empty")
_AUTH_TEXTS = (*_TOKEN_REFUSED, "authentication failed", "user name not found")
# A member without a quorum, or one that lost its leader while it worked on the request.
_NO_QUORUM_TEXTS = (
    "no leader",
    "request timed out",
    "leader changed",
    "not leader",
    "corrupt",
    "server stopped",
    "unhealthy cluster",
)
# What the gRPC library says when somebody else answers at the address.
_FOREIGN_TEXTS = (
    "http1",
    "parsing http/2",
    "http2 header with status",
    "wrong_version_number",
    "expected settings frame",
    "invalid content-type",
    "connect string",
)
_HUNG_UP_TEXTS = ("socket closed", "connection reset", "before receiving settings frame")
_NOT_SENT_TEXTS = ("failed to connect", "errors resolving", "too many requests")
_TLS_TEXTS = (
    "certificate_verify_failed",
    "tlsv1_alert",
    "tlsv13_alert",
    "sslv3_alert",
    "no match found for server name",
    "bad_certificate",
    "hostname verification",
    "peer name",
)
_ENDPOINT_CODES = {
    "UNAVAILABLE",
    "DEADLINE_EXCEEDED",
    "CANCELLED",
    "UNIMPLEMENTED",
    "INTERNAL",
    "UNKNOWN",
    BAD_REPLY,
    OTHER_CLUSTER,
}
_REFUSALS = {
    "INVALID_ARGUMENT",
    "FAILED_PRECONDITION",
    "NOT_FOUND",
    "PERMISSION_DENIED",
    "UNAUTHENTICATED",
    "RESOURCE_EXHAUSTED",
    "UNIMPLEMENTED",
    "OUT_OF_RANGE",
}

SILENCE = frozenset({Reason.STORE_UNREACHABLE, Reason.STALE_STORE_NODE, Reason.WRONG_PROTOCOL})
"""Reasons that say that the transport is at fault, not the request."""


def is_lease_missing(error: WireError) -> bool:
    """The store says that our lease does not exist: expired or revoked."""
    return "requested lease not found" in error.message


def is_token_refused(error: WireError) -> bool:
    """The store refused the token before doing anything; once with a new token is worth a try."""
    return error.code == "UNAUTHENTICATED" or any(text in error.message for text in _TOKEN_REFUSED)


def is_hung_up(error: WireError) -> bool:
    """The connection was taken, and ended or left in silence before a word of HTTP/2 was said: perhaps not by an etcd."""
    text = error.message.lower()
    return error.code == "UNAVAILABLE" and any(part in text for part in _HUNG_UP_TEXTS)


def is_endpoint_at_fault(error: WireError) -> bool:
    """Another endpoint may do better: silent, refused, cut off from its quorum, or no etcd at all."""
    if _is_answer(error):
        return any(text in error.message for text in _NO_QUORUM_TEXTS)
    return error.code in _ENDPOINT_CODES


def outcome_of(error: WireError) -> Outcome:
    """FAILED only where the request surely changed nothing."""
    if error.maybe_applied:
        return Outcome.UNKNOWN
    if error.code in _REFUSALS or error.code in {NO_CREDENTIALS, OTHER_CLUSTER}:
        return Outcome.FAILED
    if error.code == "UNAVAILABLE" and any(text in error.message for text in _NOT_SENT_TEXTS):
        return Outcome.FAILED
    return Outcome.UNKNOWN


def reason_of(error: WireError) -> Reason:
    """The class of an error, as users see it."""
    text = error.message.lower()
    if error.code == NO_CREDENTIALS:
        return Reason.AUTH_FAILED
    if error.code == STALE_MEMBER:
        return Reason.STALE_STORE_NODE
    if error.code in {OTHER_CLUSTER, BAD_REPLY}:
        return Reason.STORE_ERROR
    if is_lease_missing(error):
        return Reason.SESSION_GONE
    if _is_answer(error):
        return _reason_of_answer(error.code, text)
    if any(part in text for part in _TLS_TEXTS):
        return Reason.AUTH_FAILED
    if error.code in {"UNIMPLEMENTED", "INTERNAL"} or any(part in text for part in _FOREIGN_TEXTS):
        return Reason.WRONG_PROTOCOL
    if error.code in {"UNAVAILABLE", "DEADLINE_EXCEEDED", "CANCELLED"}:
        return Reason.STORE_UNREACHABLE
    return _reason_of_answer(error.code, text)


def problem_of(error: WireError, doing: str = "") -> Problem:
    """The problem to report; `doing` says in a few words what was tried, or on which key."""
    if _is_answer(error) and "database space exceeded" in error.message:
        hint = " (alarm NOSPACE: compact, defragment, then `etcdctl alarm disarm`)"
    elif error.code == "DEADLINE_EXCEEDED":
        hint = " (no answer in time)"
    else:
        hint = ""
    parts = [f"etcd {error.endpoint}", *([doing] if doing else []), error.message or error.code]
    return Problem(outcome_of(error), reason_of(error), one_line(": ".join(parts) + hint))


def one_line(text: str) -> str:
    """Text fit for one log line: no control characters, bounded."""
    clean = "".join(c if c.isprintable() else " " for c in text[: 4 * _DETAIL_LIMIT])
    clean = " ".join(clean.split())
    return clean if len(clean) <= _DETAIL_LIMIT else clean[: _DETAIL_LIMIT - 1] + "…"


def _is_answer(error: WireError) -> bool:
    return error.message.startswith("etcdserver:") or "= etcdserver:" in error.message or error.message.startswith("auth:")


def _reason_of_answer(code: str, text: str) -> Reason:
    if any(part in text for part in _AUTH_TEXTS) or code == "UNAUTHENTICATED":
        return Reason.AUTH_FAILED
    if code == "PERMISSION_DENIED" or "permission denied" in text:
        return Reason.PERMISSION_DENIED
    if any(part in text for part in _NO_QUORUM_TEXTS):
        return Reason.STALE_STORE_NODE
    if code == "DEADLINE_EXCEEDED":
        return Reason.STORE_UNREACHABLE
    return Reason.STORE_ERROR
