"""Keys, transactions and what their answers say: the recipe's facts as plain data, testable without a server.

The layout is that of `etcdctl elect`, `etcdctl lock` and the Go concurrency package (client/v3/concurrency/election.go): one key
`<place>/<lease id in lower-case hex>` per candidate, attached to its lease; whoever's key was created first leads.
leaderd's own record, the high-water mark of tokens, lives beside the place: others count every key inside as a candidate.
"""

from __future__ import annotations

import re
from dataclasses import dataclass

from leaderd.stores.etcd.wire import Compare, Delete, Found, Get, KeyValue, Put, Txn, TxnReply
from leaderd.stores.marks import mark_text, ready_text

QUEUE_LIMIT = 100
# etcd takes 128 operations a transaction by default (`--max-txn-ops`), at each level of nesting less those of the level above.
_FLAT_LIMIT = 100
_GROUP = 40
# How many entries of a queue a renewal lists.
_LISTED = 32
_LEASE = re.compile(rb"[0-9a-f]{1,16}")
_NAME_LIMIT = 255


@dataclass(frozen=True, slots=True)
class Place:
    """Where one election lives."""

    election: str
    prefix: bytes
    mark: bytes

    @property
    def end(self) -> bytes:
        """The first key behind the place: '0' follows '/'."""
        return self.prefix[:-1] + b"0"

    def key(self, lease: int) -> bytes:
        """The key of the candidate with this lease."""
        return self.prefix + b"%x" % lease


@dataclass(frozen=True, slots=True)
class Older:
    """The (at most two) newest of the entries older than ours, newest first; `complete` if there are no others."""

    entries: tuple[KeyValue, ...]
    complete: bool
    revision: int


@dataclass(frozen=True, slots=True)
class Stood:
    """What the transaction that put us into the queue saw. `older` is None where it could not be told: read it."""

    own: KeyValue
    mark: bytes
    older: Older | None
    queue: Found


def place_of(path: str, election: str) -> Place:
    """The place of an election under the store's path (which has no slash at either end, and may be empty)."""
    root = f"{path}/" if path else ""
    return Place(election, f"{root}{election}/".encode(), f"{root}.leaderd/{election}/mark".encode())


def name_text(value: bytes) -> str:
    """A candidate's value for human eyes: decoded leniently, without control characters, bounded."""
    text = value[: 4 * _NAME_LIMIT].decode("utf-8", "replace")
    return "".join(c if c.isprintable() else "\N{REPLACEMENT CHARACTER}" for c in text)[:_NAME_LIMIT]


def key_text(key: bytes) -> str:
    """A key for human eyes."""
    return name_text(key)


def foreign(place: Place, kv: KeyValue) -> str | None:
    """Why no candidate of this recipe can have written this entry, or None. Such a key may never go away by itself."""
    if kv.lease == 0:
        return f"the key {key_text(kv.key)} has no lease"
    if not _LEASE.fullmatch(kv.key[len(place.prefix) :]):
        return f"the key {key_text(kv.key)} is no candidate's"
    return None


def get_older(place: Place, token: int) -> Get:
    """The two newest entries older than ours. Two, so that with the last one gone it is known that we are first."""
    return Get(place.prefix, place.end, limit=2, newest_first=True, max_create_revision=token - 1)


def get_queue(place: Place, limit: int = QUEUE_LIMIT) -> Get:
    """The entries, first come first."""
    return Get(place.prefix, place.end, limit=limit)


def older_in(found: Found, revision: int) -> Older:
    """Make sense of the answer to `get_older`."""
    return Older(found.kvs[:2], not found.more and len(found.kvs) <= 2, revision)


def stand(place: Place, lease: int, value: bytes) -> Txn:
    """Enter the queue, or find the entry of this lease that is there already: repeatable, for the key names the lease.

    The mark is created if it is missing, because a comparison of a missing key's value always fails.
    """
    own = place.key(lease)
    make_mark = Txn((Compare(place.mark, "create", "=", 0),), (Put(place.mark, mark_text(0)),))
    look = (
        Get(place.mark, keys_only=False),
        Get(own),
        Get(place.prefix, place.end, limit=3, newest_first=True),
        get_queue(place),
    )
    return Txn((Compare(own, "create", "=", 0),), (make_mark, Put(own, value, lease), *look), (make_mark, *look))


def stood(reply: TxnReply) -> Stood | None:
    """Make sense of the answer to `stand`; None if it contradicts itself."""
    mark, own, newest, queue = reply.results[-4:]
    assert isinstance(mark, Found)
    assert isinstance(own, Found)
    assert isinstance(newest, Found)
    assert isinstance(queue, Found)
    if not own.kvs or not mark.kvs or own.kvs[0].create_revision <= 0:
        return None
    older = None
    if newest.kvs and newest.kvs[0].key == own.kvs[0].key:
        older = Older(newest.kvs[1:], not newest.more, reply.header.revision)
    return Stood(own.kvs[0], mark.kvs[0].value, older, queue)


def claim(place: Place, lease: int, token: int) -> Txn:
    """Prove that our entry is alive, ours and the oldest, and raise the mark to its token: all or nothing."""
    own = place.key(lease)
    return Txn(
        (
            # Safety: see test_a_claim_on_an_entry_created_anew_fails
            Compare(own, "create", "=", token),
            # Safety: see test_a_claim_on_an_expired_lease_fails
            Compare(own, "lease", "=", lease),
            # Every entry of the place was created no earlier than ours.
            # Safety: see test_a_claim_refuses_when_an_older_entry_appears
            Compare(place.prefix, "create", ">", token - 1, place.end),
            # At our token it was raised already, by this entry's `get_ready`, if it says so. If not, somebody has led with this
            # very token: the store was restored, and counts its revisions anew.
            # Safety: see test_a_claim_refuses_a_mark_that_moved
            Compare(place.mark, "value", "<", mark_text(token + 1)),
            # Safety: see test_a_claim_refuses_its_own_token_as_somebody_elses_mark
            Compare(place.mark, "value", "!=", mark_text(token)),
        ),
        (Put(place.mark, mark_text(token)), get_queue(place)),
        (Get(own), Get(place.mark, keys_only=False), get_older(place, token)),
    )


def get_ready(place: Place, lease: int, token: int, leader: KeyValue) -> Txn:
    """Raise the mark to our token while `leader`, the only entry older than ours, leads: so that nothing is left to be asked later.

    Only once the leader has claimed, or confirmed, so that the mark is its plain token: until then nobody may raise it above that.
    One of another make never does. What a claim proves is then known when the leader's entry goes: see `queue.Queue.claim`.
    """
    own = place.key(lease)
    return Txn(
        (
            Compare(own, "create", "=", token),
            Compare(own, "lease", "=", lease),
            Compare(leader.key, "create", "=", leader.create_revision),
            # Safety: see test_nobody_gets_ready_before_the_leader_has_claimed
            Compare(place.mark, "value", "=", mark_text(leader.create_revision)),
        ),
        (Put(place.mark, ready_text(token)),),
    )


def confirm(place: Place, token: int) -> Txn:
    """Say that who was ready leads, unless the mark was raised since; and list the queue."""
    # Safety: see test_a_confirmation_that_is_late_changes_nothing
    ready = Compare(place.mark, "value", "=", ready_text(token))
    return Txn((ready,), (Put(place.mark, mark_text(token)), get_queue(place)), (get_queue(place),))


def withdraw(place: Place, lease: int, token: int) -> Txn:
    """Take our entry out, only if it is ours: by lease, and by token, for the next entry of this lease has the same key."""
    own = place.key(lease)
    # Safety: see test_unconditional_release
    return Txn((Compare(own, "lease", "=", lease), Compare(own, "create", "=", token)), (Delete(own),))


def raise_mark(place: Place, mark: int) -> Txn:
    """Raise the high-water mark to at least `mark`, and have it say that this was claimed; never lower it."""
    put = Put(place.mark, mark_text(mark))
    make = Txn((Compare(place.mark, "create", "=", 0),), (put,))
    # Safety: see test_a_raised_mark_is_a_claimed_one
    return Txn((Compare(place.mark, "value", "<", mark_text(mark + 1)),), (put,), (make,))


@dataclass(frozen=True, slots=True)
class Check:
    """One read of everything a renewal has to know: our entries, who is before us where we wait, and one queue to show.

    A transaction of reads alone is linearizable and writes nothing, whatever the number of elections.
    """

    own: tuple[bytes, ...]
    waiting: tuple[tuple[Place, int], ...] = ()
    listed: Place | None = None

    def gets(self) -> list[Get]:
        """The reads, in order; never none, for even with no entry the quorum has to be asked."""
        gets = [Get(key) for key in self.own] + [get_older(place, token) for place, token in self.waiting]
        if self.listed is not None:
            gets.append(get_queue(self.listed, _LISTED))
        return gets

    def txn(self, anchor: bytes) -> Txn:
        """The transaction; `anchor` is a key to read where there is nothing else. Many reads are nested in groups."""
        gets = self.gets() or [Get(anchor)]
        if len(gets) <= _FLAT_LIMIT:
            return Txn((), tuple(gets))
        return Txn((), tuple(Txn((), tuple(gets[i : i + _GROUP])) for i in range(0, len(gets), _GROUP)))

    def results(self, reply: TxnReply) -> list[Found]:
        """The answers to `gets()`, in their order."""
        founds: list[Found] = []
        for result in reply.results:
            if isinstance(result, Found):
                founds.append(result)
            elif isinstance(result, TxnReply):
                founds.extend(self.results(result))
        return founds


@dataclass(frozen=True, slots=True)
class Shelf:
    """Where the records of all elections lie: beside the elections, for no election's name begins with a dot."""

    prefix: bytes

    @property
    def end(self) -> bytes:
        """The first key behind it: '0' follows '/'."""
        return self.prefix[:-1] + b"0"

    def key(self, election: str, kind: str) -> bytes:
        """The key of one record."""
        return self.prefix + f"{election}/{kind}".encode()

    def record(self, key: bytes) -> tuple[str, str] | None:
        """Election and kind of a record's key; None if it is none of ours."""
        try:
            election, _, kind = key.removeprefix(self.prefix).decode().rpartition("/")
        except UnicodeDecodeError:
            return None
        return (election, kind) if key.startswith(self.prefix) and election and kind else None

    def read(self) -> Txn:
        """Read all records."""
        return Txn((), (Get(self.prefix, self.end, keys_only=False),))

    def write(self, key: bytes, value: bytes | None, version: int) -> Txn:
        """Put `value` (None: nothing) in place of `version`, the revision of its last change; 0: in place of nothing."""
        # Safety: see test_a_write_over_another_version_changes_nothing
        return Txn((Compare(key, "mod", "=", version),), (Put(key, value) if value is not None else Delete(key),))


def shelf_of(path: str) -> Shelf:
    """The records under the store's path."""
    return Shelf((f"{path}/" if path else "").encode() + b".leaderd/.records/")
