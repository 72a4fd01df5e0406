"""Who leads and who waits, for humans: queue listings turned into `QueueSeen`, with each name read once.

Listings carry keys only, so that a foreign key with a huge value costs nobody a renewal; names are read apart, at leisure.
"""

from __future__ import annotations

from dataclasses import dataclass, field
from typing import TYPE_CHECKING

from leaderd.election.events import Contender, QueueSeen
from leaderd.stores.etcd.transactions import Place, name_text
from leaderd.stores.etcd.wire import Found, Get, KeyValue, Txn, WireError

if TYPE_CHECKING:
    from leaderd.stores.etcd.session import Session

_BATCH = 20
_UNREADABLE = "?"


@dataclass(slots=True)
class _Listing:
    kvs: tuple[KeyValue, ...] = ()
    names: dict[bytes, tuple[int, str]] = field(default_factory=dict)
    told: tuple[Contender, ...] | None = None
    reading: bool = False


class Roster:
    """The last listing of each election. Names are those of a key's last modification."""

    def __init__(self, session: Session) -> None:
        self._session = session
        self._listings: dict[str, _Listing] = {}

    def saw(self, place: Place, found: Found) -> None:
        """Take in a listing; tell of it when it differs from the last one, once all names are known."""
        listing = self._listings.setdefault(place.election, _Listing())
        listing.kvs = found.kvs
        known = {kv.key for kv in found.kvs}
        listing.names = {key: name for key, name in listing.names.items() if key in known}
        for kv in found.kvs:
            if kv.lease == self._session.lease:
                listing.names[kv.key] = (kv.mod_revision, self._session.instance)
        if not self._unknown(listing):
            self._tell(place, listing)
        elif not listing.reading:
            listing.reading = True
            self._session.spawn(self._read_names(place, listing))

    def _unknown(self, listing: _Listing) -> list[KeyValue]:
        return [kv for kv in listing.kvs if listing.names.get(kv.key, (0, ""))[0] != kv.mod_revision]

    def _tell(self, place: Place, listing: _Listing) -> None:
        lease = self._session.lease
        contenders = tuple(Contender(listing.names[kv.key][1], kv.lease == lease, kv.create_revision) for kv in listing.kvs)
        if contenders != listing.told:
            listing.told = contenders
            self._session.emit(QueueSeen(self._session.epoch, place.election, contenders, led=bool(contenders)))

    async def _read_names(self, place: Place, listing: _Listing) -> None:
        try:
            while unknown := self._unknown(listing):
                await self._read_batch(listing, unknown[:_BATCH])
            self._tell(place, listing)
        except WireError:
            pass  # information only: the next listing tries again
        finally:
            listing.reading = False

    async def _read_batch(self, listing: _Listing, batch: list[KeyValue]) -> None:
        try:
            reply = await self._session.txn(Txn((), tuple(Get(kv.key, keys_only=False) for kv in batch)), repeatable=False)
        except WireError as e:
            if e.code != "RESOURCE_EXHAUSTED":
                raise
            # Too much for one answer: one by one, and what is too much by itself has no name.
            if len(batch) > 1:
                for kv in batch:
                    await self._read_batch(listing, [kv])
            else:
                listing.names[batch[0].key] = (batch[0].mod_revision, _UNREADABLE)
            return
        for kv, found in zip(batch, reply.results, strict=True):
            assert isinstance(found, Found)
            # A key that went meanwhile, or changed again, is put right by the next listing.
            name = name_text(found.kvs[0].value) if found.kvs else _UNREADABLE
            listing.names[kv.key] = (kv.mod_revision, name)
