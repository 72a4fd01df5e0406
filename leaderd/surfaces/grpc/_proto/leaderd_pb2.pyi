from google.protobuf import duration_pb2 as _duration_pb2
from google.protobuf import timestamp_pb2 as _timestamp_pb2
from google.protobuf.internal import containers as _containers
from google.protobuf.internal import enum_type_wrapper as _enum_type_wrapper
from google.protobuf import descriptor as _descriptor
from google.protobuf import message as _message
from typing import ClassVar as _ClassVar, Iterable as _Iterable, Mapping as _Mapping, Optional as _Optional, Union as _Union

DESCRIPTOR: _descriptor.FileDescriptor

class ElectionState(int, metaclass=_enum_type_wrapper.EnumTypeWrapper):
    __slots__ = ()
    ELECTION_STATE_UNSPECIFIED: _ClassVar[ElectionState]
    ELECTION_STATE_STARTING: _ClassVar[ElectionState]
    ELECTION_STATE_FOLLOWER: _ClassVar[ElectionState]
    ELECTION_STATE_LEADER: _ClassVar[ElectionState]
    ELECTION_STATE_SUSPENDED: _ClassVar[ElectionState]
    ELECTION_STATE_DRAINING: _ClassVar[ElectionState]
    ELECTION_STATE_PAUSED: _ClassVar[ElectionState]
    ELECTION_STATE_UNKNOWN: _ClassVar[ElectionState]

class ChangeKind(int, metaclass=_enum_type_wrapper.EnumTypeWrapper):
    __slots__ = ()
    CHANGE_KIND_UNSPECIFIED: _ClassVar[ChangeKind]
    CHANGE_KIND_STATE: _ClassVar[ChangeKind]
    CHANGE_KIND_ACQUIRED: _ClassVar[ChangeKind]
    CHANGE_KIND_LOST: _ClassVar[ChangeKind]
    CHANGE_KIND_LEADER_CHANGED: _ClassVar[ChangeKind]
    CHANGE_KIND_PAUSED: _ClassVar[ChangeKind]
    CHANGE_KIND_STORE: _ClassVar[ChangeKind]
    CHANGE_KIND_TICK: _ClassVar[ChangeKind]

class HoldPhase(int, metaclass=_enum_type_wrapper.EnumTypeWrapper):
    __slots__ = ()
    HOLD_PHASE_UNSPECIFIED: _ClassVar[HoldPhase]
    HOLD_PHASE_HELD: _ClassVar[HoldPhase]
    HOLD_PHASE_EXTENDED: _ClassVar[HoldPhase]
    HOLD_PHASE_ENDING: _ClassVar[HoldPhase]
    HOLD_PHASE_ENDED: _ClassVar[HoldPhase]
ELECTION_STATE_UNSPECIFIED: ElectionState
ELECTION_STATE_STARTING: ElectionState
ELECTION_STATE_FOLLOWER: ElectionState
ELECTION_STATE_LEADER: ElectionState
ELECTION_STATE_SUSPENDED: ElectionState
ELECTION_STATE_DRAINING: ElectionState
ELECTION_STATE_PAUSED: ElectionState
ELECTION_STATE_UNKNOWN: ElectionState
CHANGE_KIND_UNSPECIFIED: ChangeKind
CHANGE_KIND_STATE: ChangeKind
CHANGE_KIND_ACQUIRED: ChangeKind
CHANGE_KIND_LOST: ChangeKind
CHANGE_KIND_LEADER_CHANGED: ChangeKind
CHANGE_KIND_PAUSED: ChangeKind
CHANGE_KIND_STORE: ChangeKind
CHANGE_KIND_TICK: ChangeKind
HOLD_PHASE_UNSPECIFIED: HoldPhase
HOLD_PHASE_HELD: HoldPhase
HOLD_PHASE_EXTENDED: HoldPhase
HOLD_PHASE_ENDING: HoldPhase
HOLD_PHASE_ENDED: HoldPhase

class Store(_message.Message):
    __slots__ = ("kind", "connected", "last_seen_ms")
    KIND_FIELD_NUMBER: _ClassVar[int]
    CONNECTED_FIELD_NUMBER: _ClassVar[int]
    LAST_SEEN_MS_FIELD_NUMBER: _ClassVar[int]
    kind: str
    connected: bool
    last_seen_ms: int
    def __init__(self, kind: _Optional[str] = ..., connected: bool = ..., last_seen_ms: _Optional[int] = ...) -> None: ...

class Election(_message.Message):
    __slots__ = ("name", "leader", "state", "reason", "token", "instance", "leader_instance", "valid_for_ms", "valid_until_boottime_ns", "lease_remaining_ms", "term_started_at", "index", "store")
    NAME_FIELD_NUMBER: _ClassVar[int]
    LEADER_FIELD_NUMBER: _ClassVar[int]
    STATE_FIELD_NUMBER: _ClassVar[int]
    REASON_FIELD_NUMBER: _ClassVar[int]
    TOKEN_FIELD_NUMBER: _ClassVar[int]
    INSTANCE_FIELD_NUMBER: _ClassVar[int]
    LEADER_INSTANCE_FIELD_NUMBER: _ClassVar[int]
    VALID_FOR_MS_FIELD_NUMBER: _ClassVar[int]
    VALID_UNTIL_BOOTTIME_NS_FIELD_NUMBER: _ClassVar[int]
    LEASE_REMAINING_MS_FIELD_NUMBER: _ClassVar[int]
    TERM_STARTED_AT_FIELD_NUMBER: _ClassVar[int]
    INDEX_FIELD_NUMBER: _ClassVar[int]
    STORE_FIELD_NUMBER: _ClassVar[int]
    name: str
    leader: bool
    state: ElectionState
    reason: str
    token: int
    instance: str
    leader_instance: str
    valid_for_ms: int
    valid_until_boottime_ns: int
    lease_remaining_ms: int
    term_started_at: _timestamp_pb2.Timestamp
    index: int
    store: Store
    def __init__(self, name: _Optional[str] = ..., leader: bool = ..., state: _Optional[_Union[ElectionState, str]] = ..., reason: _Optional[str] = ..., token: _Optional[int] = ..., instance: _Optional[str] = ..., leader_instance: _Optional[str] = ..., valid_for_ms: _Optional[int] = ..., valid_until_boottime_ns: _Optional[int] = ..., lease_remaining_ms: _Optional[int] = ..., term_started_at: _Optional[_Union[_timestamp_pb2.Timestamp, _Mapping]] = ..., index: _Optional[int] = ..., store: _Optional[_Union[Store, _Mapping]] = ...) -> None: ...

class Candidate(_message.Message):
    __slots__ = ("instance", "token", "leader", "own")
    INSTANCE_FIELD_NUMBER: _ClassVar[int]
    TOKEN_FIELD_NUMBER: _ClassVar[int]
    LEADER_FIELD_NUMBER: _ClassVar[int]
    OWN_FIELD_NUMBER: _ClassVar[int]
    instance: str
    token: int
    leader: bool
    own: bool
    def __init__(self, instance: _Optional[str] = ..., token: _Optional[int] = ..., leader: bool = ..., own: bool = ...) -> None: ...

class Pause(_message.Message):
    __slots__ = ("by", "reason", "expires_at")
    BY_FIELD_NUMBER: _ClassVar[int]
    REASON_FIELD_NUMBER: _ClassVar[int]
    EXPIRES_AT_FIELD_NUMBER: _ClassVar[int]
    by: str
    reason: str
    expires_at: _timestamp_pb2.Timestamp
    def __init__(self, by: _Optional[str] = ..., reason: _Optional[str] = ..., expires_at: _Optional[_Union[_timestamp_pb2.Timestamp, _Mapping]] = ...) -> None: ...

class Timing(_message.Message):
    __slots__ = ("ttl", "renew_every", "valid_for_max", "promise")
    TTL_FIELD_NUMBER: _ClassVar[int]
    RENEW_EVERY_FIELD_NUMBER: _ClassVar[int]
    VALID_FOR_MAX_FIELD_NUMBER: _ClassVar[int]
    PROMISE_FIELD_NUMBER: _ClassVar[int]
    ttl: _duration_pb2.Duration
    renew_every: _duration_pb2.Duration
    valid_for_max: _duration_pb2.Duration
    promise: _duration_pb2.Duration
    def __init__(self, ttl: _Optional[_Union[_duration_pb2.Duration, _Mapping]] = ..., renew_every: _Optional[_Union[_duration_pb2.Duration, _Mapping]] = ..., valid_for_max: _Optional[_Union[_duration_pb2.Duration, _Mapping]] = ..., promise: _Optional[_Union[_duration_pb2.Duration, _Mapping]] = ...) -> None: ...

class GetElectionRequest(_message.Message):
    __slots__ = ("election", "promise", "min_valid", "token")
    ELECTION_FIELD_NUMBER: _ClassVar[int]
    PROMISE_FIELD_NUMBER: _ClassVar[int]
    MIN_VALID_FIELD_NUMBER: _ClassVar[int]
    TOKEN_FIELD_NUMBER: _ClassVar[int]
    election: str
    promise: _duration_pb2.Duration
    min_valid: _duration_pb2.Duration
    token: int
    def __init__(self, election: _Optional[str] = ..., promise: _Optional[_Union[_duration_pb2.Duration, _Mapping]] = ..., min_valid: _Optional[_Union[_duration_pb2.Duration, _Mapping]] = ..., token: _Optional[int] = ...) -> None: ...

class GetElectionResponse(_message.Message):
    __slots__ = ("election", "candidates", "timing", "pause")
    ELECTION_FIELD_NUMBER: _ClassVar[int]
    CANDIDATES_FIELD_NUMBER: _ClassVar[int]
    TIMING_FIELD_NUMBER: _ClassVar[int]
    PAUSE_FIELD_NUMBER: _ClassVar[int]
    election: Election
    candidates: _containers.RepeatedCompositeFieldContainer[Candidate]
    timing: Timing
    pause: Pause
    def __init__(self, election: _Optional[_Union[Election, _Mapping]] = ..., candidates: _Optional[_Iterable[_Union[Candidate, _Mapping]]] = ..., timing: _Optional[_Union[Timing, _Mapping]] = ..., pause: _Optional[_Union[Pause, _Mapping]] = ...) -> None: ...

class ListElectionsRequest(_message.Message):
    __slots__ = ()
    def __init__(self) -> None: ...

class ListElectionsResponse(_message.Message):
    __slots__ = ("instance", "incarnation", "store", "elections", "instance_uid")
    INSTANCE_FIELD_NUMBER: _ClassVar[int]
    INCARNATION_FIELD_NUMBER: _ClassVar[int]
    STORE_FIELD_NUMBER: _ClassVar[int]
    ELECTIONS_FIELD_NUMBER: _ClassVar[int]
    INSTANCE_UID_FIELD_NUMBER: _ClassVar[int]
    instance: str
    incarnation: str
    store: Store
    elections: _containers.RepeatedCompositeFieldContainer[Election]
    instance_uid: str
    def __init__(self, instance: _Optional[str] = ..., incarnation: _Optional[str] = ..., store: _Optional[_Union[Store, _Mapping]] = ..., elections: _Optional[_Iterable[_Union[Election, _Mapping]]] = ..., instance_uid: _Optional[str] = ...) -> None: ...

class WatchElectionRequest(_message.Message):
    __slots__ = ("election", "promise")
    ELECTION_FIELD_NUMBER: _ClassVar[int]
    PROMISE_FIELD_NUMBER: _ClassVar[int]
    election: str
    promise: _duration_pb2.Duration
    def __init__(self, election: _Optional[str] = ..., promise: _Optional[_Union[_duration_pb2.Duration, _Mapping]] = ...) -> None: ...

class WatchElectionResponse(_message.Message):
    __slots__ = ("kind", "election")
    KIND_FIELD_NUMBER: _ClassVar[int]
    ELECTION_FIELD_NUMBER: _ClassVar[int]
    kind: ChangeKind
    election: Election
    def __init__(self, kind: _Optional[_Union[ChangeKind, str]] = ..., election: _Optional[_Union[Election, _Mapping]] = ...) -> None: ...

class HoldTermRequest(_message.Message):
    __slots__ = ("election", "promise", "min_valid", "token", "fixed")
    ELECTION_FIELD_NUMBER: _ClassVar[int]
    PROMISE_FIELD_NUMBER: _ClassVar[int]
    MIN_VALID_FIELD_NUMBER: _ClassVar[int]
    TOKEN_FIELD_NUMBER: _ClassVar[int]
    FIXED_FIELD_NUMBER: _ClassVar[int]
    election: str
    promise: _duration_pb2.Duration
    min_valid: _duration_pb2.Duration
    token: int
    fixed: bool
    def __init__(self, election: _Optional[str] = ..., promise: _Optional[_Union[_duration_pb2.Duration, _Mapping]] = ..., min_valid: _Optional[_Union[_duration_pb2.Duration, _Mapping]] = ..., token: _Optional[int] = ..., fixed: bool = ...) -> None: ...

class HoldTermResponse(_message.Message):
    __slots__ = ("phase", "token", "valid_until_boottime_ns", "valid_for_ms", "election")
    PHASE_FIELD_NUMBER: _ClassVar[int]
    TOKEN_FIELD_NUMBER: _ClassVar[int]
    VALID_UNTIL_BOOTTIME_NS_FIELD_NUMBER: _ClassVar[int]
    VALID_FOR_MS_FIELD_NUMBER: _ClassVar[int]
    ELECTION_FIELD_NUMBER: _ClassVar[int]
    phase: HoldPhase
    token: int
    valid_until_boottime_ns: int
    valid_for_ms: int
    election: Election
    def __init__(self, phase: _Optional[_Union[HoldPhase, str]] = ..., token: _Optional[int] = ..., valid_until_boottime_ns: _Optional[int] = ..., valid_for_ms: _Optional[int] = ..., election: _Optional[_Union[Election, _Mapping]] = ...) -> None: ...

class GetHistoryRequest(_message.Message):
    __slots__ = ("election",)
    ELECTION_FIELD_NUMBER: _ClassVar[int]
    election: str
    def __init__(self, election: _Optional[str] = ...) -> None: ...

class Term(_message.Message):
    __slots__ = ("token", "leader", "started_at", "ended_at", "reason")
    TOKEN_FIELD_NUMBER: _ClassVar[int]
    LEADER_FIELD_NUMBER: _ClassVar[int]
    STARTED_AT_FIELD_NUMBER: _ClassVar[int]
    ENDED_AT_FIELD_NUMBER: _ClassVar[int]
    REASON_FIELD_NUMBER: _ClassVar[int]
    token: int
    leader: str
    started_at: _timestamp_pb2.Timestamp
    ended_at: _timestamp_pb2.Timestamp
    reason: str
    def __init__(self, token: _Optional[int] = ..., leader: _Optional[str] = ..., started_at: _Optional[_Union[_timestamp_pb2.Timestamp, _Mapping]] = ..., ended_at: _Optional[_Union[_timestamp_pb2.Timestamp, _Mapping]] = ..., reason: _Optional[str] = ...) -> None: ...

class GetHistoryResponse(_message.Message):
    __slots__ = ("election", "terms")
    ELECTION_FIELD_NUMBER: _ClassVar[int]
    TERMS_FIELD_NUMBER: _ClassVar[int]
    election: str
    terms: _containers.RepeatedCompositeFieldContainer[Term]
    def __init__(self, election: _Optional[str] = ..., terms: _Optional[_Iterable[_Union[Term, _Mapping]]] = ...) -> None: ...

class ExplainElectionRequest(_message.Message):
    __slots__ = ("election",)
    ELECTION_FIELD_NUMBER: _ClassVar[int]
    election: str
    def __init__(self, election: _Optional[str] = ...) -> None: ...

class Occurrence(_message.Message):
    __slots__ = ("at", "kind", "text", "token", "times", "last_at")
    AT_FIELD_NUMBER: _ClassVar[int]
    KIND_FIELD_NUMBER: _ClassVar[int]
    TEXT_FIELD_NUMBER: _ClassVar[int]
    TOKEN_FIELD_NUMBER: _ClassVar[int]
    TIMES_FIELD_NUMBER: _ClassVar[int]
    LAST_AT_FIELD_NUMBER: _ClassVar[int]
    at: _timestamp_pb2.Timestamp
    kind: str
    text: str
    token: int
    times: int
    last_at: _timestamp_pb2.Timestamp
    def __init__(self, at: _Optional[_Union[_timestamp_pb2.Timestamp, _Mapping]] = ..., kind: _Optional[str] = ..., text: _Optional[str] = ..., token: _Optional[int] = ..., times: _Optional[int] = ..., last_at: _Optional[_Union[_timestamp_pb2.Timestamp, _Mapping]] = ...) -> None: ...

class ExplainElectionResponse(_message.Message):
    __slots__ = ("election", "summary", "occurrences")
    ELECTION_FIELD_NUMBER: _ClassVar[int]
    SUMMARY_FIELD_NUMBER: _ClassVar[int]
    OCCURRENCES_FIELD_NUMBER: _ClassVar[int]
    election: str
    summary: str
    occurrences: _containers.RepeatedCompositeFieldContainer[Occurrence]
    def __init__(self, election: _Optional[str] = ..., summary: _Optional[str] = ..., occurrences: _Optional[_Iterable[_Union[Occurrence, _Mapping]]] = ...) -> None: ...

class ResignRequest(_message.Message):
    __slots__ = ("election", "cooldown", "if_token")
    ELECTION_FIELD_NUMBER: _ClassVar[int]
    COOLDOWN_FIELD_NUMBER: _ClassVar[int]
    IF_TOKEN_FIELD_NUMBER: _ClassVar[int]
    election: str
    cooldown: _duration_pb2.Duration
    if_token: int
    def __init__(self, election: _Optional[str] = ..., cooldown: _Optional[_Union[_duration_pb2.Duration, _Mapping]] = ..., if_token: _Optional[int] = ...) -> None: ...

class ResignResponse(_message.Message):
    __slots__ = ("election", "token", "released", "took_ms")
    ELECTION_FIELD_NUMBER: _ClassVar[int]
    TOKEN_FIELD_NUMBER: _ClassVar[int]
    RELEASED_FIELD_NUMBER: _ClassVar[int]
    TOOK_MS_FIELD_NUMBER: _ClassVar[int]
    election: Election
    token: int
    released: bool
    took_ms: int
    def __init__(self, election: _Optional[_Union[Election, _Mapping]] = ..., token: _Optional[int] = ..., released: bool = ..., took_ms: _Optional[int] = ...) -> None: ...

class TransferRequest(_message.Message):
    __slots__ = ("election", "to", "timeout", "if_token")
    ELECTION_FIELD_NUMBER: _ClassVar[int]
    TO_FIELD_NUMBER: _ClassVar[int]
    TIMEOUT_FIELD_NUMBER: _ClassVar[int]
    IF_TOKEN_FIELD_NUMBER: _ClassVar[int]
    election: str
    to: str
    timeout: _duration_pb2.Duration
    if_token: int
    def __init__(self, election: _Optional[str] = ..., to: _Optional[str] = ..., timeout: _Optional[_Union[_duration_pb2.Duration, _Mapping]] = ..., if_token: _Optional[int] = ...) -> None: ...

class TransferResponse(_message.Message):
    __slots__ = ("confirmed", "election", "token", "to", "new_token", "leaderless_ms")
    CONFIRMED_FIELD_NUMBER: _ClassVar[int]
    ELECTION_FIELD_NUMBER: _ClassVar[int]
    TOKEN_FIELD_NUMBER: _ClassVar[int]
    TO_FIELD_NUMBER: _ClassVar[int]
    NEW_TOKEN_FIELD_NUMBER: _ClassVar[int]
    LEADERLESS_MS_FIELD_NUMBER: _ClassVar[int]
    confirmed: bool
    election: Election
    token: int
    to: str
    new_token: int
    leaderless_ms: int
    def __init__(self, confirmed: bool = ..., election: _Optional[_Union[Election, _Mapping]] = ..., token: _Optional[int] = ..., to: _Optional[str] = ..., new_token: _Optional[int] = ..., leaderless_ms: _Optional[int] = ...) -> None: ...

class SetCandidacyRequest(_message.Message):
    __slots__ = ("election", "standing")
    ELECTION_FIELD_NUMBER: _ClassVar[int]
    STANDING_FIELD_NUMBER: _ClassVar[int]
    election: str
    standing: bool
    def __init__(self, election: _Optional[str] = ..., standing: bool = ...) -> None: ...

class SetCandidacyResponse(_message.Message):
    __slots__ = ("election", "standing", "changed")
    ELECTION_FIELD_NUMBER: _ClassVar[int]
    STANDING_FIELD_NUMBER: _ClassVar[int]
    CHANGED_FIELD_NUMBER: _ClassVar[int]
    election: Election
    standing: bool
    changed: bool
    def __init__(self, election: _Optional[_Union[Election, _Mapping]] = ..., standing: bool = ..., changed: bool = ...) -> None: ...

class SetPausedRequest(_message.Message):
    __slots__ = ("election", "paused", "reason", "expires_in")
    ELECTION_FIELD_NUMBER: _ClassVar[int]
    PAUSED_FIELD_NUMBER: _ClassVar[int]
    REASON_FIELD_NUMBER: _ClassVar[int]
    EXPIRES_IN_FIELD_NUMBER: _ClassVar[int]
    election: str
    paused: bool
    reason: str
    expires_in: _duration_pb2.Duration
    def __init__(self, election: _Optional[str] = ..., paused: bool = ..., reason: _Optional[str] = ..., expires_in: _Optional[_Union[_duration_pb2.Duration, _Mapping]] = ...) -> None: ...

class SetPausedResponse(_message.Message):
    __slots__ = ("election", "pause", "was")
    ELECTION_FIELD_NUMBER: _ClassVar[int]
    PAUSE_FIELD_NUMBER: _ClassVar[int]
    WAS_FIELD_NUMBER: _ClassVar[int]
    election: Election
    pause: Pause
    was: Pause
    def __init__(self, election: _Optional[_Union[Election, _Mapping]] = ..., pause: _Optional[_Union[Pause, _Mapping]] = ..., was: _Optional[_Union[Pause, _Mapping]] = ...) -> None: ...
