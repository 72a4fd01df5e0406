"""The certificates of `testbed.tls`, made with PyPI's `cryptography` where there is no openssl program."""

from __future__ import annotations

import datetime
import ipaddress
from collections.abc import Iterable, Sequence
from pathlib import Path

from cryptography import x509
from cryptography.hazmat.primitives import hashes, serialization
from cryptography.hazmat.primitives.asymmetric import ec
from cryptography.x509.oid import ExtendedKeyUsageOID, NameOID

Period = tuple[str, str]
_USAGES = (
    *("digital_signature", "content_commitment", "key_encipherment", "data_encipherment", "key_agreement"),
    *("key_cert_sign", "crl_sign", "encipher_only", "decipher_only"),
)


def make(folder: Path, hosts: Sequence[str], cas: Iterable[str], pairs: Iterable[tuple[str, str, Period]]) -> None:
    """Write `NAME.crt` and `NAME.key` for every CA and every (name, signing CA, period)."""
    pairs = list(pairs)
    widest = max((period for _, _, period in pairs), key=lambda period: period[1])
    keys: dict[str, ec.EllipticCurvePrivateKey] = {}
    for name in cas:
        keys[name] = ec.generate_private_key(ec.SECP256R1())
        _write(folder, name, keys[name], _certificate(name, name, keys[name], keys[name], widest, None))
    for name, issuer, period in pairs:
        key = ec.generate_private_key(ec.SECP256R1())
        _write(folder, name, key, _certificate(name, issuer, key, keys[issuer], period, hosts))


def _certificate(
    name: str,
    issuer: str,
    key: ec.EllipticCurvePrivateKey,
    signer: ec.EllipticCurvePrivateKey,
    period: Period,
    hosts: Sequence[str] | None,
) -> x509.Certificate:
    """A certificate for `hosts`, or of a CA without them."""
    start, end = (datetime.datetime.strptime(text, "%Y%m%d%H%M%SZ") for text in period)  # UTC
    granted = {"digital_signature"} if hosts else {"key_cert_sign", "crl_sign"}
    builder = (
        x509.CertificateBuilder()
        .subject_name(_name(name))
        .issuer_name(_name(issuer))
        .public_key(key.public_key())
        .serial_number(x509.random_serial_number())
        .not_valid_before(start)
        .not_valid_after(end)
        .add_extension(x509.BasicConstraints(ca=hosts is None, path_length=None), critical=True)
        .add_extension(x509.KeyUsage(**{usage: usage in granted for usage in _USAGES}), critical=True)
        .add_extension(x509.SubjectKeyIdentifier.from_public_key(key.public_key()), critical=False)
    )
    if hosts:
        both = [ExtendedKeyUsageOID.SERVER_AUTH, ExtendedKeyUsageOID.CLIENT_AUTH]
        authority = x509.AuthorityKeyIdentifier.from_issuer_public_key(signer.public_key())
        builder = (
            builder.add_extension(x509.ExtendedKeyUsage(both), critical=False)
            .add_extension(x509.SubjectAlternativeName([_general_name(host) for host in hosts]), critical=False)
            .add_extension(authority, critical=False)
        )
    return builder.sign(signer, hashes.SHA256())


def _name(name: str) -> x509.Name:
    return x509.Name([x509.NameAttribute(NameOID.COMMON_NAME, f"leaderd-test-{name}")])


def _general_name(host: str) -> x509.GeneralName:
    try:
        return x509.IPAddress(ipaddress.ip_address(host))
    except ValueError:
        return x509.DNSName(host)


def _write(folder: Path, name: str, key: ec.EllipticCurvePrivateKey, certificate: x509.Certificate) -> None:
    form, none = serialization.PrivateFormat.PKCS8, serialization.NoEncryption()
    (folder / f"{name}.key").write_bytes(key.private_bytes(serialization.Encoding.PEM, form, none))
    (folder / f"{name}.crt").write_bytes(certificate.public_bytes(serialization.Encoding.PEM))
