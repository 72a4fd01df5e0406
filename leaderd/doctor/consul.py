"""Consul: each agent by itself, what the token may do, the lock and the session that holds it."""

from __future__ import annotations

import asyncio
import re
from urllib.parse import quote

import msgspec

from leaderd.doctor.findings import (
    BOUND_S,
    Endpoint,
    Finding,
    Patient,
    Report,
    bad_mark,
    denied,
    orphan,
    stuck_below_mark,
    unreachable,
)
from leaderd.doctor.second_look import Head, Look, examine_queues
from leaderd.election.problems import Reason
from leaderd.stores.base import Traffic
from leaderd.stores.consul import wire
from leaderd.stores.consul.agents import Agents, CallFailed, Reply

_REFUSED = {Reason.PERMISSION_DENIED, Reason.AUTH_FAILED}
_SERF = "serfHealth"


class _Self(msgspec.Struct, frozen=True):
    """`/v1/agent/self`, as far as it is read."""

    config: dict[str, object] = msgspec.field(name="Config", default_factory=dict)
    debug: dict[str, object] = msgspec.field(name="DebugConfig", default_factory=dict)


class Session(msgspec.Struct, frozen=True):
    """One session as Consul shows it. `ttl` is Go text, empty where it has none."""

    node: str = msgspec.field(name="Node", default="")
    name: str = msgspec.field(name="Name", default="")
    ttl: str = msgspec.field(name="TTL", default="")
    node_checks: list[str] | None = msgspec.field(name="NodeChecks", default=None)
    checks: list[str] | None = msgspec.field(name="Checks", default=None)


class _Verdict(msgspec.Struct, frozen=True):
    resource: str = msgspec.field(name="Resource")
    segment: str = msgspec.field(name="Segment", default="")
    allow: bool = msgspec.field(name="Allow", default=False)


async def examine(patient: Patient, report: Report) -> None:
    """Ask every agent, then the first that answers about the elections."""
    agents = [_Agent(patient, at) for at in range(len(patient.address.hosts))]
    try:
        await asyncio.gather(*(agent.ask() for agent in agents))
        report.endpoints += [agent.endpoint for agent in agents]
        for agent in agents:
            report.findings += agent.findings
        well = next((agent for agent in agents if agent.endpoint.latency_s is not None), None)
        if well is not None:
            keys = wire.Keys(patient.address.path)
            report.findings += await _rights(patient, well, keys)
            agent = well

            async def look(election: str) -> Look:
                return await _election(agent, keys, patient.address.path, election)

            await examine_queues(patient, report, look)
    finally:
        for agent in agents:
            agent.close()


class _Agent:
    """One agent, asked over connections of its own."""

    def __init__(self, patient: Patient, at: int) -> None:
        self._patient = patient
        self.where = patient.address.endpoints()[at]
        self._agents = Agents(patient.only(at), patient.credentials, patient.tls, Traffic(), patient.now_s)
        self.endpoint = Endpoint(self.where)
        self.findings: list[Finding] = []
        self.node = ""

    async def get(self, path: str) -> Reply:
        """Ask; answered within the bound, or `CallFailed`."""
        return await self._agents.call("GET", path, BOUND_S)

    async def post(self, path: str, body: object) -> Reply:
        """Ask with a body, where a question needs one."""
        return await self._agents.call("POST", path, BOUND_S, wire.encode(body))

    async def ask(self) -> None:
        """Whether it knows a leader, then what it says of itself."""
        sent_at_s = self._patient.now_s()
        try:
            reply = await self.get("status/leader")
        except CallFailed as error:
            self.endpoint = Endpoint(self.where, trouble=error.problem.detail)
            self.findings.append(unreachable(self.where, error.problem.detail))
            return
        took_s = self._patient.now_s() - sent_at_s
        if reply.body.strip() in {b"", b'""'}:
            self.endpoint = Endpoint(self.where, trouble="it knows no leader")
            self.findings.append(unreachable(self.where, "the agent answers, but its cluster has no leader"))
            return
        self.endpoint = Endpoint(self.where, took_s)
        try:
            told = msgspec.json.decode((await self.get("agent/self")).body, type=_Self)
        except (CallFailed, msgspec.DecodeError):
            return  # needs `agent:read`, which leaderd does not: no reason to complain
        self.node = str(told.config.get("NodeName", ""))
        self.endpoint = Endpoint(self.where, took_s, str(told.config.get("Version", "")))
        least = told.debug.get("SessionTTLMin")
        if isinstance(least, str) and (least_s := go_seconds(least)) > self._patient.timing.ttl_s:
            self.findings.append(_too_short(self.where, self._patient.timing.ttl_s, least_s))

    def close(self) -> None:
        """Close the connections."""
        self._agents.close()


async def _rights(patient: Patient, agent: _Agent, keys: wire.Keys) -> list[Finding]:
    """What the token may do, as the servers would decide it: asked, not tried. Silent where access control is off."""
    wanted = [{"Resource": "key", "Access": "write", "Segment": keys.lock(e)} for e in patient.elections]
    wanted += [{"Resource": "key", "Access": "write", "Segment": keys.mark(e)} for e in patient.elections]
    if agent.node:
        wanted.append({"Resource": "session", "Access": "write", "Segment": agent.node})
    try:
        reply = await agent.post("internal/acl/authorize", wanted)
        verdicts = msgspec.json.decode(reply.body, type=list[_Verdict])
    except (CallFailed, msgspec.DecodeError):
        return []  # access control is off, or this version cannot be asked: the reads below say what they meet
    return [
        denied(
            agent.where,
            f'{verdict.resource} "{wire.clean(verdict.segment)}" {{ policy = "write" }}',
            f"the token may not write {verdict.resource} {wire.clean(verdict.segment)}",
        )
        for verdict in verdicts
        if not verdict.allow
    ]


async def _election(agent: _Agent, keys: wire.Keys, path: str, election: str) -> Look:
    lock_key, mark_key = keys.lock(election), keys.mark(election)
    place = lock_key.removesuffix(".lock")
    try:
        lock = await _read(agent, lock_key)
        mark = await _read(agent, mark_key)
        # The answer for a key that does not exist carries the index of the last write to any key.
        newest = (await agent.get(f"kv/{quote(mark_key)}-none?consistent")).index
        found = _strangers(place, await agent.get(f"kv/{quote(place)}?keys&consistent"), lock_key)
    except CallFailed as error:
        if error.problem.reason in _REFUSED:
            return Look([denied(place, f'key_prefix "{path or place}" {{ policy = "write" }}', error.problem.detail)])
        return Look([unreachable(agent.where, error.problem.detail)])
    except wire.Garbled as error:
        return Look([unreachable(agent.where, f"not an answer of Consul: {error}")])
    found += check_records(lock_key, mark_key, lock, mark, newest)
    if lock is None or not lock.session:
        return Look(found)
    held = await _session(agent, lock.session)
    return Look(found + check_session(lock_key, lock.session, held), head_of(lock_key, lock, mark, held))


async def _read(agent: _Agent, key: str) -> wire.Record | None:
    reply = await agent.get(f"kv/{quote(key)}?consistent")
    return wire.read_key(reply.body, key) if reply.status == 200 else None


def check_records(lock_key: str, mark_key: str, lock: wire.Record | None, mark: wire.Record | None, newest: int) -> list[Finding]:
    """What is wrong with the lock and the record of its highest token."""
    found = []
    problem = wire.foreign(lock, "-")  # nobody's session
    if problem is not None:
        remedy = "remove the key, or give the election another name or path"
        found.append(
            Finding("wrong-flags", lock_key, problem.detail, "leaderd and `consul lock` refuse a key that is no lock", remedy)
        )
    try:
        highest = wire.read_mark(mark, own=lock.modify_index if lock is not None else 0).value
    except wire.BadMark:
        found.append(bad_mark(mark_key))
    else:
        found += stuck_below_mark(lock_key, newest, highest)
    return found


async def _session(agent: _Agent, session: str) -> Session | None:
    """The session that holds a lock; None where it is not shown."""
    try:
        told = msgspec.json.decode((await agent.get(f"session/info/{session}?consistent")).body, type=list[Session] | None)
    except (CallFailed, msgspec.DecodeError):
        return None  # needs `session:read`
    return told[0] if told else None


def check_session(lock_key: str, session: str, held: Session | None) -> list[Finding]:
    """What is wrong with the session that holds a lock."""
    if held is None:
        return []
    found = []
    holder = f"the session {session} on node {wire.clean(held.node)}, which holds {lock_key}"
    if go_seconds(held.ttl) <= 0:
        found.append(orphan(lock_key, f"{holder}, has no TTL"))
    if _SERF in (held.node_checks or held.checks or ()):
        found.append(
            Finding(
                "serf-health",
                lock_key,
                f"{holder}, is bound to {_SERF}",
                "it ends whenever the node's gossip fails for some seconds, long before its TTL, although its owner is well "
                "and may still believe it leads; only the lock-delay protects others",
                "create sessions with an empty list of checks, as leaderd does; `consul lock` cannot, so keep it from this key",
            )
        )
    return found


def head_of(lock_key: str, lock: wire.Record, mark: wire.Record | None, held: Session | None) -> Head | None:
    """Who holds the lock; None if nobody's claim can be told, because there is no lock, or no mark: a finding already."""
    try:
        highest = wire.read_mark(mark).value  # with the index of the mark that acquiring the lock has lifted
    except wire.BadMark:
        return None
    if wire.foreign(lock, "-") is not None:
        return None
    name = wire.clean(held.name) if held is not None else ""
    node = f" on node {wire.clean(held.node)}" if held is not None else ""
    return Head(
        where=lock_key,
        name=wire.read_instance(lock),
        entry=f"session {lock.session}{node}",
        token=lock.modify_index,
        mark=highest,
        remove=f"end its session: `PUT /v1/session/destroy/{lock.session}`",
        holder=f"its session was made through the agent{node}" if node else "its session may not be read with this token",
        other="" if held is None or name.startswith("leaderd ") else f"its session is called {name!r}, not 'leaderd ...'",
        mistaken="" if held is not None else "`consul lock` or another program",
    )


def _strangers(place: str, reply: Reply, lock_key: str) -> list[Finding]:
    """Keys in the election's place beside the lock: `consul lock -n`, for one, puts a semaphore's holders there."""
    if reply.status != 200:
        return []
    try:
        names = msgspec.json.decode(reply.body, type=list[str])
    except msgspec.DecodeError:
        return []
    others = [name for name in names if name != lock_key]
    if not others:
        return []
    more = f" and {len(others) - 1} more" if len(others) > 1 else ""
    what = f"the key {wire.clean(others[0])}{more} lies beside the lock"
    return [
        Finding(
            "foreign-entry",
            place,
            what,
            "somebody uses the place for something else, such as a semaphore (`consul lock -n`), which changes the lock's flags",
            "give it, or the election, another path",
        )
    ]


def _too_short(where: str, ttl_s: float, least_s: float) -> Finding:
    return Finding(
        "ttl",
        where,
        f"timing.ttl is {ttl_s:g} s, but the agent's session_ttl_min is {least_s:g} s",
        "every session is refused, so this instance can never lead",
        "raise timing.ttl, or lower session_ttl_min on the servers",
    )


_UNITS = {"h": 3600.0, "m": 60.0, "s": 1.0, "ms": 1e-3, "us": 1e-6, "µs": 1e-6, "ns": 1e-9}


def go_seconds(text: str) -> float:
    """A duration as Go writes it, `1m30s`, in seconds; 0 for what is none."""
    parts = re.findall(r"([0-9.]+)(ms|us|µs|ns|h|m|s)", text)
    try:
        return sum(float(number) * _UNITS[unit] for number, unit in parts)
    except ValueError:
        return 0.0
