"""The rule of each kind of value: text in, typed value out, or why not and what to write instead."""

from __future__ import annotations

import grp
import ipaddress
import math
import re
from collections.abc import Callable
from pathlib import Path

from leaderd.config.durations import DurationError, parse_duration
from leaderd.config.files import FileRefused, check_file
from leaderd.config.keys import Key, Kind
from leaderd.config.model import HostPort
from leaderd.config.problems import ConfigProblem, quoted, redacted_url
from leaderd.config.sources import Item
from leaderd.stores.address import AddressError, StoreAddress, parse_address

INSTANCE = re.compile(r"[A-Za-z0-9._-]{1,63}", re.ASCII)
ELECTION = re.compile(r"[A-Za-z0-9][A-Za-z0-9._-]{0,62}", re.ASCII)
_HOST_NAME = re.compile(
    r"(?=.{1,253}\Z)[A-Za-z0-9_]([A-Za-z0-9_-]{0,61}[A-Za-z0-9])?(\.[A-Za-z0-9]([A-Za-z0-9-]{0,61}[A-Za-z0-9])?)*", re.ASCII
)
_DECIMAL = re.compile(r"[+-]?([0-9]{1,12}(\.[0-9]{0,12})?|\.[0-9]{1,12})([eE][+-]?[0-9]{1,2})?", re.ASCII)
MAX_SOCKET_PATH_BYTES = 107
MAX_CLOCK_DRIFT = 0.2
MAX_ID = 2**32 - 2
OFF_WORDS = frozenset({"off", "false"})
"""`false` is what YAML 1.1 tools turn an unquoted `off` into."""


class Off:
    """A listener that is switched off."""


OFF = Off()
DEFAULT_PLACE = Path()
"""The path of a socket for which nobody gave one."""


class Refused(Exception):
    """The text breaks the rule of its kind."""

    def __init__(self, rule: str, remedy: str) -> None:
        super().__init__(rule)
        self.rule = rule
        self.remedy = remedy


def read_value(key: Key, item: Item) -> object | ConfigProblem:
    """The value of one item of one key, typed as its kind says, or the problem with it."""
    try:
        return _READERS[key.kind](key, item.text)
    except (Refused, DurationError, FileRefused) as exc:
        return ConfigProblem(key.path, shown(key, item.text), exc.rule, exc.remedy, item.origin)


def shown(key: Key, text: str) -> str:
    """The text as it may be shown to anybody."""
    return redacted_url(text) if key.kind is Kind.URL else text


def _name(key: Key, text: str) -> str:
    if not INSTANCE.fullmatch(text):
        what = "an instance name" if key.path == "instance" else "an id"
        places = " or ".join(each for each in (key.env, key.flag) if each is not None)
        raise Refused(f"{what} has 1 to 63 characters of A-Z a-z 0-9 . _ -", f"set {key.path}, {places}")
    return text


def _election(_key: Key, text: str) -> str:
    if not ELECTION.fullmatch(text):
        raise Refused(
            "an election name has 1 to 63 characters of A-Z a-z 0-9 . _ - and starts with a letter or digit",
            "it becomes a path in the store, a file name and a metric label: write it like daily-report",
        )
    return text


def _url(_key: Key, text: str) -> StoreAddress:
    if redacted_url(text).partition("://")[2].startswith("***@") or redacted_url(text).startswith("***@"):
        raise Refused("a user or password in the URL would show in process lists", "use store.auth with password_file")
    try:
        address = parse_address(text)
    except AddressError as exc:
        rule, _, remedy = str(exc).partition(": ")
        raise Refused(rule, remedy or "write it like etcd://host:2379/prefix") from None
    if "\0" in address.path:
        raise Refused("the path holds a NUL", "write it like local:///var/lib/leaderd")
    return address


def _file(_key: Key, text: str) -> Path:
    return check_file(text, _marker(_key))


def _secret_file(key: Key, text: str) -> Path:
    return check_file(text, _marker(key), secret=True)


def _marker(key: Key) -> str | None:
    certificate, name = "CERTIFICATE-----", key.path.rpartition(".")[2]
    return {"ca_file": certificate, "client_ca_file": certificate, "cert_file": certificate, "key_file": "PRIVATE KEY-----"}.get(
        name
    )


def _text(_key: Key, text: str) -> str:
    if not text.isprintable() or not text or len(text) > 256:
        raise Refused("is empty, longer than 256 characters, or has control characters", "write one plain word")
    return text


def _duration(_key: Key, text: str) -> float:
    return parse_duration(text)


def _fraction(_key: Key, text: str) -> float:
    if not _DECIMAL.fullmatch(text):
        hint = f"write {float(text[:-1]) / 100:g}" if re.fullmatch(r"[0-9]{1,3}(\.[0-9]{1,6})?%", text) else "write it like 0.01"
        raise Refused("is not a finite decimal number", hint)
    number = float(text)
    if not (math.isfinite(number) and 0.0 <= number <= MAX_CLOCK_DRIFT):
        raise Refused(f"is not within 0 and {MAX_CLOCK_DRIFT}", "real clocks drift by less than 0.001; 0.01 is generous")
    return number


def _choice(key: Key, text: str) -> str:
    if text not in key.choices:
        raise Refused("is not one of " + ", ".join(key.choices), f"write one of these; default: {key.default}")
    return text


def _host_port(_key: Key, text: str) -> HostPort | Off:
    if text in OFF_WORDS:
        return OFF
    host, colon, port = text.rpartition(":")
    bracketed = host.startswith("[") and host.endswith("]")
    bare = host[1:-1] if bracketed else host
    if text.isdecimal():
        raise Refused("has no host", f"write 127.0.0.1:{text[:5]}, or 0.0.0.0:{text[:5]} for every interface")
    if text.startswith(("unix:", "/")):
        raise Refused("is a path, and this is a TCP listener", "use listen.socket.path for the Unix socket")
    if "://" in text:
        raise Refused("is a URL", "write host:port")
    if colon and not host:
        raise Refused("has no host", f"write 127.0.0.1{text}, or 0.0.0.0{text} for every interface")
    if ":" in host and not bracketed:
        raise Refused("has an IPv6 address without brackets", "write [::1]:4040")
    if not colon or not port:
        raise Refused("has no port", "write host:port, or off")
    if not re.fullmatch(r"[0-9]{1,5}", port) or int(port) > 65535:
        raise Refused(f"the port {quoted(port)} is not within 0 and 65535", "write host:port, or off")
    if not (_is_ip(bare, 6) if bracketed else _is_ip(bare, 4) or _is_host_name(bare)):
        raise Refused("the host is neither an address nor a name", "write host:port, with an IPv6 address in brackets, or off")
    return HostPort(bare, int(port))


def _is_ip(text: str, version: int) -> bool:
    try:
        return ipaddress.ip_address(text).version == version and "%" not in text
    except ValueError:
        return False


def _is_host_name(text: str) -> bool:
    # All digits and points is an address with a slip in it, never a name.
    return _HOST_NAME.fullmatch(text) is not None and not re.fullmatch(r"[0-9.]+", text)


def _socket_path(_key: Key, text: str) -> Path | Off:
    if text in OFF_WORDS:
        return OFF
    if text.startswith("@") or "\0" in text:
        raise Refused("is an abstract or malformed name, which no file permission protects", "write an absolute path, or off")
    if not text.startswith("/"):
        raise Refused("is not an absolute path", "write a path like /run/leaderd/leaderd.sock, or off")
    if (size := len(text.encode("utf-8", "surrogateescape"))) > MAX_SOCKET_PATH_BYTES:
        raise Refused(f"has {size} bytes, and the system takes {MAX_SOCKET_PATH_BYTES} for a socket", "choose a shorter path")
    if text.endswith("/") or Path(text).is_dir():
        raise Refused("is a directory", f"write {text.rstrip('/')}/leaderd.sock")
    return Path(text)


def _mode(_key: Key, text: str) -> int:
    if not re.fullmatch(r"(0o?)?[0-7]{3}", text):
        raise Refused("is not a mode of three octal digits", 'write "0660"; set-id and sticky bits mean nothing on a socket')
    mode = int(text[-3:], 8)
    if mode & 0o600 != 0o600:
        raise Refused("keeps the daemon's own user from connecting", 'write "0660", "0600" or "0666"')
    return mode


def _group(_key: Key, text: str) -> int:
    if re.fullmatch(r"[0-9]{1,10}", text) and int(text) <= MAX_ID:
        return int(text)
    try:
        return grp.getgrnam(text).gr_gid
    except (KeyError, ValueError):
        raise Refused("is no group on this host", "write the name or the number of a group, or leave it out") from None


def _listener(key: Key, text: str) -> HostPort | Path | Off:
    if text.startswith("/"):
        raise Refused("is a bare path", f"write unix:{text}")
    if not text.startswith("unix:"):
        return _host_port(key, text)
    path = text.removeprefix("unix://" if text.startswith("unix:///") else "unix:")
    if not path:
        return DEFAULT_PLACE
    found = _socket_path(key, path)
    if isinstance(found, Off):
        raise Refused("is not an absolute path", "write off, or a path like unix:/run/leaderd/grpc.sock")
    return found


def _host(_key: Key, text: str) -> str:
    if text.startswith("[") and text.endswith("]") and _is_ip(text[1:-1], 6):
        return text[1:-1].lower()
    if not (_is_host_name(text) or _is_ip(text, 4) or _is_ip(text, 6)):
        raise Refused("is no host name", "write names without scheme, port and wildcard, such as app.internal")
    return text.lower()


def _word(_key: Key, text: str) -> str:
    if "\0" in text:
        raise Refused("holds a NUL, which no command can", "write plain words")
    return text


def _uid(_key: Key, text: str) -> int:
    if not re.fullmatch(r"[0-9]{1,10}", text) or int(text) > MAX_ID:
        raise Refused(f"is no user id within 0 and {MAX_ID}", "write the number that `id -u NAME` prints")
    return int(text)


_READERS: dict[Kind, Callable[[Key, str], object]] = {
    Kind.NAME: _name,
    Kind.URL: _url,
    Kind.FILE: _file,
    Kind.SECRET_FILE: _secret_file,
    Kind.TEXT: _text,
    Kind.DURATION: _duration,
    Kind.FRACTION: _fraction,
    Kind.CHOICE: _choice,
    Kind.ELECTIONS: _election,
    Kind.HOST_PORT: _host_port,
    Kind.SOCKET_PATH: _socket_path,
    Kind.MODE: _mode,
    Kind.GROUP: _group,
    Kind.LISTENER: _listener,
    Kind.HOSTS: _host,
    Kind.UIDS: _uid,
    Kind.WORDS: _word,
}
