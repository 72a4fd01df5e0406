"""Rules between keys: timings that cannot be safe, credentials that would be ignored, listeners in each other's way."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass, replace

from leaderd.config.durations import format_duration
from leaderd.config.model import GrpcListener, HostPort, Listen, StoreConfig
from leaderd.election.timing import RULES, Timing

_RECOMMENDED_TTL_S = {"zookeeper": 6.0, "etcd": 5.0, "consul": 10.0}
_WHY_RECOMMENDED = {
    "zookeeper": "servers with the usual tickTime of 2 s grant no less than 4 s, and 6 s leave room for a lost renewal",
    "etcd": "etcd keeps back a second for its own leader changes",
    "consul": "Consul refuses it unless the servers are configured with a lower session_ttl_min",
}
_AUTH_OF: dict[str, tuple[str, ...]] = {
    "etcd": ("username", "password_file"),
    "zookeeper": ("username", "password_file"),
    "consul": ("token_file",),
    "local": (),
}
_WILDCARDS = frozenset({"0.0.0.0", "::"})
Refuse = Callable[[str, str, str], None]
"""Called with key, rule and remedy."""


@dataclass(frozen=True, slots=True)
class Defaults:
    """Which timings were left out, and so follow the ttl."""

    renew_every: bool
    promise: bool
    margin: bool


def make_timing(ttl_s: float, renew_s: float | None, promise_s: float | None, margin_s: float | None, base: Timing) -> Timing:
    """The timings, with those left out in proportion to the ttl; `base` has what does not depend on it."""
    return replace(
        base,
        ttl_s=ttl_s,
        renew_every_s=ttl_s / 5 if renew_s is None else renew_s,
        promise_s=min(1.0, ttl_s / 10) if promise_s is None else promise_s,
        margin_s=min(0.5, ttl_s / 20) if margin_s is None else margin_s,
    )


def check_timing(kind: str, timing: Timing, defaults: Defaults, refuse: Refuse) -> None:
    """Refuse every timing with which leadership could not be safe, or could never last."""
    rule, ttl_s = RULES[kind], timing.ttl_s
    renew, valid_s = format_duration(timing.renew_every_s), timing.valid_for_s(RULES[kind], ttl_s)
    within = rule.min_ttl_s <= ttl_s <= rule.max_ttl_s
    if not within:
        limits = f"{format_duration(rule.min_ttl_s)} to {format_duration(rule.max_ttl_s)}"
        refuse("timing.ttl", f"is outside what {kind} grants, {limits}", "choose a ttl within these limits; 10s suits most")
    if timing.renew_every_s <= 0:
        if not defaults.renew_every:
            refuse("timing.renew_every", "must be above zero", "leave it out: ttl/5 is the default")
        return
    if timing.renew_every_s < ttl_s / 100:
        least = format_duration(_floor_ms(ttl_s / 100))
        refuse(
            "timing.renew_every",
            f"must be at least a hundredth of the ttl, {least}",
            "oftener only burdens the store; ttl/5 is usual",
        )
        return
    if timing.renew_every_s * 3 > ttl_s * (1 + 1e-9):
        refuse(
            "timing.renew_every",
            f"three renewals must fit into the ttl of {format_duration(ttl_s)}",
            f"a single lost message would end leadership: write {format_duration(_floor_ms(ttl_s / 3))} or less, or raise the ttl",
        )
        return
    if not within:
        return
    if valid_s < 2 * timing.renew_every_s:
        blamed = "timing.ttl"
        if not defaults.margin and timing.margin_s > ttl_s / 20:
            blamed = "timing.margin"
        elif not defaults.renew_every and timing.renew_every_s > ttl_s / 5:
            blamed = "timing.renew_every"
        left = (
            "no time to lead"
            if valid_s <= 0
            else f"{format_duration(_floor_ms(valid_s))} to lead, less than two renewals of {renew}"
        )
        refuse(
            blamed,
            f"a ttl of {format_duration(ttl_s)} on {kind} leaves {left} after each renewal",
            _more_room(kind, timing, defaults),
        )
    elif timing.promise_s > valid_s:
        refuse(
            "timing.promise",
            f"a renewal is valid for {format_duration(_floor_ms(valid_s))} only, with this ttl, drift and margin on {kind}",
            "a yes cannot be promised for longer: lower it or raise the ttl",
        )


def _more_room(kind: str, timing: Timing, defaults: Defaults) -> str:
    """The least ttl, in steps of 100 ms, that would be safe with everything else as it is."""
    for step in range(int(timing.ttl_s * 10) + 1, int(timing.ttl_s * 10) + 1000):
        ttl_s = step / 10
        better = make_timing(
            ttl_s,
            None if defaults.renew_every else timing.renew_every_s,
            None if defaults.promise else timing.promise_s,
            None if defaults.margin else timing.margin_s,
            timing,
        )
        if better.valid_for_s(RULES[kind], ttl_s) >= 2 * better.renew_every_s:
            return f"raise the ttl to {format_duration(ttl_s)} or more, or lower margin, renew_every or clock_drift"
    return "lower margin, renew_every or clock_drift"


def timing_warnings(kind: str, timing: Timing) -> list[str]:
    """What is safe but hardly wise."""
    lines = []
    if timing.ttl_s < _RECOMMENDED_TTL_S.get(kind, 0.0):
        least = format_duration(_RECOMMENDED_TTL_S[kind])
        lines.append(f"timing.ttl is {format_duration(timing.ttl_s)}, less than the {least} recommended: {_WHY_RECOMMENDED[kind]}")
    if timing.margin_s == 0:
        lines.append("timing.margin is 0: nothing is kept back for the way of an answer to the app")
    return lines


def check_store(store: StoreConfig, refuse: Refuse) -> list[str]:
    """Refuse TLS files and credentials that the store would never see; the warnings about those it would see in the clear."""
    kind, tls = store.address.kind, store.tls
    given = [name for name in ("ca_file", "cert_file", "key_file") if getattr(tls, name)]
    if given and not store.address.tls:
        scheme = store.url.partition("://")[0]
        remedy = "remove it" if kind == "local" else f"write {kind}s:// in store.url"
        for name in given:
            refuse(f"store.tls.{name}", f"the store is reached as {scheme}://, without TLS", remedy)
    if (tls.cert_file is None) != (tls.key_file is None):
        have, lack = ("cert_file", "key_file") if tls.cert_file else ("key_file", "cert_file")
        refuse(
            f"store.tls.{have}", f"store.tls.{lack} is missing", "a certificate and its key come together: give both, or neither"
        )
    auth = store.credentials
    named = [name for name in ("username", "password_file", "token_file") if getattr(auth, name)]
    for name in named:
        if name not in _AUTH_OF[kind]:
            takes = " and ".join(_AUTH_OF[kind]) or "no credentials"
            refuse(f"store.auth.{name}", f"{kind} takes {takes}", "remove it: it would be ignored")
    if "username" in _AUTH_OF[kind] and (auth.username is None) != (auth.password_file is None):
        have, lack = ("username", "password_file") if auth.username else ("password_file", "username")
        refuse(f"store.auth.{have}", f"store.auth.{lack} is missing", "they come together: give both, or neither")
    away = [host for host, _ in store.address.hosts if not (host in {"localhost", "::1"} or host.startswith("127."))]
    if named and away and not store.address.tls:
        return [f"the credentials of store.auth travel to {away[0]} in the clear: use {kind}s://"]
    return []


def check_listen(listen: Listen, refuse: Refuse) -> list[str]:
    """Refuse two listeners on one port; warnings about who can, or cannot, ask."""
    warnings = []
    http, ops = listen.http, listen.ops
    if http and ops and http.port == ops.port != 0 and (http.host == ops.host or {http.host, ops.host} & _WILDCARDS):
        refuse("listen.ops", f"listen.http uses port {http.port} already", "choose two ports, or switch one off")
    if http and not http.loopback:
        warnings.append(
            f"listen.http is {http}, open to other hosts: the app listener is meant for loopback, listen.ops for others"
        )
    if listen.grpc is not None:
        _check_grpc(listen.grpc, listen, refuse)
    if not (http or ops or listen.socket or listen.grpc):
        warnings.append("every listener is off: nobody can ask who leads")
    return warnings


def _check_grpc(grpc: GrpcListener, listen: Listen, refuse: Refuse) -> None:
    address, given = grpc.address, [name for name in ("cert_file", "key_file", "client_ca_file") if getattr(grpc, name)]
    if not isinstance(address, HostPort):
        if listen.socket is not None and address.path == listen.socket.path:
            refuse("listen.grpc", "listen.socket uses that path already", "choose another path: unix: is one of its own")
        for name in given:
            refuse(f"grpc.tls.{name}", "gRPC is on a Unix socket, without TLS", "remove it, or set listen.grpc to HOST:PORT")
        return
    for key, other in (("listen.http", listen.http), ("listen.ops", listen.ops)):
        if other and other.port == address.port != 0 and (other.host == address.host or {other.host, address.host} & _WILDCARDS):
            refuse("listen.grpc", f"{key} uses port {address.port} already", "choose another port")
    if (grpc.cert_file is None) != (grpc.key_file is None):
        have, lack = ("cert_file", "key_file") if grpc.cert_file else ("key_file", "cert_file")
        refuse(f"grpc.tls.{have}", f"grpc.tls.{lack} is missing", "a certificate and its key come together: give both, or neither")
    elif grpc.cert_file is None and grpc.client_ca_file is not None:
        refuse("grpc.tls.client_ca_file", "grpc.tls.cert_file is missing", "clients show certificates over TLS only: give ours too")
    elif grpc.cert_file is None and not address.loopback:
        remedy = "give grpc.tls.cert_file and key_file, or listen on 127.0.0.1 or on unix:"
        refuse("listen.grpc", f"{address} is open to other hosts, and without TLS", remedy)


def _floor_ms(seconds: float) -> float:
    return int(seconds * 1000 + 1e-6) / 1000
