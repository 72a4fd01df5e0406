"""What can be wrong with any store: this machine's clock, and certificates that are about to end."""

from __future__ import annotations

import asyncio
import ctypes
import ssl
from dataclasses import dataclass
from datetime import UTC, datetime
from email.utils import parsedate_to_datetime
from pathlib import Path

from leaderd.doctor.findings import BOUND_S, Finding, Patient
from leaderd.stores.consul.http1 import BrokenError, NotHttpError, TooLongError, connect

SOON_S = 14 * 86_400.0
"""A certificate that ends within this time is a finding."""
JUMP_S = 0.25
"""Wall and boot clock may part by this much during a check-up: only steps part them, but each is read at its own moment."""
SKEW_S = 5.0
"""A difference in the time of day above this is a finding; HTTP tells whole seconds."""
_STA_UNSYNC = 0x40
_TICK_US = 10_000
_PEM_END = "-----END CERTIFICATE-----"


# ---- the clock


@dataclass(frozen=True, slots=True)
class KernelClock:
    """What the kernel says of its clock: whether it is steered by a time source, and how much faster it runs than its crystal."""

    synchronised: bool
    rate: float


class _Timex(ctypes.Structure):
    """`struct timex` of <sys/timex.h>, as far as it is read; the rest is room for the kernel to write into."""

    _fields_ = (
        ("modes", ctypes.c_uint),
        ("offset", ctypes.c_long),
        ("freq", ctypes.c_long),
        ("maxerror", ctypes.c_long),
        ("esterror", ctypes.c_long),
        ("status", ctypes.c_int),
        ("constant", ctypes.c_long),
        ("precision", ctypes.c_long),
        ("tolerance", ctypes.c_long),
        ("time", ctypes.c_long * 2),
        ("tick", ctypes.c_long),
        ("rest", ctypes.c_long * 32),
    )


def read_kernel_clock() -> KernelClock | None:
    """Ask the kernel (`adjtimex` with no mode set only reads); None where it does not say."""
    timex = _Timex()
    try:
        state = ctypes.CDLL(None, use_errno=True).adjtimex(ctypes.byref(timex))
    except (OSError, AttributeError):
        return None
    if state < 0:
        return None
    # freq is in millionths, with 16 bits behind the point (adjtimex(2)).
    rate = (timex.tick - _TICK_US) / _TICK_US + timex.freq / 65536.0 * 1e-6
    return KernelClock(not timex.status & _STA_UNSYNC, rate)


def check_clock(drift: float, jumped_s: float, kernel: KernelClock | None = None) -> list[Finding]:
    """The clock's steadiness, which every lease rests on, and its time, which only people read.

    `drift`: what `timing.clock_drift` allows; `jumped_s`: how far the wall clock ran from the boot clock during the check-up.
    """
    kernel = kernel or read_kernel_clock()
    found = []
    if abs(jumped_s) > JUMP_S:
        found.append(
            Finding(
                "clock-jump",
                "this host",
                f"the wall clock jumped by {jumped_s:+.2f} s while we looked",
                "after a jump a daemon cannot tell whether the machine was stopped, and ends its terms",
                "let one time service slew the clock; see what sets it",
            )
        )
    if kernel is not None and abs(kernel.rate) > drift:
        found.append(
            Finding(
                "clock-rate",
                "this host",
                f"the kernel's clock is made to run {abs(kernel.rate) * 100:.2f} % {'fast' if kernel.rate > 0 else 'slow'}",
                f"a lease is only safe while clock rates differ by less than timing.clock_drift ({drift * 100:g} %)",
                "see who set tick or frequency (`adjtimex -p`), and put them back",
            )
        )
    if kernel is not None and not kernel.synchronised:
        found.append(
            Finding(
                "clock-sync",
                "this host",
                "the clock is not synchronised with a time source",
                "no lease depends on the time of day, but times in logs, histories and the end of a pause do",
                "run chrony, ntpd or systemd-timesyncd",
                note=True,
            )
        )
    return found


async def check_skew(patient: Patient) -> list[Finding]:
    """This host's time of day against that of each server, where the store speaks HTTP: any answer has a date."""
    if patient.address.kind not in {"etcd", "consul"}:
        return []
    skews = await asyncio.gather(*(_skew_s(patient, *host) for host in patient.address.hosts))
    return [
        Finding(
            "clock-skew",
            where,
            f"this host's clock is {abs(skew_s):.0f} s {'ahead of' if skew_s > 0 else 'behind'} the server's",
            "no lease depends on the time of day, but the end of a pause and the times in histories do",
            "synchronise both with a time source",
        )
        for where, skew_s in zip(patient.address.endpoints(), skews, strict=True)
        if skew_s is not None and abs(skew_s) > SKEW_S
    ]


async def _skew_s(patient: Patient, host: str, port: int) -> float | None:
    connection = None
    try:
        async with asyncio.timeout(BOUND_S):
            connection = await connect(host, port, tls_context(patient), BOUND_S)
            response = await connection.ask(f"GET /version HTTP/1.1\r\nHost: {host}\r\n\r\n".encode("ascii"))
        told_s = parsedate_to_datetime(response.headers[b"date"].decode("ascii")).timestamp()
    except (OSError, ValueError, KeyError, BrokenError, NotHttpError, TooLongError):
        return None  # they do not tell; whether they can be reached is another check's
    finally:
        if connection is not None:
            connection.close()
    return patient.wall_s() - told_s


# ---- TLS


async def check_certificates(patient: Patient) -> list[Finding]:
    """Our own files, and what each endpoint shows."""
    if not patient.address.tls:
        return []
    files = (patient.tls.ca_file, patient.tls.cert_file)
    ends = [(str(path), at) for path in files if path is not None and (at := first_end(path)) is not None]
    shown = await asyncio.gather(*(_shown(host, port) for host, port in patient.address.hosts))
    ends += [(where, at) for where, at in zip(patient.address.endpoints(), shown, strict=True) if at is not None]
    return [found for where, at in ends if (found := _ending(where, at, patient.wall_s())) is not None]


def _ending(where: str, ends_at_s: float, wall_s: float) -> Finding | None:
    left_s = ends_at_s - wall_s
    if left_s > SOON_S:
        return None
    day = datetime.fromtimestamp(ends_at_s, UTC).strftime("%Y-%m-%d")
    what = f"the certificate ended on {day}" if left_s <= 0 else f"the certificate ends on {day}, in {left_s / 86_400:.1f} days"
    return Finding(
        "certificate",
        where,
        what,
        "from then on no connection can be made, and every term ends when its lease does",
        "renew it; leaderd reads its files anew with every connection",
    )


def first_end(path: Path) -> float | None:
    """When the first of the file's certificates ends, seconds since the epoch; None where none can be read."""
    try:
        text = path.read_text(encoding="ascii", errors="replace")
        blocks = [part for part in text.split(_PEM_END) if "-----BEGIN CERTIFICATE-----" in part]
        pems = [part[part.index("-----BEGIN CERTIFICATE-----") :] + _PEM_END for part in blocks]
        return min((not_after(ssl.PEM_cert_to_DER_cert(pem)) for pem in pems), default=None)
    except (OSError, ValueError, IndexError):
        return None  # said by the endpoints' own check, which needs the file


async def _shown(host: str, port: int) -> float | None:
    """When the certificate of whoever answers there ends. It is only looked at: nothing is sent, so nothing is trusted."""
    context = ssl.SSLContext(ssl.PROTOCOL_TLS_CLIENT)
    context.check_hostname, context.verify_mode = False, ssl.CERT_NONE
    writer = None
    try:
        async with asyncio.timeout(BOUND_S):
            _, writer = await asyncio.open_connection(host, port, ssl=context)
        der = writer.get_extra_info("ssl_object").getpeercert(binary_form=True)
        return not_after(der) if der else None
    except (OSError, ValueError, IndexError):  # a TimeoutError and an SSLError too
        return None
    finally:
        if writer is not None:
            writer.transport.abort()


def not_after(der: bytes) -> float:
    """The end of a certificate's validity (RFC 5280, 4.1), seconds since the epoch. Raises `ValueError` or `IndexError`."""
    tbs, _ = _inside(der, _inside(der, 0)[0])
    at = tbs
    if der[at] == 0xA0:  # the version, which the oldest certificates leave out
        at = _inside(der, at)[1]
    for _ in range(3):  # serial number, signature algorithm, issuer
        at = _inside(der, at)[1]
    start, _ = _inside(der, at)
    end_at = _inside(der, start)[1]
    value, after = _inside(der, end_at)
    text = der[value:after].decode("ascii")
    if der[end_at] == 0x17:  # UTCTime: two digits of the year, 1950 to 2049
        text = ("20" if int(text[:2]) < 50 else "19") + text
    return datetime.strptime(text, "%Y%m%d%H%M%SZ").replace(tzinfo=UTC).timestamp()


def _inside(der: bytes, at: int) -> tuple[int, int]:
    """Where the contents of the DER value at `at` begin, and where they end."""
    length, start = der[at + 1], at + 2
    if length & 0x80:
        size = length & 0x7F
        length, start = int.from_bytes(der[start : start + size], "big"), start + size
    return start, start + length


def tls_context(patient: Patient) -> ssl.SSLContext | None:
    """What a connection to the store is made with; None without TLS. Raises `OSError` or `ValueError`."""
    if not patient.address.tls:
        return None
    context = ssl.create_default_context(cafile=patient.tls.ca_file)
    if patient.tls.cert_file is not None:
        context.load_cert_chain(patient.tls.cert_file, patient.tls.key_file, password=_no_passphrase)
    return context


def _no_passphrase() -> str:
    # Without this OpenSSL would ask for the passphrase on the terminal, and wait.
    raise ValueError("the key is encrypted")
