"""Where a store is and how to prove who we are: the parsed store URL, TLS files and credential files."""

from __future__ import annotations

import ipaddress
import re
from dataclasses import dataclass
from pathlib import Path
from urllib.parse import unquote, urlsplit

SCHEMES: dict[str, tuple[str, bool, int]] = {
    # scheme: (kind, tls, default port)
    "zookeeper": ("zookeeper", False, 2181),
    "zookeepers": ("zookeeper", True, 2281),
    "etcd": ("etcd", False, 2379),
    "etcds": ("etcd", True, 2379),
    "consul": ("consul", False, 8500),
    "consuls": ("consul", True, 8501),
    "local": ("local", False, 0),
}
_HOST = re.compile(r"[A-Za-z0-9]([A-Za-z0-9._-]*[A-Za-z0-9])?\.?")
_SEGMENT = re.compile(r"[A-Za-z0-9._~-]+")


class AddressError(ValueError):
    """A store URL that cannot be used; the text says what is wrong and what to write instead."""


@dataclass(frozen=True, slots=True)
class StoreAddress:
    """A parsed store URL. `path` has neither a leading nor a trailing slash, except for `local`, where it is a directory."""

    kind: str
    hosts: tuple[tuple[str, int], ...]
    path: str
    tls: bool

    def endpoints(self) -> list[str]:
        """The hosts as `host:port`, IPv6 in brackets."""
        return [f"[{host}]:{port}" if ":" in host else f"{host}:{port}" for host, port in self.hosts]


@dataclass(frozen=True, slots=True)
class Tls:
    """Files of TLS material; read each time a connection is made, so that a rotation on disk needs no restart."""

    ca_file: Path | None = None
    cert_file: Path | None = None
    key_file: Path | None = None


@dataclass(frozen=True, slots=True)
class Credentials:
    """Who we are to the store. Secrets stay in their files until the moment of use, and are re-read after a refusal."""

    username: str | None = None
    password_file: Path | None = None
    token_file: Path | None = None

    def password(self) -> str | None:
        """The password, read now. Raises `OSError` when the file cannot be read."""
        return self.password_file.read_text(encoding="utf-8").strip() if self.password_file else None

    def token(self) -> str | None:
        """The token, read now. Raises `OSError` when the file cannot be read."""
        return self.token_file.read_text(encoding="utf-8").strip() if self.token_file else None


def parse_address(url: str) -> StoreAddress:
    """Parse a store URL such as `etcd://h1:2379,h2:2379/prefix`. Raises `AddressError` with a remedy; never quotes a secret."""
    scheme, sep, rest = url.partition("://")
    if not sep or scheme not in SCHEMES:
        raise AddressError(f"unknown store {scheme!r}: write one of " + ", ".join(f"{s}://" for s in SCHEMES))
    kind, tls, default_port = SCHEMES[scheme]
    netloc, slash, path = rest.partition("/")
    if "@" in netloc:
        raise AddressError("a user or password in the URL would show in process lists: use store.auth with password_file")
    if "?" in rest or "#" in rest:
        raise AddressError("a store URL takes no query and no fragment: timings and credentials are configuration keys")
    if kind == "local":
        if netloc:
            raise AddressError(f"local:// takes an absolute directory: write local:///{netloc}{slash}{path}")
        if not path:
            raise AddressError("local:// needs a directory: write local:///var/lib/leaderd")
        return StoreAddress(kind, (), "/" + unquote(path), tls)
    if not netloc:
        raise AddressError(f"no host: write {scheme}://host:{default_port}/prefix")
    hosts = tuple(_host(part, default_port) for part in netloc.split(","))
    segments = [s for s in path.split("/") if s]
    bad = next((s for s in segments if not _SEGMENT.fullmatch(s) or s in {".", ".."}), None)
    if bad is not None:
        raise AddressError(f"path segment {bad!r}: use letters, digits and . _ ~ - only")
    return StoreAddress(kind, hosts, "/".join(segments), tls)


def _host(text: str, default_port: int) -> tuple[str, int]:
    try:
        parts = urlsplit("//" + text)
        host, port = parts.hostname, parts.port
    except ValueError:
        raise AddressError(f"host {text!r}: write host:port, with an IPv6 address in brackets") from None
    if not host or parts.path or (not _HOST.fullmatch(host) and not _is_ip(host)):
        raise AddressError(f"host {text!r}: write host:port, with an IPv6 address in brackets")
    if port == 0:
        raise AddressError(f"host {text!r}: the port is 1 to 65535")
    return host, port or default_port


def _is_ip(host: str) -> bool:
    try:
        ipaddress.ip_address(host)
    except ValueError:
        return False
    return True
