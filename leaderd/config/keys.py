"""The one table of configuration keys: what `leaderd` can be told, by which names, and what each means.

Flags, environment, JSON schema, `config show` and the documentation are made from it; nothing else lists the keys.
"""

from __future__ import annotations

from dataclasses import dataclass
from enum import Enum, auto


class Kind(Enum):
    """What the text of a value must look like; `values` holds a reader for each, `schema` a pattern."""

    NAME = auto()
    URL = auto()
    FILE = auto()
    """A file that is no secret."""
    SECRET_FILE = auto()
    TEXT = auto()
    DURATION = auto()
    FRACTION = auto()
    CHOICE = auto()
    ELECTIONS = auto()
    """A list; in a variable with commas, as a flag given again and again."""
    HOST_PORT = auto()
    SOCKET_PATH = auto()
    MODE = auto()
    GROUP = auto()
    LISTENER = auto()
    """A Unix socket, as `unix:` or `unix:/path`, or a TCP address."""
    HOSTS = auto()
    UIDS = auto()
    WORDS = auto()
    """A command as a list of words, or one loopback address."""


LISTS = frozenset({Kind.ELECTIONS, Kind.HOSTS, Kind.UIDS, Kind.WORDS})


@dataclass(frozen=True, slots=True)
class Key:
    """One key. `default` is text to show; a default that depends on other keys is worked out in `load`."""

    path: str
    env: str
    kind: Kind
    default: str
    meaning: str
    flag: str | None = None
    metavar: str | None = None
    choices: tuple[str, ...] = ()


KEYS: tuple[Key, ...] = (
    Key("instance", "LEADERD_INSTANCE", Kind.NAME, "the host name", "the name others see this daemon by", "--instance", "NAME"),
    Key(
        "instance_uid",
        "LEADERD_INSTANCE_UID",
        Kind.NAME,
        "none",
        "which bearer of that name this is, such as the uid of a pod: shown in the log and in `/v1/elections`, and known to hooks",
    ),
    Key(
        "store.url",
        "LEADERD_STORE_URL",
        Kind.URL,
        "local:///var/lib/leaderd",
        "where elections are held: zookeeper://, etcd://, consul:// (each with an s for TLS) or local:///directory",
        "--store",
        "URL",
    ),
    Key(
        "store.tls.ca_file",
        "LEADERD_STORE_TLS_CA_FILE",
        Kind.FILE,
        "the system's",
        "PEM file of the authorities that sign the store's certificate",
    ),
    Key("store.tls.cert_file", "LEADERD_STORE_TLS_CERT_FILE", Kind.FILE, "none", "PEM file of our certificate for the store"),
    Key(
        "store.tls.key_file",
        "LEADERD_STORE_TLS_KEY_FILE",
        Kind.SECRET_FILE,
        "none",
        "PEM file of the key to our certificate, without passphrase",
    ),
    Key("store.auth.username", "LEADERD_STORE_AUTH_USERNAME", Kind.TEXT, "none", "user name, for etcd and ZooKeeper"),
    Key(
        "store.auth.password_file",
        "LEADERD_STORE_AUTH_PASSWORD_FILE",
        Kind.SECRET_FILE,
        "none",
        "file that holds the password of that user",
    ),
    Key(
        "store.auth.token_file",
        "LEADERD_STORE_AUTH_TOKEN_FILE",
        Kind.SECRET_FILE,
        "none",
        "file that holds the ACL token, for Consul",
    ),
    Key(
        "timing.ttl",
        "LEADERD_TTL",
        Kind.DURATION,
        "10s",
        "how long the store keeps our session without a word from us: about as long a crashed leader is missed",
        "--ttl",
        "10s",
    ),
    Key(
        "timing.renew_every",
        "LEADERD_RENEW_EVERY",
        Kind.DURATION,
        "ttl/5",
        "how often the session is renewed; three renewals must fit into the ttl",
    ),
    Key(
        "timing.promise",
        "LEADERD_PROMISE",
        Kind.DURATION,
        "ttl/10, at most 1s",
        "for how long a yes is promised to hold, unless the caller asks otherwise",
    ),
    Key(
        "timing.clock_drift",
        "LEADERD_CLOCK_DRIFT",
        Kind.FRACTION,
        "0.01",
        "bound on the difference of clock rates, ours and the store's, as a fraction",
    ),
    Key(
        "timing.margin",
        "LEADERD_MARGIN",
        Kind.DURATION,
        "ttl/20, at most 500ms",
        "how much earlier than the arithmetic allows leadership ends",
    ),
    Key(
        "timing.on_suspend",
        "LEADERD_ON_SUSPEND",
        Kind.CHOICE,
        "keep",
        "when the connection breaks: keep leading to the deadline, or step_down at once as Curator does",
        choices=("keep", "step_down"),
    ),
    Key("elections", "LEADERD_ELECTIONS", Kind.ELECTIONS, "none", "the elections to stand in; at least one", "--election", "NAME"),
    Key("listen.http", "LEADERD_HTTP", Kind.HOST_PORT, "127.0.0.1:4040", "where apps ask, over HTTP", "--http", "HOST:PORT|off"),
    Key(
        "listen.ops",
        "LEADERD_OPS",
        Kind.HOST_PORT,
        "0.0.0.0:4041",
        "read-only: probes, metrics, /is-leader, status",
        "--ops",
        "HOST:PORT|off",
    ),
    Key(
        "listen.socket.path",
        "LEADERD_SOCKET",
        Kind.SOCKET_PATH,
        "leaderd.sock in the runtime directory",
        "the Unix socket for apps and operators",
        "--socket",
        "PATH|off",
    ),
    Key("listen.socket.mode", "LEADERD_SOCKET_MODE", Kind.MODE, "0660", "permission bits of the socket"),
    Key(
        "listen.socket.group",
        "LEADERD_SOCKET_GROUP",
        Kind.GROUP,
        "the daemon's own",
        "the group the socket is given to, by name or number",
    ),
    Key(
        "listen.grpc",
        "LEADERD_GRPC",
        Kind.LISTENER,
        "off",
        "where apps ask over gRPC: `unix:` (grpc.sock in the runtime directory), `unix:/path`, or HOST:PORT",
        "--grpc",
        "ADDR|off",
    ),
    Key("grpc.tls.cert_file", "LEADERD_GRPC_TLS_CERT_FILE", Kind.FILE, "none", "PEM file of the certificate of the gRPC listener"),
    Key(
        "grpc.tls.key_file",
        "LEADERD_GRPC_TLS_KEY_FILE",
        Kind.SECRET_FILE,
        "none",
        "PEM file of the key to that certificate, without passphrase",
    ),
    Key(
        "grpc.tls.client_ca_file",
        "LEADERD_GRPC_TLS_CLIENT_CA_FILE",
        Kind.FILE,
        "none",
        "PEM file of the authorities that sign gRPC clients' certificates; then every client must show one",
    ),
    Key(
        "log.format",
        "LEADERD_LOG_FORMAT",
        Kind.CHOICE,
        "auto",
        "json lines, text, or auto: text on a terminal",
        "--log-format",
        choices=("auto", "json", "text"),
    ),
    Key(
        "log.level",
        "LEADERD_LOG_LEVEL",
        Kind.CHOICE,
        "info",
        "how much is logged",
        "--log-level",
        choices=("debug", "info", "warning", "error"),
    ),
    Key(
        "tracing.export",
        "LEADERD_TRACING",
        Kind.CHOICE,
        "off",
        "OpenTelemetry spans over OTLP/HTTP (leaderd[otel]), to where the standard OTEL_EXPORTER_OTLP_* variables say",
        choices=("off", "otlp"),
    ),
    Key(
        "http.hosts",
        "LEADERD_HTTP_HOSTS",
        Kind.HOSTS,
        "none",
        "names allowed in the Host header, besides loopback names and own addresses",
    ),
    Key(
        "operators.uids",
        "LEADERD_OPERATORS_UIDS",
        Kind.UIDS,
        "none",
        "user ids that may change things over the socket, besides root and the daemon's own",
    ),
    Key(
        "hooks.on_acquire",
        "LEADERD_HOOKS_ON_ACQUIRE",
        Kind.WORDS,
        "none",
        "run this command (a list of words), or POST to this `http://127.0.0.1` address, when this instance starts to lead",
    ),
    Key("hooks.on_lose", "LEADERD_HOOKS_ON_LOSE", Kind.WORDS, "none", "the same when it has stopped leading"),
    Key("hooks.on_change", "LEADERD_HOOKS_ON_CHANGE", Kind.WORDS, "none", "the same when state, leader or token have changed"),
)
BY_PATH: dict[str, Key] = {key.path: key for key in KEYS}
BY_ENV: dict[str, Key] = {key.env: key for key in KEYS}

SECTIONS: frozenset[str] = frozenset(
    ".".join(parts[:depth]) for key in KEYS for parts in [key.path.split(".")] for depth in range(1, len(parts))
)
"""Keys that hold other keys: `store`, `store.tls`, ..."""

SWITCHABLE = "listen.socket"
"""The one section that may also be written as a single word, `off`, or as the path alone: it means its `path`."""

OTHER_ENV: frozenset[str] = frozenset({"LEADERD_CONFIG", "LEADERD_RUNTIME_DIR"})
"""Variables we read that are no configuration keys."""
