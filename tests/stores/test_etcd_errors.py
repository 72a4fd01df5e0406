"""etcd's and gRPC's errors: each text seen from a real server or library, with what users and the core shall make of it."""

from __future__ import annotations

import pytest

from leaderd.election.problems import Outcome, Reason
from leaderd.stores.etcd.errors import (
    is_endpoint_at_fault,
    is_hung_up,
    is_lease_missing,
    is_token_refused,
    outcome_of,
    problem_of,
    reason_of,
)
from leaderd.stores.etcd.wire import BAD_REPLY, NO_CREDENTIALS, OTHER_CLUSTER, STALE_MEMBER, WireError

CASES = [
    # code, text, outcome, reason, another endpoint may do better
    ("UNAVAILABLE", "failed to connect to all addresses; last error: Connection refused", "failed", "store_unreachable", True),
    ("UNAVAILABLE", "errors resolving etcd.invalid:2379: Domain name not found", "failed", "store_unreachable", True),
    ("UNAVAILABLE", "Socket closed", "unknown", "store_unreachable", True),
    ("UNAVAILABLE", "recvmsg:Connection reset by peer", "unknown", "store_unreachable", True),
    ("UNAVAILABLE", "connection attempt timed out before receiving SETTINGS frame", "unknown", "store_unreachable", True),
    ("DEADLINE_EXCEEDED", "Deadline Exceeded", "unknown", "store_unreachable", True),
    ("CANCELLED", "the connection was given up", "unknown", "store_unreachable", True),
    ("UNAVAILABLE", "failed to connect: Trying to connect an http1.x server (HTTP status 400)", "failed", "wrong_protocol", True),
    ("UNAVAILABLE", "Failed parsing HTTP/2 (Expected SETTINGS frame as the first frame)", "unknown", "wrong_protocol", True),
    ("UNIMPLEMENTED", "Method not found!", "failed", "wrong_protocol", True),
    ("UNAVAILABLE", "failed to connect: Ssl handshake failed: CERTIFICATE_VERIFY_FAILED", "failed", "auth_failed", True),
    ("UNAVAILABLE", "failed to connect: SSL_ERROR_SSL: WRONG_VERSION_NUMBER", "failed", "wrong_protocol", True),
    ("UNAVAILABLE", "etcdserver: no leader", "unknown", "stale_store_node", True),
    ("UNAVAILABLE", "etcdserver: request timed out, possibly due to connection lost", "unknown", "stale_store_node", True),
    ("UNAVAILABLE", "etcdserver: leader changed", "unknown", "stale_store_node", True),
    ("UNAVAILABLE", "etcdserver: too many requests", "failed", "store_error", False),
    ("RESOURCE_EXHAUSTED", "etcdserver: mvcc: database space exceeded", "failed", "store_error", False),
    ("RESOURCE_EXHAUSTED", "CLIENT: Received message larger than max (5 vs. 4)", "failed", "store_error", False),
    ("NOT_FOUND", "etcdserver: requested lease not found", "failed", "session_gone", False),
    ("PERMISSION_DENIED", "etcdserver: permission denied", "failed", "permission_denied", False),
    ("UNAUTHENTICATED", "etcdserver: invalid auth token", "failed", "auth_failed", False),
    ("INVALID_ARGUMENT", "etcdserver: user name is empty", "failed", "auth_failed", False),
    ("INVALID_ARGUMENT", "etcdserver: revision of auth store is old", "failed", "auth_failed", False),
    ("INVALID_ARGUMENT", "etcdserver: authentication failed, invalid user ID or password", "failed", "auth_failed", False),
    ("INVALID_ARGUMENT", "etcdserver: too many operations in txn request", "failed", "store_error", False),
    (BAD_REPLY, "2 results for 3 requests", "unknown", "store_error", True),
    (OTHER_CLUSTER, "answers for cluster 8", "failed", "store_error", True),
    (STALE_MEMBER, "different raft terms", "unknown", "stale_store_node", False),
    (NO_CREDENTIALS, "cannot read /x", "failed", "auth_failed", False),
    ("SOMETHING_NEW", "", "unknown", "store_error", False),
]


@pytest.mark.parametrize(("code", "text", "outcome", "reason", "move"), CASES)
def test_each_error_has_one_meaning(code: str, text: str, outcome: str, reason: str, move: bool) -> None:
    error = WireError(code, text, "h:2379")
    assert (outcome_of(error), reason_of(error)) == (Outcome(outcome), Reason(reason))
    assert is_endpoint_at_fault(error) is move


def test_who_hangs_up_is_told_from_who_is_not_there() -> None:
    taken = [
        "failed to connect to all addresses; last error: UNAVAILABLE: ipv4:127.0.0.1:1: Socket closed",
        "Connection reset by peer",
    ]
    assert all(is_hung_up(WireError("UNAVAILABLE", text, "h")) for text in taken)
    assert not is_hung_up(WireError("UNAVAILABLE", "failed to connect: Connection refused", "h"))
    assert not is_hung_up(WireError("DEADLINE_EXCEEDED", "Deadline Exceeded", "h"))


def test_an_unanswered_attempt_outweighs_a_refusal() -> None:
    error = WireError("PERMISSION_DENIED", "etcdserver: permission denied", "h:2379")
    error.maybe_applied = True
    assert outcome_of(error) is Outcome.UNKNOWN


def test_lease_and_token_refusals_are_told_apart() -> None:
    lease = WireError("NOT_FOUND", "etcdserver: requested lease not found", "h")
    token = WireError("UNAUTHENTICATED", "etcdserver: invalid auth token", "h")
    assert is_lease_missing(lease)
    assert not is_token_refused(lease)
    assert is_token_refused(token)
    assert not is_token_refused(WireError("PERMISSION_DENIED", "etcdserver: permission denied", "h"))


def test_a_detail_is_one_bounded_line_that_names_the_endpoint() -> None:
    problem = problem_of(WireError("UNAVAILABLE", "a\nb\t\x1b[31m" + "x" * 2000, "h:2379"), "renewing")
    assert problem.detail.startswith("etcd h:2379: renewing: a b")
    assert len(problem.detail) <= 240
    assert problem.detail.isprintable()


def test_a_full_store_comes_with_its_remedy() -> None:
    detail = problem_of(WireError("RESOURCE_EXHAUSTED", "etcdserver: mvcc: database space exceeded", "h")).detail
    assert "NOSPACE" in detail
    assert "alarm disarm" in detail
