"""What goes over the wire, as pure functions: keys, transactions, records, and the texts by which Consul refuses.

Facts relied on, each checked against a real server in `tests/stores/test_consul*.py`:
- All operations of one transaction are applied at one Raft index, and every refused operation is named by its place.
- A transaction of reads and checks only is proven at a quorum under `?consistent`; one that writes goes through Raft.
- A write that changes nothing is dropped: a key locked again by the session that holds it keeps its `ModifyIndex`.
"""

from __future__ import annotations

import base64
from dataclasses import dataclass
from typing import Any, TypeVar

import msgspec

from leaderd.election.events import Contender
from leaderd.election.problems import Outcome, Problem, Reason

LOCK_FLAGS = 0x2DDCCBC058A50C18
"""Marks a key as a lock (Go API `LockFlagValue`). `consul lock` refuses a key without it: sent with every acquire and release."""
MAX_OPS = 64
"""The most operations a server takes in one transaction (Consul 1.8; later ones take 128)."""
MAX_LOCK_DELAY_S = 60.0
"""Consul applies no longer lock-delay than this, whatever the session asks for."""
MAX_INSTANCE = 255
_MARK_DIGITS = 20
_OR_THIS = "+"
"""After a mark's number: "or this key's own `ModifyIndex`, whichever is higher". Written by whoever acquires the lock, in the
transaction that acquires it: the index is that term's token, which nobody can know before."""

Op = dict[str, dict[str, Any]]


class Record(msgspec.Struct, rename="pascal", frozen=True):
    """One key as Consul shows it. `session` is empty when nobody holds the lock; `value` is base64, or None."""

    key: str
    flags: int
    modify_index: int
    value: str | None = None
    session: str = ""


class SessionRecord(msgspec.Struct, frozen=True):
    """One session as Consul shows it. Durations come as nanoseconds or as Go text."""

    id: str = msgspec.field(name="ID")
    lock_delay_ns: int = msgspec.field(name="LockDelay", default=0)
    node_checks: list[str] | None = msgspec.field(name="NodeChecks", default=None)
    checks: list[str] | None = msgspec.field(name="Checks", default=None)


class _Created(msgspec.Struct, frozen=True):
    id: str = msgspec.field(name="ID")


class _Result(msgspec.Struct, frozen=True):
    kv: Record = msgspec.field(name="KV")


class _Error(msgspec.Struct, frozen=True):
    op_index: int = msgspec.field(name="OpIndex")
    what: str = msgspec.field(name="What")


class _TxnBody(msgspec.Struct, frozen=True):
    results: list[_Result] | None = msgspec.field(name="Results", default=None)
    errors: list[_Error] | None = msgspec.field(name="Errors", default=None)


# Made once, here: a type's first decoding otherwise prepares it, and for the transaction that is in the middle of a hand-over.
_TXN = msgspec.json.Decoder(_TxnBody)
_RECORDS = msgspec.json.Decoder(list[Record])
_SESSIONS: msgspec.json.Decoder[list[SessionRecord] | None] = msgspec.json.Decoder(list[SessionRecord] | None)
_CREATED = msgspec.json.Decoder(_Created)
_encode = msgspec.json.Encoder().encode
T = TypeVar("T")


class Garbled(ValueError):
    """An answer that is not what Consul sends."""


class BadMark(ValueError):
    """The high-water mark's key holds something that is no mark."""


@dataclass(frozen=True, slots=True)
class Txn:
    """The outcome of one transaction: the records it touched, or the places and texts of what was refused."""

    records: tuple[Record, ...] = ()
    refused: tuple[tuple[int, str], ...] = ()

    @property
    def ok(self) -> bool:
        """All of it happened; otherwise none of it did."""
        return not self.refused

    @property
    def denied(self) -> bool:
        """Refused by an access rule: it says nothing about the keys."""
        return any("permission denied" in what.lower() for _, what in self.refused)

    @property
    def delayed(self) -> bool:
        """Refused because the lock is held back after an invalidated session."""
        return any("lock delay" in what for _, what in self.refused)

    @property
    def sessionless(self) -> bool:
        """Refused because the session does not exist."""
        return any("invalid session" in what for _, what in self.refused)

    def places(self) -> frozenset[int]:
        """The places of the refused operations."""
        return frozenset(place for place, _ in self.refused)

    def find(self, key: str) -> Record | None:
        """The last record of `key`: as the transaction left it."""
        return next((record for record in reversed(self.records) if record.key == key), None)


@dataclass(frozen=True, slots=True)
class Mark:
    """An election's high-water mark and the index of its key (0: there is none, and `cas` with 0 creates it)."""

    value: int = 0
    index: int = 0


class Keys:
    """Where things lie beneath the URL's path."""

    def __init__(self, path: str) -> None:
        self._prefix = f"{path}/" if path else ""

    def lock(self, election: str) -> str:
        """The lock key: what `consul lock <path>/<election>` uses."""
        return f"{self._prefix}{election}/.lock"

    def mark(self, election: str) -> str:
        """The high-water mark, beside the election, never inside: no election name begins with a dot."""
        return f"{self._prefix}.leaderd/{election}/mark"

    @property
    def records(self) -> str:
        """What all records lie under."""
        return f"{self._prefix}.leaderd/.records/"

    def record(self, election: str, kind: str) -> str:
        """One record of an election."""
        return f"{self.records}{election}/{kind}"

    def place(self, key: str) -> tuple[str, str] | None:
        """Election and kind of a record's key; None if it is none."""
        election, _, kind = key.removeprefix(self.records).rpartition("/")
        return (election, kind) if key.startswith(self.records) and election and kind else None


# ---- operations


def check_index(key: str, index: int) -> Op:
    """Refuse unless the key was last changed at `index`."""
    return {"KV": {"Verb": "check-index", "Key": key, "Index": index}}


def check_absent(key: str) -> Op:
    """Refuse if the key exists."""
    return {"KV": {"Verb": "check-not-exists", "Key": key}}


def check_session(key: str, session: str) -> Op:
    """Refuse unless `session` holds the key."""
    return {"KV": {"Verb": "check-session", "Key": key, "Session": session}}


def lock(key: str, session: str, instance: str) -> Op:
    """Take the lock, or refuse."""
    return {"KV": {"Verb": "lock", "Key": key, "Session": session, "Value": _b64(instance), "Flags": LOCK_FLAGS}}


def unlock(key: str, session: str, instance: str) -> Op:
    """Let the lock go; refuse unless `session` holds it."""
    return {"KV": {"Verb": "unlock", "Key": key, "Session": session, "Value": _b64(instance), "Flags": LOCK_FLAGS}}


def get_tree(key: str) -> Op:
    """Read the key, refusing nothing when there is none (`get` would refuse). May show longer keys as well."""
    return {"KV": {"Verb": "get-tree", "Key": key}}


def write_mark(key: str, seen: Mark, value: int) -> Op:
    """Set the mark to `value`; refuse if it has changed since it was `seen`."""
    return {"KV": {"Verb": "cas", "Key": key, "Index": seen.index, "Value": _b64(f"{value:0{_MARK_DIGITS}d}")}}


def lift_mark(key: str, seen: Mark) -> Op:
    """Set the mark to the index of this very transaction, or to what was `seen` where that is higher; refuse if it has changed."""
    text = f"{seen.value:0{_MARK_DIGITS}d}{_OR_THIS}"
    return {"KV": {"Verb": "cas", "Key": key, "Index": seen.index, "Value": _b64(text)}}


def write_record(key: str, version: int, value: bytes) -> Op:
    """Set the key; refuse if its index is not `version` (0: if it exists)."""
    return {"KV": {"Verb": "cas", "Key": key, "Index": version, "Value": base64.b64encode(value).decode("ascii")}}


def delete_record(key: str, version: int) -> Op:
    """Delete the key; refuse if its index is not `version` (0: if it exists)."""
    return {"KV": {"Verb": "delete-cas", "Key": key, "Index": version}} if version > 0 else check_absent(key)


def encode(body: object) -> bytes:
    """A request body."""
    return _encode(body)


def _b64(text: str) -> str:
    return base64.b64encode(text.encode()).decode("ascii")


# ---- answers


def read_txn(body: bytes) -> Txn:
    """Decode a transaction's answer. Raises `Garbled`."""
    found = _decode(body, _TXN)
    if found.results is None and not found.errors:
        raise Garbled("neither results nor errors")
    return Txn(tuple(r.kv for r in found.results or ()), tuple((e.op_index, e.what) for e in found.errors or ()))


def read_key(body: bytes, key: str) -> Record:
    """Decode the answer to a GET of one key. Raises `Garbled`."""
    found = _decode(body, _RECORDS)
    if len(found) != 1 or found[0].key != key:
        raise Garbled(f"not the key {key}")
    return found[0]


def read_tree(body: bytes) -> tuple[Record, ...]:
    """Decode the answer to a GET of all keys under a prefix. Raises `Garbled`."""
    found = _decode(body, _RECORDS)
    return tuple(found)


def read_value(record: Record) -> bytes:
    """The bytes a key holds; none where they cannot be read."""
    try:
        return base64.b64decode(record.value or "", validate=True)
    except ValueError:  # no base64: not Consul
        return b""


def read_session(body: bytes, session: str) -> SessionRecord | None:
    """Decode a session's record; None when there is no such session (or the token may not see it). Raises `Garbled`."""
    found = _decode(body, _SESSIONS)
    if not found:
        return None
    if len(found) != 1 or found[0].id != session:
        raise Garbled(f"not the session {session}")
    return found[0]


def read_created(body: bytes) -> str:
    """Decode the id of a new session. Raises `Garbled`."""
    made = _decode(body, _CREATED).id
    if len(made) != 36 or not all(c in "0123456789abcdef-" for c in made):
        raise Garbled("no session id")
    return made


def read_mark(record: Record | None, own: int = 0) -> Mark:
    """The mark in a record; without the token `own`, if it is that which lifted it. Raises `BadMark` when something else lies in
    its place."""
    if record is None:
        return Mark()
    try:
        text = base64.b64decode(record.value or "", validate=True).decode("ascii")
    except ValueError:  # neither base64 nor ASCII
        text = ""
    number, lifted = text.removesuffix(_OR_THIS), text.endswith(_OR_THIS) and record.modify_index != own
    if not number.isdigit() or len(number) > _MARK_DIGITS:
        raise BadMark(f"key {record.key} holds no number: delete it, or write the election's highest token into it")
    return Mark(max(int(number), record.modify_index if lifted else 0), record.modify_index)


def read_instance(record: Record) -> str:
    """The holder's name as the key's value shows it, whoever wrote it: bounded, without control characters."""
    try:
        text = base64.b64decode(record.value or "").decode("utf-8", "replace")
    except ValueError:  # no base64
        text = ""
    return clean(text, MAX_INSTANCE)


def contenders(record: Record | None, session: str, instance: str) -> tuple[Contender, ...]:
    """Who can be seen: the holder, and ourselves. Consul has no queue; the others who wait are not visible."""
    us = Contender(instance, own=True)
    if record is None or not record.session:
        return (us,)
    holder = Contender(read_instance(record), record.session == session, record.modify_index)
    return (holder,) if holder.own else (holder, us)


def foreign(record: Record | None, session: str) -> Problem | None:
    """The problem with a key in the election's place that is no lock, as `consul lock` sees it too; None if there is none."""
    if record is None or record.flags == LOCK_FLAGS or record.session == session:
        return None
    detail = f"key {record.key} is not a lock (flags {record.flags:#x}): remove it, or give the election another name or path"
    return Problem(Outcome.FAILED, Reason.FOREIGN_ENTRY, detail)


def clean(text: str, most: int = 200) -> str:
    """Foreign text on one line: bounded, control characters replaced."""
    return "".join(c if c.isprintable() else "\N{REPLACEMENT CHARACTER}" for c in text[:most])


def _decode(body: bytes, decoder: msgspec.json.Decoder[T]) -> T:
    try:
        return decoder.decode(body)
    except (msgspec.DecodeError, UnicodeDecodeError) as error:
        raise Garbled(clean(str(error))) from None
