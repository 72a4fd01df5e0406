"""The images, of Debian packages alone: leaderd's two by its own Dockerfile on a base without a shell, the stores', Prometheus'.

Those of others answer to the names, variables and words of the official ones as far as the compose files use them. So the compose
files are run as they are, with the programs of Debian's packages; what else the official images do is not shown by that.
"""

from __future__ import annotations

import shutil
import subprocess
import sys
from pathlib import Path

from testbed import fetch
from tests.deploy.box.debian import PINS, ROOT, folder, unpacked
from tests.deploy.box.engine import Engine

_PYTHON = ("python3.11-minimal", "libpython3.11-stdlib", "ca-certificates", "libc6", "libstdc++6", "libssl3", "base-files")
# What only package scripts need, and in the container nothing runs.
_SCRIPTS = ("debconf", "dpkg", "gcc-12-base", "libdebconfclient0", "mawk", "openssl", "perl-base", "tar")
_LIBC = ("libc6", "base-files")
_JAVA = ("openjdk-17-jre-headless", "zlib1g")
_ZOOKEEPER = ("libzookeeper-java", "libdropwizard-metrics-java", "libslf4j-java", "libsnappy-java", "libnetty-java")
_APPLETS = [
    "cat",
    "chmod",
    "chown",
    "cp",
    "env",
    "grep",
    "id",
    "ls",
    "mkdir",
    "mv",
    "nc",
    "rm",
    "sed",
    "sh",
    "sleep",
    "tar",
    "tr",
    "wc",
]
_SCRIPTS_OF_ZOOKEEPER = Path(__file__).with_name("zookeeper")
TARGETS = ("lean", "full")
STORES = ("etcd", "zookeeper", "consul")


def leaderd(engine: Engine) -> dict[str, str]:
    """Build `leaderd:lean` and `leaderd:full` of this checkout; returns the variables by which Compose builds the same."""
    base = unpacked("base", "bookworm", _PYTHON, without=_SCRIPTS)
    base.image(engine, _python)
    base.image(engine, _python, _shell, _pip, _wheels, name="build", change=("ENV PIP_NO_INDEX=1 PIP_FIND_LINKS=/wheels",))
    given = {"BUILD_IMAGE": "build:debian", "BASE_IMAGE": "base:debian", **_told_by_git()}
    words = [word for name, value in given.items() for word in ("--build-arg", f"{name}={value}")]
    for target in TARGETS:
        recipe = ("-f", str(ROOT / "deploy" / "Dockerfile"), "--target", target, "-t", f"leaderd:{target}", str(ROOT))
        engine.docker("build", "-q", "--network=none", *words, *recipe, DOCKER_BUILDKIT="1")
        fetch.say(f"built leaderd:{target}")
    return given


def store(engine: Engine, name: str) -> dict[str, str]:
    """Make the image of a store; returns the variable by which its compose file is told."""
    if name == "etcd":
        tree = unpacked("etcd", "trixie", ("etcd-server", "etcd-client", *_LIBC), without=_SCRIPTS)
        tree.image(engine, _shell, change=('CMD ["etcd"]',))
    elif name == "consul":
        tree = unpacked("consul", "bullseye", ("consul", *_LIBC), without=_SCRIPTS)
        tree.image(engine, _shell, change=('ENTRYPOINT ["consul"]',))
    else:
        tree = unpacked("zookeeper", "bookworm", (*_JAVA, *_ZOOKEEPER, *_LIBC), without=_SCRIPTS)
        tree.image(engine, _shell, _scripts, change=('ENTRYPOINT ["/bin/entrypoint.sh"]',))
    return {f"{name.upper()}_IMAGE": f"{name}:debian"}


def prometheus(engine: Engine) -> dict[str, str]:
    """Make the image of Prometheus; returns the variable by which the compose files are told."""
    words = ("prometheus", "--config.file=/etc/prometheus/prometheus.yml", "--storage.tsdb.path=/tmp/prometheus")
    entry = ", ".join(f'"{word}"' for word in words)
    tree = unpacked("prometheus", "bookworm", ("prometheus", *_LIBC), without=(*_SCRIPTS, "adduser", "passwd"))
    tree.image(engine, change=(f"ENTRYPOINT [{entry}]",))
    return {"PROMETHEUS_IMAGE": "prometheus:debian"}


def _told_by_git() -> dict[str, str]:
    def git(*words: str) -> str:
        return subprocess.run(["git", *words], cwd=ROOT, capture_output=True, text=True, check=True, timeout=60).stdout.strip()

    dirty = "-dirty" if git("status", "--porcelain", "--untracked-files=no") else ""
    told = {"REVISION": git("rev-parse", "HEAD") + dirty, "CREATED": git("log", "-1", "--format=%cI")}
    source = next((line.split()[1] for line in git("remote", "-v").splitlines() if line.startswith("origin\t")), "")
    # A folder is no source for others, and a name before an @ may be a secret.
    return {**told, "SOURCE": source} if source.startswith("https://") and "@" not in source else told


def _python(tree: Path) -> None:
    (tree / "usr/bin/python3").symlink_to("python3.11")


def _shell(tree: Path) -> None:
    busybox = unpacked("busybox", "bookworm", ("busybox-static",), without=_SCRIPTS).root
    shutil.copy(busybox / "bin" / "busybox", tree / "bin" / "busybox")
    for applet in _APPLETS:
        link = tree / "bin" / applet
        if not link.exists() and not link.is_symlink():
            link.symlink_to("busybox")


def _pip(tree: Path) -> None:
    """The machine's own pip, which brings along all that it needs."""
    home = next(Path(each) for each in sys.path if (Path(each) / "pip" / "__main__.py").exists()) / "pip"
    shutil.copytree(home, tree / "usr/lib/python3/dist-packages/pip", ignore=shutil.ignore_patterns("__pycache__"))


def _scripts(tree: Path) -> None:
    for each in _SCRIPTS_OF_ZOOKEEPER.iterdir():
        shutil.copy(each, tree / "bin" / each.name)


def _wheels(tree: Path) -> None:
    shutil.copytree(_wheelhouse(), tree / "wheels")


def _wheelhouse() -> Path:
    """The pinned wheels of both targets, for the Python of the base."""
    wheels = folder() / "wheels"
    text = "".join(each.read_text() for each in PINS)
    made_of = wheels / "made-of"
    if not made_of.exists() or made_of.read_text() != text:
        shutil.rmtree(wheels, ignore_errors=True)
        tags = [word for each in ("manylinux_2_28", "manylinux_2_17", "manylinux2014") for word in ("--platform", f"{each}_x86_64")]
        words = [sys.executable, "-m", "pip", "download", "-q", "--only-binary=:all:", "--python-version=3.11", *tags]
        for each in PINS:
            subprocess.run([*words, "--require-hashes", "-r", str(each), "-d", str(wheels)], check=True, timeout=300)
        made_of.write_text(text)
    return wheels
