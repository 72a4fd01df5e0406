"""TLS material for tests: a CA with server and client certificates, an expired pair, and a pair of another CA.

Made with the `openssl` program, which nearly every machine has; without it with PyPI's `cryptography`.
"""

from __future__ import annotations

import importlib.util
import shutil
import subprocess
from collections.abc import Sequence
from dataclasses import dataclass, replace
from pathlib import Path

HOSTS = ("127.0.0.1", "localhost")
_VALID = ("20200101000000Z", "20491231000000Z")
_EXPIRED = ("20200101000000Z", "20200201000000Z")
_CAS = ("ca", "other-ca")
_PAIRS = (
    # name, signing CA, period
    ("server", "ca", _VALID),
    ("client", "ca", _VALID),
    ("expired-server", "ca", _EXPIRED),
    ("expired-client", "ca", _EXPIRED),
    ("other-server", "other-ca", _VALID),
    ("other-client", "other-ca", _VALID),
)


class TlsError(RuntimeError):
    """Certificates could not be made; the text says why."""


@dataclass(frozen=True, slots=True)
class TlsFiles:
    """Files in PEM. `ca` signs the server and client pairs; variants come from `pair`, `with_server`, `with_client`."""

    folder: Path
    ca: Path
    server_cert: Path
    server_key: Path
    client_cert: Path
    client_key: Path

    def pair(self, name: str) -> tuple[Path, Path]:
        """Certificate and key of server, client, expired-server, expired-client, other-server or other-client."""
        if name not in {pair[0] for pair in _PAIRS}:
            raise ValueError(f"no pair {name!r}")
        return self.folder / f"{name}.crt", self.folder / f"{name}.key"

    @property
    def other_ca(self) -> Path:
        """A CA that has signed neither the server nor the client."""
        return self.folder / "other-ca.crt"

    def with_server(self, name: str) -> TlsFiles:
        """The same, but the server shows another pair, such as `expired-server` or `other-server`."""
        cert, key = self.pair(name)
        return replace(self, server_cert=cert, server_key=key)

    def with_client(self, name: str) -> TlsFiles:
        """The same, but clients show another pair."""
        cert, key = self.pair(name)
        return replace(self, client_cert=cert, client_key=key)


def available() -> str | None:
    """None if certificates can be made here, else the reason."""
    if shutil.which("openssl") or importlib.util.find_spec("cryptography"):
        return None
    return "certificates need openssl on PATH (or pip install cryptography)"


def make(folder: Path | str, hosts: Sequence[str] = HOSTS) -> TlsFiles:
    """Make all certificates and keys in `folder`; server certificates are for `hosts`. Raises `TlsError`."""
    reason = available()
    if reason is not None:
        raise TlsError(reason)
    target = Path(folder).absolute()
    target.mkdir(parents=True, exist_ok=True)
    if shutil.which("openssl"):
        _make_with_openssl(target, hosts)
    else:
        from testbed import tls_cryptography

        tls_cryptography.make(target, hosts, _CAS, _PAIRS)
    for key in target.glob("*.key"):
        key.chmod(0o600)
    paths = [target / f"{name}.{end}" for name in ("server", "client") for end in ("crt", "key")]
    return TlsFiles(target, target / "ca.crt", *paths)


def alternative_names(hosts: Sequence[str]) -> list[tuple[str, str]]:
    """Subject alternative names as (IP or DNS, host)."""
    return [("IP" if host.replace(".", "").isdigit() or ":" in host else "DNS", host) for host in hosts]


# `openssl ca` is the one subcommand that takes start and end dates in every version, and an expired certificate needs
# them. It wants an index file and a section of configuration.
_OPENSSL_CONFIG = """\
[req]
distinguished_name = dn
prompt = no
[dn]
CN = {name}
[v3_ca]
basicConstraints = critical, CA:TRUE
keyUsage = critical, keyCertSign, cRLSign
subjectKeyIdentifier = hash
[v3_pair]
basicConstraints = critical, CA:FALSE
keyUsage = critical, digitalSignature
extendedKeyUsage = serverAuth, clientAuth
subjectAltName = {names}
subjectKeyIdentifier = hash
authorityKeyIdentifier = keyid
[ca]
default_ca = signer
[signer]
new_certs_dir = {folder}
database = {folder}/{issuer}.index
serial = {folder}/{issuer}.serial
default_md = sha256
policy = anything
unique_subject = no
email_in_dn = no
[anything]
commonName = supplied
"""


def _make_with_openssl(folder: Path, hosts: Sequence[str]) -> None:
    names = ", ".join(f"{kind}:{host}" for kind, host in alternative_names(hosts))
    for ca in _CAS:
        (folder / f"{ca}.index").write_text("")
        (folder / f"{ca}.serial").write_text("1000\n")
        _sign(folder, ca, ca, "v3_ca", _VALID, names)
    for name, ca, period in _PAIRS:
        _sign(folder, name, ca, "v3_pair", period, names)


def _sign(folder: Path, name: str, issuer: str, section: str, period: tuple[str, str], names: str) -> None:
    config, key, request = (folder / f"{name}.{end}" for end in ("cnf", "key", "csr"))
    config.write_text(_OPENSSL_CONFIG.format(name=f"leaderd-test-{name}", names=names, folder=folder, issuer=issuer))
    _openssl("genpkey", "-algorithm", "EC", "-pkeyopt", "ec_paramgen_curve:P-256", "-out", str(key))
    _openssl("req", "-new", "-config", str(config), "-key", str(key), "-out", str(request))
    signer = ["-selfsign"] if name == issuer else ["-cert", str(folder / f"{issuer}.crt")]
    _openssl(
        *("ca", "-batch", "-notext", "-config", str(config), "-extensions", section, *signer),
        *("-keyfile", str(folder / f"{issuer}.key"), "-startdate", period[0], "-enddate", period[1]),
        *("-in", str(request), "-out", str(folder / f"{name}.crt")),
    )


def _openssl(*arguments: str) -> None:
    done = subprocess.run(["openssl", *arguments], capture_output=True, text=True, stdin=subprocess.DEVNULL, timeout=60)
    if done.returncode != 0:
        raise TlsError(f"openssl {arguments[0]}: {done.stderr.strip()}")
