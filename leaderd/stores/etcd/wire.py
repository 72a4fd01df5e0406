"""What the recipe asks of a transport to etcd: eight calls, in plain data. The recipe never sees a gRPC or protobuf object.

A second transport (etcd's JSON gateway, a test double) implements `Wire` and `WatchStream` and nothing else. The words are etcd's
own (https://etcd.io/docs/v3.5/learning/api/): a `Txn` is If (`compares`) Then (`success`) Else (`failure`), applied atomically.
"""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass
from typing import Literal, Protocol


@dataclass(frozen=True, slots=True)
class Header:
    """Who answered, and out of which state: cluster, member, store revision, and the raft term the member believed in."""

    cluster_id: int
    member_id: int
    revision: int
    raft_term: int


@dataclass(frozen=True, slots=True)
class KeyValue:
    """One key as the store holds it; `value` is empty where only keys were asked for, `lease` is 0 where none is attached."""

    key: bytes
    create_revision: int
    mod_revision: int
    lease: int
    value: bytes = b""


@dataclass(frozen=True, slots=True)
class Get:
    """Read one key, or with `range_end` all of [key, range_end), oldest or newest creation first."""

    key: bytes
    range_end: bytes = b""
    limit: int = 0
    newest_first: bool = False
    max_create_revision: int = 0
    keys_only: bool = True


@dataclass(frozen=True, slots=True)
class Put:
    """Write one key, attached to `lease` unless that is 0."""

    key: bytes
    value: bytes
    lease: int = 0


@dataclass(frozen=True, slots=True)
class Delete:
    """Delete one key."""

    key: bytes


@dataclass(frozen=True, slots=True)
class Compare:
    """One condition of a transaction; with `range_end` every key of [key, range_end) must meet it.

    etcd's rule for a missing key: its `create`, `mod` and `lease` are 0, and a comparison of its `value` fails whatever it says.
    """

    key: bytes
    target: Literal["create", "mod", "lease", "value"]
    result: Literal["=", "!=", "<", ">"]
    operand: int | bytes
    range_end: bytes = b""


@dataclass(frozen=True, slots=True)
class Txn:
    """If all `compares` hold then `success` else `failure`. Made of reads alone it is linearizable and writes no log entry."""

    compares: tuple[Compare, ...] = ()
    success: tuple[Get | Put | Delete | Txn, ...] = ()
    failure: tuple[Get | Put | Delete | Txn, ...] = ()


@dataclass(frozen=True, slots=True)
class Found:
    """The answer to a `Get`; `more` says that the limit cut it short."""

    kvs: tuple[KeyValue, ...]
    more: bool = False


@dataclass(frozen=True, slots=True)
class TxnReply:
    """The answer to a `Txn`: one result per request of the branch taken, None for a `Put` or `Delete`."""

    header: Header
    succeeded: bool
    results: tuple[Found | TxnReply | None, ...]


@dataclass(frozen=True, slots=True)
class LeaseReply:
    """A lease as granted, renewed or looked up; `ttl_s` of 0 or less means that it does not exist."""

    header: Header
    lease: int
    ttl_s: int


@dataclass(frozen=True, slots=True)
class WatchCreate:
    """Start watching `key`, or all from it up to `range_end`, from `start_revision` on, under a number of our own choice."""

    watch_id: int
    key: bytes
    start_revision: int
    deletes_only: bool = False
    range_end: bytes = b""


@dataclass(frozen=True, slots=True)
class WatchCancel:
    """Stop one watch."""

    watch_id: int


@dataclass(frozen=True, slots=True)
class WatchEvent:
    """One change of a key. For a deletion `kv` holds the key and, as `mod_revision`, the revision of the deletion."""

    deleted: bool
    kv: KeyValue


@dataclass(frozen=True, slots=True)
class WatchMessage:
    """One message of a watch stream. Without events, and neither `created` nor `canceled`, it is a progress notice."""

    header: Header
    watch_id: int
    created: bool = False
    canceled: bool = False
    compact_revision: int = 0
    cancel_reason: str = ""
    events: tuple[WatchEvent, ...] = ()


class WireError(Exception):
    """A call that failed: the gRPC status name (or one of our own), the text that came with it, and the endpoint. No secrets."""

    def __init__(self, code: str, message: str, endpoint: str) -> None:
        super().__init__(f"{endpoint}: {code}: {message}")
        self.code = code
        self.message = message
        self.endpoint = endpoint
        self.maybe_applied = False
        """An earlier attempt of the same call went unanswered: whatever this error says, that one may have been applied."""


# Status names of our own, for what no gRPC status says.
BAD_REPLY = "BAD_REPLY"
"""An answer that etcd's rules do not allow."""
OTHER_CLUSTER = "OTHER_CLUSTER"
"""An answer from another etcd cluster than the session's."""
STALE_MEMBER = "STALE_MEMBER"
"""Renewal and check were answered in different raft terms."""
NO_CREDENTIALS = "NO_CREDENTIALS"
"""A password file or TLS file that cannot be used."""


class WatchStream(Protocol):
    """One open watch stream; many watches share it."""

    def send(self, request: WatchCreate | WatchCancel) -> None:
        """Queue a request; never blocks, a broken stream shows in `receive`."""

    async def receive(self) -> WatchMessage:
        """The next message. Raises `WireError` when the stream is broken or was given up."""

    def cancel(self) -> None:
        """End the stream; a pending `receive` raises."""


class Wire(Protocol):
    """One connection to one endpoint. Every call has its own deadline and raises nothing but `WireError`."""

    endpoint: str

    async def txn(self, txn: Txn, token: str | None, timeout_s: float) -> TxnReply:
        """Carry out a transaction."""

    async def lease_grant(self, ttl_s: int, token: str | None, timeout_s: float) -> LeaseReply:
        """Ask for a new lease."""

    async def lease_keep_alive(self, lease: int, token: str | None, timeout_s: float) -> LeaseReply:
        """Renew a lease. At most one call at a time."""

    async def lease_time_to_live(self, lease: int, token: str | None, timeout_s: float) -> LeaseReply:
        """Look a lease up without renewing it."""

    async def lease_revoke(self, lease: int, token: str | None, timeout_s: float) -> None:
        """End a lease; its keys are deleted with it."""

    async def authenticate(self, username: str, password: str, timeout_s: float) -> str:
        """Exchange name and password for a token."""

    def watch(self, token: str | None) -> WatchStream:
        """Open a watch stream."""

    async def close(self, grace_s: float) -> None:
        """Close the connection; calls under way get `grace_s` to end."""


Connect = Callable[[str], Wire]
"""Makes the connection to one endpoint (`host:port`). Raises `WireError` when a TLS file cannot be read."""
