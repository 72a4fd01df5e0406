"""Why an election is, or is not, led from here, in one sentence: first how things stand, then what made them so. Pure: words only.

Two witnesses: this daemon's journal, which knows the particulars of what happened to itself; and the history in the store, in which
every leader has said why its term ended. The second one knows what happened before we started, and to others.
"""

from __future__ import annotations

import time
from collections.abc import Sequence
from dataclasses import dataclass

from leaderd.election.history import WITHOUT_SAYING, TermRecord
from leaderd.election.problems import Reason
from leaderd.election.state import ElectionView, Snapshot, State

_GIVEN_UP = {
    Reason.RESIGNED: "an operator had it resign",
    Reason.DRAINING: "the daemon was told to stop",
    Reason.CORDONED: "an operator took this instance out of the election",
    Reason.PAUSED: "an operator paused the election",
    Reason.SUSPENDED: "the connection to the store broke, and on_suspend is step_down",
}
_NOT_LEADING = {
    Reason.STARTING: "this daemon has just started",
    Reason.STANDING: "it has asked the store for a place in the queue, and waits for the answer",
    Reason.CORDONED: "an operator took this instance out of the election",
    Reason.PAUSED: "an operator paused the election",
    Reason.DRAINING: "this daemon is about to stop",
    Reason.RESIGNED: "it resigned, and waits before it stands again",
    Reason.LOCK_DELAY: "Consul holds the lock back after a session that ended early",
}
_ENDED = {
    Reason.RESIGNED: "an operator had it resign",
    Reason.DRAINING: "its daemon was told to stop",
    Reason.CORDONED: "an operator took it out of the election",
    Reason.PAUSED: "an operator paused the election",
    Reason.SUSPENDED: "its connection to the store broke, and its on_suspend is step_down",
    Reason.LEASE_EXPIRED: "no quorum confirmed its lease in time",
    Reason.SESSION_GONE: "the store had ended its session",
    Reason.ENTRY_GONE: "its entry in the store was deleted by somebody else",
    Reason.CLOCK_JUMPED: "its clock jumped",
    WITHOUT_SAYING: "it could not say why (killed, or cut off from the store)",
}
_SILENCE = {Reason.LEASE_EXPIRED, Reason.STORE_SILENT, Reason.STORE_UNREACHABLE, Reason.STALE_STORE_NODE}


@dataclass(frozen=True, slots=True)
class Loss:
    """The end of a term of ours: when, in seconds since the epoch, which one, and why."""

    at_s: float
    token: int
    cause: str


@dataclass(frozen=True, slots=True)
class Story:
    """What the sentence is made of. `silence`: for how long the store has not answered, in words; `since_s`: since when the leader
    we see has led, as far as we saw it begin; `terms`: the history, oldest first."""

    view: ElectionView
    snapshot: Snapshot
    now_s: float
    wall_s: float
    silence: str
    lost: Loss | None = None
    since_s: float | None = None
    terms: Sequence[TermRecord] = ()


def summary(story: Story) -> str:
    """How things stand; then why."""
    now = _present(story)
    before = _before(story, now)
    return f"{now}; {before}" if before else now


def cause(view: ElectionView, silence: str) -> str:
    """Why our term ended, at the instant at which it did."""
    if view.reason in _GIVEN_UP:
        return _with_detail(_GIVEN_UP[view.reason], view)
    if view.reason is Reason.LEASE_HELD:
        return "a new term of its own began"
    return silence if view.reason in _SILENCE else plain(view)


def ended(term: TermRecord, wall_s: float) -> str:
    """How a term ended, as its leader, or its successor, wrote it down."""
    assert term.ended_at_s is not None
    reason = term.reason or WITHOUT_SAYING
    until = clock_time(term.ended_at_s, wall_s)
    return f"{term.leader} led with token {term.token} until {until}: {_ENDED.get(reason, _spaced(reason))}"


def plain(view: ElectionView) -> str:
    """The reason of the present state, in the store's own words if it has any."""
    return view.detail or _spaced(view.reason)


def led_by(name: str, token: int | None) -> str:
    """Who leads, and with which token, if that is known."""
    return name if token is None else f"{name} (token {token})"


def clock_time(at_s: float, wall_s: float) -> str:
    """A time of day in UTC, with its date if that is not today."""
    at, today = time.gmtime(at_s), time.gmtime(wall_s)
    return time.strftime("%H:%M:%SZ" if at[:3] == today[:3] else "%Y-%m-%dT%H:%M:%SZ", at)


# ---- how things stand


def _present(story: Story) -> str:
    view, snapshot, now_s = story.view, story.snapshot, story.now_s
    if view.term is not None and view.term.held(now_s):
        since = clock_time(story.wall_s - (now_s - view.term.started_s), story.wall_s)
        leads = f"{snapshot.instance} leads since {since} with token {view.term.token}"
        if view.state_at(now_s) is not State.SUSPENDED:
            return leads
        until = clock_time(story.wall_s + (view.term.valid_until_s - now_s), story.wall_s)
        return f"{leads}, in doubt: {story.silence}; unless confirmed it ends at {until}"
    if not snapshot.connected:
        return f"{story.silence}: it is not known who leads"
    leader = _leader(story)
    if view.reason in _NOT_LEADING:
        stands = _with_detail(_NOT_LEADING[view.reason], view) + _pause_ends(story)
        return f"{stands}; {leader}" if leader else stands
    if leader:
        place = next((number for number, contender in enumerate(view.contenders) if contender.own), None)
        return leader + (f"; this instance is number {place + 1} in the queue" if place else "")
    return view.detail or f"nobody leads: {_spaced(view.reason)}"


def _leader(story: Story) -> str:
    """Another one that leads, since when; empty if none is known to."""
    view = story.view
    if view.leader is None or not view.led or (view.contenders and view.contenders[0].own):
        return ""
    token = view.contenders[0].token if view.contenders else None
    last = story.terms[-1] if story.terms else None
    known = last is not None and last.ended_at_s is None and last.leader == view.leader and token in {None, last.token}
    since_s = last.started_at_s if known and last is not None else story.since_s
    since = "" if since_s is None else f" since {clock_time(since_s, story.wall_s)}"
    return f"{led_by(view.leader, token)} leads{since}"


def _pause_ends(story: Story) -> str:
    pause = story.view.pause
    if story.view.reason is not Reason.PAUSED or pause is None or pause.expires_at_s is None:
        return ""
    return f", until {clock_time(pause.expires_at_s, story.wall_s)}"


# ---- and why


def _before(story: Story, now: str) -> str:
    """The end of the last term before the present one; without its cause, where `now` says it already."""
    lost, term = story.lost, next((term for term in reversed(story.terms) if term.ended_at_s is not None), None)
    if lost is not None and (term is None or term.token <= lost.token):
        text = f"this instance lost token {lost.token} at {clock_time(lost.at_s, story.wall_s)}"
        return text if lost.cause in now else f"{text}: {lost.cause}"
    return ended(term, story.wall_s) if term is not None else ""


def _with_detail(text: str, view: ElectionView) -> str:
    return f"{text} ({view.detail})" if view.detail else text


def _spaced(reason: str) -> str:
    return reason.replace("_", " ")
