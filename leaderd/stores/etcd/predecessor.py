"""The watch on the entry before ours; and in the same watch on ours, if no other is before it: both are told of in order, then."""

from __future__ import annotations

from typing import Protocol

from leaderd.stores.etcd.watcher import Watcher
from leaderd.stores.etcd.wire import KeyValue, WatchEvent


class Heir(Protocol):
    """Whose predecessor it is."""

    def older_deleted(self, kv: KeyValue, in_order: bool) -> None:
        """The predecessor has gone. `in_order`: and up to then, by the same watch, nothing had happened to our own entry."""

    def own_changed(self, event: WatchEvent) -> None:
        """Our own key changed."""

    def older_missed(self) -> None:
        """The watch ended, its past was compacted away: read again."""


class Predecessor:
    """At most one watch at a time; `own` is our own entry's key."""

    def __init__(self, watcher: Watcher, own: bytes, heir: Heir) -> None:
        self._watcher = watcher
        self._own = own
        self._heir = heir
        self._now: _Watch | None = None
        self._last: _Watch | None = None
        """The watch that told of the predecessor's deletion, until it is dropped: it goes on to tell of our own entry."""
        self._number: int | None = None

    def watch(self, kv: KeyValue, revision: int, next_in_line: bool) -> bool:
        """Watch the entry `kv` from after `revision` on, and ours with it if we are `next_in_line`; False if that is so already."""
        now, wanted = self._now, (kv.key, kv.create_revision, next_in_line)
        if now is not None and (now.kv.key, now.kv.create_revision, now.next_in_line) == wanted:
            return False
        self.stop()
        watch = self._now = _Watch(self, kv, next_in_line)
        if next_in_line:
            first, last = min(kv.key, self._own), max(kv.key, self._own)
            self._number = self._watcher.add(first, revision + 1, watch, range_end=last + b"\0")
        else:
            self._number = self._watcher.add(kv.key, revision + 1, watch, deletes_only=True)
        return True

    def stop(self) -> None:
        """Watch nothing; nothing more is told."""
        self._now = self._last = None
        if self._number is not None:
            self._watcher.drop(self._number)
            self._number = None

    def told(self, watch: _Watch, event: WatchEvent) -> None:
        """A watch told of a change."""
        if watch.next_in_line and event.kv.key == self._own:
            # Both may go in one transaction, the predecessor's first: then ours is in the same message, read before we claim.
            # Safety: see test_ready_without_the_own_entrys_events, test_both_entries_deleted_at_once
            if watch in (self._now, self._last):
                self._heir.own_changed(event)
        elif watch is self._now and event.deleted and event.kv.key == watch.kv.key:
            self._now, self._last = None, watch  # dropped later: a hand-over waits for nothing
            self._heir.older_deleted(watch.kv, watch.next_in_line)

    def ended(self, watch: _Watch) -> None:
        """A watch cannot go on."""
        if watch is self._now:
            self._now = self._number = None
            self._heir.older_missed()


class _Watch:
    __slots__ = ("_predecessor", "kv", "next_in_line")

    def __init__(self, predecessor: Predecessor, kv: KeyValue, next_in_line: bool) -> None:
        self._predecessor = predecessor
        self.kv = kv
        self.next_in_line = next_in_line

    def changed(self, event: WatchEvent) -> None:
        self._predecessor.told(self, event)

    def missed(self) -> None:
        self._predecessor.ended(self)
