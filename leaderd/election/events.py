"""Everything that can happen to a candidate: the whole vocabulary from the world to the core, in the past tense.

`epoch` numbers the sessions of one daemon: an event of an earlier session is recognised by it, and ignored. Instants are
seconds on CLOCK_BOOTTIME. `sent_at_s` is always read *before* the first byte of the request it belongs to was sent.
"""

from __future__ import annotations

from dataclasses import dataclass

from leaderd.election.problems import Problem, Reason

# ---- session


@dataclass(frozen=True, slots=True)
class SessionOpened:
    """The store granted a session (etcd lease, ZooKeeper or Consul session) of `ttl_s`, the *granted* or negotiated time."""

    epoch: int
    sent_at_s: float
    ttl_s: float


@dataclass(frozen=True, slots=True)
class SessionFailed:
    """No session could be opened."""

    epoch: int
    problem: Problem


@dataclass(frozen=True, slots=True)
class Renewed:
    """The store renewed the session, and a quorum of it confirmed the entries named in `owned`.

    `owned` and `lost` together are the elections asked about in the `Renew` command: those whose entry was proven to be ours
    (same session, same token), and those whose entry is gone or another's. `ttl_s` is the time granted by this renewal.
    """

    epoch: int
    sent_at_s: float
    ttl_s: float
    owned: frozenset[str] = frozenset()
    lost: frozenset[str] = frozenset()


@dataclass(frozen=True, slots=True)
class RenewFailed:
    """A renewal was refused, timed out, or could not be verified by a quorum. Says nothing about the session's life."""

    epoch: int
    sent_at_s: float
    problem: Problem


@dataclass(frozen=True, slots=True)
class SessionGone:
    """The store said that the session does not exist any more: expired, or revoked by an operator."""

    epoch: int
    problem: Problem


@dataclass(frozen=True, slots=True)
class Disconnected:
    """The transport to the store broke or fell silent. A hint: it shortens no term unless `on_suspend` is `step_down`."""

    epoch: int
    problem: Problem


@dataclass(frozen=True, slots=True)
class Connected:
    """The transport works again, in the same session. A hint: only a `Renewed` proves anything."""

    epoch: int


# ---- one election


@dataclass(frozen=True, slots=True)
class Queued:
    """Our entry stands in the election's queue. `token` is the one we would lead with, or None where only acquiring gives it."""

    epoch: int
    election: str
    token: int | None


@dataclass(frozen=True, slots=True)
class Elected:
    """The store shows our entry first. Not yet leadership: the entry must be proven by a `Claim`.

    `token` is the fencing token of our entry; `mark` is the election's high-water mark as the store holds it (0 if none).
    """

    epoch: int
    election: str
    token: int
    mark: int


@dataclass(frozen=True, slots=True)
class Claimed:
    """A quorum confirmed, in a request sent at `sent_at_s`, that our entry is alive and first, and raised the mark to `token`."""

    epoch: int
    election: str
    token: int
    sent_at_s: float


@dataclass(frozen=True, slots=True)
class StandFailed:
    """Standing or claiming failed. With outcome FAILED no entry of ours is left; with UNKNOWN one may be."""

    epoch: int
    election: str
    problem: Problem


@dataclass(frozen=True, slots=True)
class EntryGone:
    """Our entry was deleted, overwritten or detached by somebody else while the session lives."""

    epoch: int
    election: str
    problem: Problem


@dataclass(frozen=True, slots=True)
class Withdrawn:
    """Our entry is out of the election: released by us, or found gone already. `problem` is set when that is not certain."""

    epoch: int
    election: str
    problem: Problem | None = None


@dataclass(frozen=True, slots=True)
class Contender:
    """One entry in an election as the store shows it: whose it is, by name and by session, and its token where known."""

    instance: str
    own: bool
    token: int | None = None


@dataclass(frozen=True, slots=True)
class QueueSeen:
    """The store showed who leads and who waits, in order; the first one leads if `led`. Information only, for `status`."""

    epoch: int
    election: str
    contenders: tuple[Contender, ...]
    led: bool


# ---- the records beside an election


@dataclass(frozen=True, slots=True)
class RecordSeen:
    """A record is now `value` (None: there is none) in `version`; what a record means, only the core knows.

    What has not been told by the first `Elected` of a session is not there. Unknown kinds are told as well, and ignored.
    """

    epoch: int
    election: str
    kind: str
    value: bytes | None
    version: int


@dataclass(frozen=True, slots=True)
class RecordWritten:
    """Our write is committed; `version` is the record's now."""

    epoch: int
    election: str
    kind: str
    version: int


@dataclass(frozen=True, slots=True)
class RecordRefused:
    """Our write was not carried out: the record is of another version (`problem` None); or it may have been (UNKNOWN)."""

    epoch: int
    election: str
    kind: str
    problem: Problem | None = None


# ---- the daemon itself


@dataclass(frozen=True, slots=True)
class Started:
    """The daemon came up: stand in every election."""


@dataclass(frozen=True, slots=True)
class TimeReached:
    """The instant named by `next_deadline()` has come."""


@dataclass(frozen=True, slots=True)
class ClockJumped:
    """Wall clock and boot clock moved apart by more than the margin: this kernel may have been stopped without counting it.

    `jumps` is how many such jumps the clock has counted so far.
    """

    jumps: int


@dataclass(frozen=True, slots=True)
class ResignRequested:
    """Somebody asked this candidate to give its term up; it stands again after `cooldown_s` (None: not before `StandRequested`)."""

    election: str
    reason: Reason = Reason.RESIGNED
    cooldown_s: float | None = 0.0


@dataclass(frozen=True, slots=True)
class StandRequested:
    """Somebody asked this candidate to stand again."""

    election: str


@dataclass(frozen=True, slots=True)
class WriteRequested:
    """Somebody in this daemon wants a record written, as `WriteRecord` says; `ticket`, above 0, names the wish in the outcome."""

    election: str
    kind: str
    value: bytes | None
    version: int
    ticket: int


@dataclass(frozen=True, slots=True)
class DrainRequested:
    """The daemon is to stop: answer no, release when the promises have lapsed, close the session, stand no more."""


@dataclass(frozen=True, slots=True)
class ReleaseForced:
    """The operator asked a second time: release now, whatever was promised."""


SessionEvent = SessionOpened | SessionFailed | Renewed | RenewFailed | SessionGone | Disconnected | Connected
ElectionEvent = Queued | Elected | Claimed | StandFailed | EntryGone | Withdrawn | QueueSeen
RecordEvent = RecordSeen | RecordWritten | RecordRefused
DaemonEvent = (
    Started | TimeReached | ClockJumped | ResignRequested | StandRequested | WriteRequested | DrainRequested | ReleaseForced
)
StoreEvent = SessionEvent | ElectionEvent | RecordEvent
Event = StoreEvent | DaemonEvent
