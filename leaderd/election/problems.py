"""Why something did not work, as data: a closed list of reasons that the log, `/is-leader` and the metrics share."""

from __future__ import annotations

from dataclasses import dataclass
from enum import StrEnum


class Outcome(StrEnum):
    """What a failed call did to the store."""

    FAILED = "failed"
    """The store answered no, or was certainly not reached: nothing changed there."""
    UNKNOWN = "unknown"
    """No answer came: it may or may not have happened. It neither extends nor shortens a term."""


class Reason(StrEnum):
    """Why an election is not led, or a call failed. Users see these words as `reason`; they are part of the contract."""

    STARTING = "starting"
    LEASE_HELD = "lease_held"
    STORE_SILENT = "store_silent"
    OTHER_LEADER = "other_leader"
    STANDING = "standing"
    """The store was asked for a place in the queue and has not answered yet."""
    IN_QUEUE = "in_queue"
    LEASE_EXPIRED = "lease_expired"
    """The deadline passed before the store confirmed a renewal."""
    SESSION_GONE = "session_gone"
    """The store says that our session or lease does not exist: expired, revoked by somebody, or lost with the store's data."""
    ENTRY_GONE = "entry_gone"
    """Our key or node in the election was deleted or overwritten by somebody else."""
    SUSPENDED = "suspended"
    """The connection was lost and `timing.on_suspend` is `step_down`."""
    CLOCK_JUMPED = "clock_jumped"
    """Wall clock and boot clock disagree (VM snapshot, migration): waiting for a fresh confirmation."""
    RESIGNED = "resigned"
    DRAINING = "draining"
    CORDONED = "cordoned"
    PAUSED = "paused"
    STEPPED_ASIDE = "stepped_aside"
    """Leadership is being transferred to a named candidate, and this one is not it."""
    TOKEN_NOT_ABOVE_MARK = "token_not_above_mark"  # noqa: S105 - a fencing token, no secret
    """The store offers a token that is not above the election's high-water mark (restored or replaced store)."""
    STORE_UNREACHABLE = "store_unreachable"
    STORE_ERROR = "store_error"
    WRONG_PROTOCOL = "wrong_protocol"
    """Something answers at the store's address that is not the store."""
    AUTH_FAILED = "auth_failed"
    PERMISSION_DENIED = "permission_denied"
    FOREIGN_ENTRY = "foreign_entry"
    """A key or node stands in the election's place that no candidate of this recipe wrote."""
    TTL_REFUSED = "ttl_refused"
    """The store grants no ttl with which leadership would be safe."""
    LOCK_DELAY = "lock_delay"
    """Consul holds the lock back after an invalidated session."""
    STALE_STORE_NODE = "stale_store_node"
    """The store node that answered could not prove that it belongs to the quorum."""
    MIN_VALID_UNMET = "min_valid_unmet"
    """Leading, but the lease has less left than the caller asked for."""
    OTHER_TERM = "other_term"
    """Leading, but not in the term (token) the caller asked about."""
    INTERNAL_ERROR = "internal_error"


@dataclass(frozen=True, slots=True)
class Problem:
    """One failure: what it means for the store (`outcome`), its class (`reason`) and the particulars for a human (`detail`).

    `detail` is one line, holds no secret, and names the endpoint or key concerned.
    """

    outcome: Outcome
    reason: Reason
    detail: str
