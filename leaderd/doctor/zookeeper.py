"""ZooKeeper: each server by itself, the timeout it grants, access rules, and the candidates' nodes.

A connection is a session here, so each server is asked in a short one, which leaves nothing behind.
"""

from __future__ import annotations

import asyncio
import base64
import hashlib
import re
from collections.abc import Sequence
from typing import Any
from urllib.parse import quote

from kazoo import exceptions as kz

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
from leaderd.doctor.words import say
from leaderd.election.records import RecordKind
from leaderd.stores.base import Traffic
from leaderd.stores.marks import parse_mark
from leaderd.stores.zookeeper.paths import (
    LOCK_NAME,
    NO_SESSION,
    Place,
    in_order,
    is_in_sequence,
    name_text,
    place_of,
    records_directory,
)
from leaderd.stores.zookeeper.transport import CONNECTED, Client

_READ, _CREATE, _DELETE = 1, 4, 8
_LISTED = 100
_OURS = re.compile(r"_c_[0-9a-f]{8}(-[0-9a-f]{4}){3}-[0-9a-f]{12}-lock-[0-9]{10}")
_SESSION = 2**64 - 1
_NEEDED = (3, 5)
"""Since this version the server tells a node's czxid when it makes one (ZOOKEEPER-1297), which leaderd asks it for."""


async def examine(patient: Patient, report: Report) -> None:
    """Ask every server, then the first that lets us in about the elections."""
    servers = [_Server(patient, at) for at in range(len(patient.address.hosts))]
    try:
        await asyncio.gather(*(server.ask() for server in servers))
        report.endpoints += [server.endpoint for server in servers]
        for server in servers:
            report.findings += server.findings
        well = next((server for server in servers if server.endpoint.latency_s is not None), None)
        if well is not None:
            await examine_queues(patient, report, well.look_at)
    finally:
        await asyncio.gather(*(server.close() for server in servers))


class _Server:
    """One server, asked in a session of its own."""

    def __init__(self, patient: Patient, at: int) -> None:
        self._patient = patient
        self._host = patient.address.hosts[at]
        self._address = patient.only(at)
        self.where = patient.address.endpoints()[at]
        self.endpoint = Endpoint(self.where)
        self.findings: list[Finding] = []
        self._client: Client | None = None
        self._crash: list[BaseException] = []

    async def ask(self) -> None:
        """Open the session; what it granted, how long an answer takes, and which version this is."""
        connected = asyncio.Event()

        def note(state: str) -> None:
            if state == CONNECTED:
                connected.set()

        ttl_s, now_s = self._patient.timing.ttl_s, self._patient.now_s
        try:
            client = Client(
                self._address,
                self._patient.credentials,
                self._patient.tls,
                ttl_s,
                now_s,
                Traffic(),
                note,
                self._crash.append,
            )
        except (OSError, UnicodeDecodeError):
            self._fail(f"the password file {self._patient.credentials.password_file} cannot be read")
            return
        self._client = client
        client.start()
        try:
            async with asyncio.timeout(BOUND_S):
                await connected.wait()
                sent_at_s = now_s()
                await client.exists("/")
                took_s = now_s() - sent_at_s
        except (TimeoutError, kz.KazooException):
            trouble = client.trouble
            self._fail(trouble.detail if trouble is not None else f"{self.where}: no answer within {BOUND_S:g} s")
            return
        version = await self._version()
        self.endpoint = Endpoint(self.where, took_s, version)
        self.findings += check_version(self.where, version)
        if client.granted is not None:
            self.findings += check_timeout(self.where, ttl_s, client.granted.ttl_s)

    def _fail(self, trouble: str) -> None:
        self.endpoint = Endpoint(self.where, trouble=trouble)
        self.findings.append(unreachable(self.where, trouble))

    async def _version(self) -> str:
        """The server's version; empty where it does not say."""
        match = re.search(rb"version: ([0-9][0-9.]*)", await self._srvr())
        return match[1].decode("ascii") if match else ""

    async def _newest(self) -> int:
        """The last transaction the server knows of; 0 where it does not say."""
        match = re.search(rb"Zxid: 0x([0-9a-f]+)", await self._srvr())
        return int(match[1], 16) if match else 0

    async def _srvr(self) -> bytes:
        """What it says to `srvr`, the one four-letter word that is allowed unless somebody forbade it."""
        return await say(self._patient, self._host, b"srvr")

    async def look_at(self, election: str) -> Look:
        """Access rules and queue of one election."""
        assert self._client is not None
        place = place_of(self._patient.address.path, election)
        try:
            async with asyncio.timeout(2 * BOUND_S):
                found = await self._access(place.directory, _READ | _CREATE | _DELETE)
                found += await self._access(place.mark.rpartition("/")[0], _READ | _CREATE)
                queue, head = await self._queue(self._client, place)
                return Look(found + queue, head)
        except kz.NoAuthError:
            return Look([denied(place.directory, "READ, CREATE and DELETE there", "ZooKeeper refused to show it")])
        except (TimeoutError, kz.KazooException) as error:
            return Look([unreachable(self.where, f"{self.where}: {type(error).__name__} while reading {place.directory}")])

    async def _access(self, path: str, needed: int) -> list[Finding]:
        """Whether the rules let us work at `path`; while it does not exist, whether they let us make it."""
        assert self._client is not None
        asked, rules = path, None
        while rules is None:
            try:
                rules = await self._client.rules(asked)
            except kz.NoNodeError:
                if asked == "/":
                    return [foreign("/", "the chroot does not exist", "create it")]
                asked, needed = asked.rpartition("/")[0] or "/", _CREATE
            except kz.NoAuthError:
                return []  # not ours to see: the reads say what they meet
        lacking = needed & ~allowed(rules, self._patient.credentials.username, self._patient.credentials.password())
        if not lacking:
            return []
        words = [word for bit, word in ((_READ, "READ"), (_CREATE, "CREATE"), (_DELETE, "DELETE")) if lacking & bit]
        return [denied(path, f"{' and '.join(words)} on {asked}", f"the access rules of {asked} do not grant {', '.join(words)}")]

    async def _queue(self, client: Client, place: Place) -> Look:
        directory = place.directory
        try:
            names = in_order(await client.children(directory))
        except kz.NoNodeError:
            return Look([])
        nodes = []
        for name in names[:_LISTED]:
            try:
                nodes.append((name, *await client.get(f"{directory}/{name}")))
            except kz.NoNodeError:
                continue
        mark = await self._data(client, place.mark)
        history = f"{records_directory(self._address.path)}/{quote(place.election, safe='')}.{RecordKind.HISTORY}"
        head = head_of(directory, nodes, mark, begun(await self._data(client, history)))
        return Look(check_queue(directory, place.mark, nodes, mark, await self._newest()), head)

    async def _data(self, client: Client, path: str) -> bytes | None:
        try:
            data, _ = await client.get(path)
        except kz.NoNodeError:
            return None
        return bytes(data)

    async def close(self) -> None:
        """End the session, and wait until it is ended."""
        if self._client is None:
            return
        self._client.close(end=True)
        try:
            async with asyncio.timeout(BOUND_S):
                while not self._client.closed():  # noqa: ASYNC110 - it is a thread that ends, of the library's
                    await asyncio.sleep(0.01)
        except TimeoutError:
            pass  # a thread that ends with the process


def check_queue(
    directory: str, mark_path: str, nodes: Sequence[tuple[str, bytes, Any]], mark: bytes | None, zxid: int
) -> list[Finding]:
    """What is wrong with a queue: names, data and stats, first come first; the record of the highest token, the last zxid."""
    found = []
    for name, _, stat in nodes:
        shown = name_text(name.encode("utf-8", "replace"))
        if LOCK_NAME not in name:
            found.append(foreign(directory, f"{shown!r} is no candidate's node, and stands in the queue by its name"))
        elif stat.ephemeralOwner in NO_SESSION:
            found.append(orphan(directory, f"{shown!r} belongs to no session"))
        elif not is_in_sequence(name):
            found.append(foreign(directory, f"{shown!r} has no sequence number of ten digits: others sort it elsewhere"))
    highest = parse_mark(mark) if mark is not None else 0
    if highest is None:
        found.append(bad_mark(mark_path))
    else:
        found += stuck_below_mark(directory, zxid, highest)
    return found + duplicates(directory, [name_text(data) for _, data, _ in nodes])


def head_of(directory: str, nodes: Sequence[tuple[str, bytes, Any]], mark: bytes | None, term: int | None) -> Head | None:
    """Who is first; None if nobody is, or nobody's claim can be told: such a node, or such a mark, is a finding already."""
    highest = parse_mark(mark) if mark is not None else 0
    if not nodes or highest is None:
        return None
    name, data, stat = nodes[0]
    if LOCK_NAME not in name or stat.ephemeralOwner in NO_SESSION:
        return None
    shown = name_text(name.encode("utf-8", "replace"))
    other = "" if _OURS.fullmatch(name) else f"leaderd names its nodes otherwise than {shown!r}"
    return Head(
        where=directory,
        name=name_text(data),
        entry=f"node {shown}",
        token=int(stat.czxid),
        mark=highest,
        begun=term,
        remove=f"`delete {directory}/{shown}` in zkCli.sh",
        holder=f"its session is {stat.ephemeralOwner & _SESSION:#x}: `cons` and the servers' logs have the address it came from",
        # An instance always has a name.
        other=other or ("" if data else "it holds no name, where leaderd writes its instance's"),
        mistaken="Apache Curator, whose nodes look the same",
    )


def check_version(where: str, version: str) -> list[Finding]:
    """Versions that cannot do what is needed."""
    parts = version.split(".")
    if len(parts) < 2 or (int(parts[0]), int(parts[1] or 0)) >= _NEEDED:
        return []
    return [
        Finding(
            "store-version",
            where,
            f"ZooKeeper {version} does not tell the czxid of a node it makes (ZOOKEEPER-1297)",
            "without it there is no fencing token, so this instance can never lead",
            "upgrade to 3.8 or later",
        )
    ]


def check_timeout(where: str, asked_s: float, granted_s: float) -> list[Finding]:
    """The session timeout that was granted in place of the one asked for."""
    if abs(granted_s - asked_s) < 0.001:
        return []
    return [
        Finding(
            "ttl",
            where,
            f"timing.ttl is {asked_s:g} s, but the server grants {granted_s:g} s",
            "fail-over and detection follow what was granted (`leaderd plan` shows them)",
            "set timing.ttl within 2 to 20 ticks of the servers, or change minSessionTimeout or maxSessionTimeout",
        )
    ]


def allowed(rules: Sequence[Any], username: str | None, password: str | None) -> int:
    """The permissions that access rules give us; all of them where a rule is of a kind that is not judged here."""
    digest = hashlib.sha1(f"{username}:{password}".encode(), usedforsecurity=False).digest()
    us = {("world", "anyone"), ("digest", f"{username}:{base64.b64encode(digest).decode('ascii')}")}
    granted = 0
    for rule in rules:
        if rule.id.scheme not in {"world", "digest"} or (rule.id.scheme, rule.id.id) in us:
            granted |= rule.perms
    return granted
