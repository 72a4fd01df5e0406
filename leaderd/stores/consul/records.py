"""The records beside the elections, for one session: read at a quorum, watched by one blocking query, written by compare-and-set.

All records of all elections lie under one prefix, so that one query watches them, whatever their number. A record's version is its
key's `ModifyIndex`, 0 where there is none: it rises with every change, and over a deletion too.

Permissions: `write` on the keys beneath `<prefix>/.leaderd/.records/`. Consul leaves out of such a query what a token may not read,
without a word: see `Records.known_of`.
"""

from __future__ import annotations

import asyncio
from collections.abc import Callable

from leaderd.election.problems import Outcome, Problem, Reason
from leaderd.stores.consul import wire
from leaderd.stores.consul.agents import CallFailed
from leaderd.stores.consul.session import PASSING, Session, backoff_s, following, jitter

Seen = Callable[[str, str, bytes | None, int], None]
"""Told of a record: election, kind, value (None: there is none), version."""

_ANY = "pause"
"""The record that is asked for by its own key, which Consul refuses with a word; whoever may read it may read the others."""
_PAUSE_S = 0.1
_LONGEST_PAUSE_S = 0.6
"""A record is seen within a second."""


class Records:
    """The records as this session has seen them."""

    def __init__(self, session: Session, seen: Seen) -> None:
        self._session = session
        self._seen = seen
        self._known: dict[tuple[str, str], int] = {}
        self._index = 0
        self._readable: set[str] = set()
        self._reading = asyncio.Lock()

    async def known(self) -> None:
        """Return once all records there are were told. Raises `CallFailed`: whoever does not know them must not go on."""
        async with self._reading:
            if self._index == 0:
                await self._read()

    async def known_of(self, election: str) -> None:
        """Return once all records of an election were told. Raises `CallFailed`, also when they are kept from us: that would look
        as if there were none."""
        await self.known()
        if election not in self._readable:
            # Safety: see test_a_record_that_is_kept_from_us_is_not_taken_for_none
            await self._session.read(self._session.keys.record(election, _ANY))
            self._readable.add(election)

    async def watch(self) -> None:
        """Tell of every change for as long as the session lives; never gives up."""
        attempts, pause_s = 0, _PAUSE_S
        while True:
            try:
                await self.known()
                found, index = await self._session.read_tree_changed(self._prefix, self._index)
                attempts = 0
            except CallFailed as error:
                if error.problem.reason is Reason.SESSION_GONE:
                    return
                # Not only a passing failure: a token that is refused now may be mended in time.
                attempts, self._index = attempts + 1, 0
                await asyncio.sleep(backoff_s(attempts, 2.0 if error.problem.reason in PASSING else 10.0))
                continue
            if following(self._index, index) == 0:  # restored, or an agent that has not caught up: a quorum decides
                self._index = 0
                continue
            self._index = index
            # Under an empty prefix the keys of others, marks among them, wake the query as well: asked anew ever less quickly.
            pause_s = _PAUSE_S if self._tell(found) else min(2 * pause_s, _LONGEST_PAUSE_S)
            await asyncio.sleep(jitter(pause_s / 2, pause_s))

    async def write(self, election: str, kind: str, value: bytes | None, version: int) -> int | Problem | None:
        """Put `value` (None: nothing) in place of `version`: the new version; None if it is another version; or what failed."""
        key = self._session.keys.record(election, kind)
        op = wire.write_record(key, version, value) if value is not None else wire.delete_record(key, version)
        try:
            txn = await self._session.txn([op])
        except CallFailed as error:
            return error.problem
        if not txn.ok:
            return None
        found = txn.find(key)
        if value is None:
            return 0
        if found is None:
            return Problem(Outcome.UNKNOWN, Reason.WRONG_PROTOCOL, f"txn: the answer does not show {key}")
        return found.modify_index

    # ---- inside

    @property
    def _prefix(self) -> str:
        return self._session.keys.records

    async def _read(self) -> None:
        found, self._index = await self._session.read_tree(self._prefix)
        self._tell(found)

    def _tell(self, found: tuple[wire.Record, ...]) -> bool:
        """Tell what has changed; whether anything has."""
        keys = self._session.keys
        now = {place: record for record in found if (place := keys.place(record.key)) is not None}
        gone = [place for place in self._known if place not in now]
        changed = [(place, record) for place, record in now.items() if self._known.get(place) != record.modify_index]
        for place in gone:
            del self._known[place]
            self._seen(*place, None, 0)
        for place, record in changed:
            self._known[place] = record.modify_index
            self._seen(*place, wire.read_value(record), record.modify_index)
        return bool(gone or changed)
