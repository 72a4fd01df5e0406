"""The configuration as the daemon uses it: frozen, complete, and safe (`relations` has agreed)."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, field
from pathlib import Path

from leaderd.election.timing import Timing
from leaderd.stores.address import Credentials, StoreAddress, Tls

DEFAULT_ORIGIN = "default"
"""Where a value comes from that nobody gave."""


@dataclass(frozen=True, slots=True)
class HostPort:
    """A TCP listener. Port 0 takes any free port; IPv6 hosts are without brackets."""

    host: str
    port: int

    def __str__(self) -> str:
        return f"[{self.host}]:{self.port}" if ":" in self.host else f"{self.host}:{self.port}"

    @property
    def loopback(self) -> bool:
        """Whether only this host (in a pod: this pod) can reach it."""
        return self.host in {"localhost", "::1"} or self.host.startswith("127.")


@dataclass(frozen=True, slots=True)
class SocketListener:
    """The Unix socket. `mode`: its permission bits. `group_id`: the group it is given to, `None` to leave it as it is."""

    path: Path
    mode: int = 0o660
    group_id: int | None = None


@dataclass(frozen=True, slots=True)
class GrpcListener:
    """The gRPC listener. With `cert_file` and `key_file` it speaks TLS; with `client_ca_file`, clients must show a certificate."""

    address: HostPort | SocketListener
    cert_file: Path | None = None
    key_file: Path | None = None
    client_ca_file: Path | None = None

    def __str__(self) -> str:
        return str(self.address) if isinstance(self.address, HostPort) else f"unix:{self.address.path}"


@dataclass(frozen=True, slots=True)
class Listen:
    """Where we answer; `None` is off. `http`, `socket` and `grpc` have everything, `ops` is read-only."""

    http: HostPort | None
    ops: HostPort | None
    socket: SocketListener | None
    grpc: GrpcListener | None = None


@dataclass(frozen=True, slots=True)
class StoreConfig:
    """Which store, and how to prove who we are. `defaulted`: nobody chose one, so it is the local store: it protects one host."""

    url: str
    address: StoreAddress
    tls: Tls
    credentials: Credentials
    defaulted: bool


@dataclass(frozen=True, slots=True)
class ElectionConfig:
    """One election to stand in."""

    name: str


@dataclass(frozen=True, slots=True)
class LogConfig:
    """`format`: `json`, `text` or `auto` (text on a terminal). `level`: `debug`, `info`, `warning` or `error`."""

    format: str = "auto"
    level: str = "info"


@dataclass(frozen=True, slots=True)
class TracingConfig:
    """`export`: `off`, or `otlp` for OpenTelemetry spans over OTLP/HTTP."""

    export: str = "off"


@dataclass(frozen=True, slots=True)
class HttpConfig:
    """`hosts`: names allowed in the Host header besides loopback names and own addresses, lower case, without port."""

    hosts: tuple[str, ...] = ()


@dataclass(frozen=True, slots=True)
class Operators:
    """`uids`: who may change things over the Unix socket, besides root and the daemon's own user."""

    uids: tuple[int, ...] = ()


@dataclass(frozen=True, slots=True)
class Config:
    """Everything the daemon was told, checked.."""

    instance: str
    instance_uid: str | None
    """Which bearer of that name: a pod's uid, where a StatefulSet gives a name again. Decides nothing, is only shown."""
    store: StoreConfig
    timing: Timing
    elections: tuple[ElectionConfig, ...]
    listen: Listen
    log: LogConfig
    http: HttpConfig
    operators: Operators
    runtime_dir: Path
    tracing: TracingConfig = TracingConfig()
    hooks: Mapping[str, tuple[str, ...]] = field(default_factory=dict)
    """What to call `on_acquire`, `on_lose`, `on_change`: a command's words, or one loopback address (see `leaderd.hooks`)."""
    warnings: tuple[str, ...] = ()
    """What is allowed but hardly meant: one line each, for the log."""
    shown: Mapping[str, tuple[str, str]] = field(default_factory=dict, compare=False, repr=False)
    """Key: (value as text, origin), secrets redacted; for `leaderd config show` and to say what a reload changed."""

    def changed_keys(self, other: Config) -> list[str]:
        """The keys somebody gave other values, for the line that says what a reload did; not the defaults that follow from them."""
        nothing = ("", DEFAULT_ORIGIN)
        keys = sorted({*self.shown, *other.shown})
        pairs = {key: (self.shown.get(key, nothing), other.shown.get(key, nothing)) for key in keys}
        return [key for key, ((was, of_was), (is_, of_is)) in pairs.items() if was != is_ and not of_was == of_is == DEFAULT_ORIGIN]
