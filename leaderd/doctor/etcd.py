"""etcd: each member by itself, versions with known lease bugs, permissions by a transaction that cannot apply, and the queues."""

from __future__ import annotations

import asyncio
import re
from collections.abc import Callable, Coroutine
from dataclasses import replace
from typing import Any

from leaderd.doctor.findings import (
    BOUND_S,
    Endpoint,
    Finding,
    Patient,
    Report,
    bad_mark,
    denied,
    duplicates,
    foreign,
    orphan,
    stuck_below_mark,
    unreachable,
)
from leaderd.doctor.second_look import Head, Look, begun, examine_queues
from leaderd.election.problems import Reason
from leaderd.election.records import RecordKind
from leaderd.stores.etcd.channel import GrpcWire, open_channel
from leaderd.stores.etcd.client import Client
from leaderd.stores.etcd.errors import problem_of, reason_of
from leaderd.stores.etcd.transactions import Place, key_text, name_text, place_of, shelf_of
from leaderd.stores.etcd.transactions import foreign as why_foreign
from leaderd.stores.etcd.wire import Compare, Found, Get, KeyValue, Put, Txn, Wire, WireError
from leaderd.stores.marks import parse_mark

_LISTED = 32
_LOOKED_UP = 4
_LONG = 10
"""Times our ttl: a lease that has as much left is not that of a candidate that is alive and renews."""

LEASE_BUGS: tuple[tuple[str, dict[tuple[int, int], int], str], ...] = (
    # source; the first patch release of each minor without the bug; what it does. Earlier minors all have it, later ones do not.
    (
        "etcd-io/etcd pull request 20590, CHANGELOG-3.4 to 3.6",
        {(3, 4): 38, (3, 5): 23, (3, 6): 5},
        "a renewal may be answered with success although the lease was revoked",
    ),
    (
        "etcd-io/etcd issue 15247, CHANGELOG-3.4 and 3.5",
        {(3, 4): 31, (3, 5): 13},
        "a member that was deposed as leader goes on renewing leases without asking its quorum",
    ),
)


async def examine(patient: Patient, report: Report) -> None:
    """Ask every member, then the first that answers about the elections."""
    members = [_Member(patient, at) for at in range(len(patient.address.hosts))]
    try:
        await asyncio.gather(*(member.ask() for member in members))
        report.endpoints += [member.endpoint for member in members]
        for member in members:
            report.findings += member.findings
        clusters = {member.cluster for member in members if member.cluster}
        if len(clusters) > 1:
            report.findings.append(_split(patient, len(clusters)))
        well = next((member for member in members if member.cluster), None)
        if well is not None:
            member = well

            async def look(election: str) -> Look:
                return await _election(patient, member, place_of(patient.address.path, election))

            await examine_queues(patient, report, look)
    finally:
        await asyncio.gather(*(member.close() for member in members))


class _Member:
    """One member, asked over a connection of its own."""

    def __init__(self, patient: Patient, at: int) -> None:
        self._patient = patient
        self.where = patient.address.endpoints()[at]
        self._tasks: set[asyncio.Task[None]] = set()
        self._tls = patient.tls if patient.address.tls else None
        self.client = Client([self.where], 0, patient.credentials, self._connect, self._spawn, patient.now_s)
        self.client.timeout_s = BOUND_S
        self.endpoint = Endpoint(self.where)
        self.findings: list[Finding] = []
        self.cluster = 0

    async def ask(self) -> None:
        """One linearizable read, for quorum and latency; then what it says of itself."""
        key = place_of(self._patient.address.path, self._patient.elections[0]).mark
        sent_at_s = self._patient.now_s()
        try:
            async with asyncio.timeout(2 * BOUND_S):
                try:
                    reply = await self.read(Txn((), (Get(key),)))
                    self.cluster = reply.header.cluster_id
                except WireError as error:
                    if reason_of(error) is not Reason.PERMISSION_DENIED:
                        raise
                    self.findings.append(denied(self.where, "to read and write its elections' keys", problem_of(error).detail))
                took_s = self._patient.now_s() - sent_at_s
                version, errors = await self._status()
        except (WireError, TimeoutError) as error:
            trouble = problem_of(error).detail if isinstance(error, WireError) else f"no answer within {2 * BOUND_S:g} s"
            self.endpoint = Endpoint(self.where, trouble=trouble)
            self.findings.append(unreachable(self.where, trouble))
            return
        self.endpoint = Endpoint(self.where, took_s, version)
        self.findings += [*check_version(self.where, version), *(_alarm(self.where, text) for text in errors)]

    async def read(self, txn: Txn) -> Any:  # noqa: ANN401 - a TxnReply; the generic call loses it
        """Carry out a transaction on this member."""

        async def call(wire: Wire, token: str | None) -> Any:  # noqa: ANN401
            return await wire.txn(txn, token, BOUND_S)

        return await self.client.call(call, repeatable=False)

    async def remaining_s(self, lease: int) -> int:
        """How long a lease has left."""

        async def call(wire: Wire, token: str | None) -> int:
            return (await wire.lease_time_to_live(lease, token, BOUND_S)).ttl_s

        return await self.client.call(call, repeatable=False)

    async def _status(self) -> tuple[str, list[str]]:
        """The member's version, and the alarms it raises. Empty where it does not say."""
        import grpc.aio

        channel = open_channel(self.where, self._tls)
        try:
            token = await self.client.token(self.client.wire())
            method: Callable[..., Any] = channel.unary_unary("/etcdserverpb.Maintenance/Status")
            reply = await method(b"", timeout=BOUND_S, metadata=(("token", token),) if token else ())
        except grpc.aio.AioRpcError:
            return "", []  # later versions show this to administrators only
        finally:
            await channel.close(0)
        texts = _texts(reply)
        return next((text for number, text in texts if number == 2), ""), [text for number, text in texts if number == 8]

    def _connect(self, endpoint: str) -> GrpcWire:
        return GrpcWire(endpoint, self._tls, lambda: None, lambda: None)

    def _spawn(self, work: Coroutine[Any, Any, None]) -> asyncio.Task[None]:
        task = asyncio.get_running_loop().create_task(work)
        self._tasks.add(task)
        return task

    async def close(self) -> None:
        """Close the connections."""
        await self.client.aclose()
        for task in self._tasks:
            task.cancel()
        await asyncio.gather(*self._tasks, return_exceptions=True)


def check_version(where: str, version: str) -> list[Finding]:
    """The known lease bugs of a version."""
    match = re.match(r"(\d+)\.(\d+)\.(\d+)", version)
    if match is None:
        return []
    major, minor, patch = (int(part) for part in match.groups())
    found = []
    for source, fixed, what in LEASE_BUGS:
        if (major, minor) > max(fixed) or patch >= fixed.get((major, minor), patch + 1):
            continue
        wanted = ", ".join(f"{a}.{b}.{c}" for (a, b), c in fixed.items())
        found.append(
            Finding(
                "store-version",
                where,
                f"etcd {version}: {what} ({source})",
                "leaderd proves every entry at a quorum besides, but other clients of the same locks may believe they still lead",
                f"upgrade to {wanted} or later; or accept it with `--accept store-version`",
            )
        )
    return found


async def _election(patient: Patient, member: _Member, place: Place) -> Look:
    """Permissions and queue of one election."""
    where = key_text(place.prefix)
    # Both branches are checked for permission (etcd, server/auth: checkTxnAuth), and no creation revision is below 0.
    never = Compare(place.mark, "create", "<", 0)
    try:
        for key in (place.mark, place.key(1)):
            await member.read(Txn((never,), (Put(key, b""),)))
        history = shelf_of(patient.address.path).key(place.election, RecordKind.HISTORY)
        queue_of = Get(place.prefix, place.end, limit=_LISTED, keys_only=False)
        reply = await member.read(Txn((), (queue_of, *(Get(key, keys_only=False) for key in (place.mark, history)))))
    except WireError as error:
        if reason_of(error) is Reason.PERMISSION_DENIED:
            needs = "to read and write what lies under it, and the mark beside it"
            return Look([denied(where, needs, problem_of(error).detail)])
        return Look([unreachable(member.where, problem_of(error).detail)])
    queue, marks, terms = reply.results
    assert isinstance(queue, Found)
    assert isinstance(marks, Found)
    assert isinstance(terms, Found)
    mark = marks.kvs[0].value if marks.kvs else None
    found = check_queue(place, queue.kvs, mark, reply.header.revision)
    found += await _long_leases(patient, member, where, queue.kvs)
    head = head_of(place, queue.kvs, mark, begun(terms.kvs[0].value if terms.kvs else None))
    if head is not None and not head.claimed:
        head = replace(head, until_s=await _end_s(patient, member, queue.kvs[0].lease))
    return Look(found, head)


def head_of(place: Place, kvs: tuple[KeyValue, ...], mark: bytes | None, term: int | None) -> Head | None:
    """Who is first; None if nobody is, or nobody's claim can be told: such a key, or such a mark, is a finding already."""
    highest = parse_mark(mark) if mark is not None else 0
    if not kvs or highest is None or why_foreign(place, kvs[0]) is not None:
        return None
    first, lease = kvs[0], f"{kvs[0].lease:x}"
    return Head(
        where=key_text(place.prefix),
        name=name_text(first.value),
        entry=f"key {key_text(first.key)}",
        token=first.create_revision,
        mark=highest,
        begun=term,
        remove=f"`etcdctl lease revoke {lease}`",
        holder=f"`etcdctl lease timetolive {lease}`, asked twice, shows whether anybody still renews it",
        # An instance always has a name.
        other="" if first.value else "its value is empty, as `etcdctl lock` and the Go mutex leave it",
        mistaken="`etcdctl elect` or another program with the Go API's elections",
    )


async def _end_s(patient: Patient, member: _Member, lease: int) -> float | None:
    try:
        return patient.now_s() + await member.remaining_s(lease)
    except WireError:
        return None


def check_queue(place: Place, kvs: tuple[KeyValue, ...], mark: bytes | None, revision: int) -> list[Finding]:
    """What is wrong with a queue as listed, first come first, at the store's revision."""
    where = key_text(place.prefix)
    found = []
    for kv in kvs:
        if kv.lease == 0:
            found.append(orphan(where, f"the key {key_text(kv.key)} has no lease"))
        elif (why := why_foreign(place, kv)) is not None:
            found.append(foreign(where, why))
    highest = parse_mark(mark) if mark is not None else 0
    if highest is None:
        found.append(bad_mark(key_text(place.mark)))
    else:
        found += stuck_below_mark(where, revision, highest)
    return found + duplicates(where, [name_text(kv.value) for kv in kvs])


async def _long_leases(patient: Patient, member: _Member, where: str, kvs: tuple[KeyValue, ...]) -> list[Finding]:
    found = []
    for kv in [kv for kv in kvs if kv.lease][:_LOOKED_UP]:
        try:
            left_s = await member.remaining_s(kv.lease)
        except WireError:
            continue  # gone meanwhile, or said already
        if left_s > max(60.0, _LONG * patient.timing.ttl_s):
            what = f"the lease of {key_text(kv.key)} has {left_s} s left, where ours are of {patient.timing.ttl_s:g} s"
            found.append(orphan(where, what))
    return found


def _split(patient: Patient, clusters: int) -> Finding:
    return Finding(
        "other-cluster",
        ", ".join(patient.address.endpoints()),
        f"the endpoints belong to {clusters} different clusters",
        "candidates that reach different clusters elect a leader in each",
        "name the members of one cluster in store.url, the same ones for every instance",
    )


def _alarm(where: str, text: str) -> Finding:
    return Finding(
        "store-alarm",
        where,
        f"the member reports: {name_text(text.encode())}",
        "with an alarm raised, etcd refuses writes: nobody can take over",
        "see `etcdctl alarm list`; for NOSPACE compact, defragment, then `etcdctl alarm disarm`",
    )


def _texts(message: bytes) -> list[tuple[int, str]]:
    """The text fields of a protobuf message, by number: two fields are no reason for another generated file."""
    found, at = [], 0
    while at < len(message):
        tag, at = _varint(message, at)
        if tag & 7 == 2:
            size, at = _varint(message, at)
            found.append((tag >> 3, message[at : at + size].decode("utf-8", "replace")))
            at += size
        elif tag & 7 == 0:
            _, at = _varint(message, at)
        else:
            break  # no such field in this message
    return found


def _varint(message: bytes, at: int) -> tuple[int, int]:
    value, shift = 0, 0
    while at < len(message):
        byte = message[at]
        value, shift, at = value | (byte & 0x7F) << shift, shift + 7, at + 1
        if byte < 0x80:
            break
    return value, at
