"""Trees of unpacked Debian packages, and images of them: what a registry would give where there is none."""

from __future__ import annotations

import functools
import hashlib
import shutil
import subprocess
import tarfile
import tempfile
from collections.abc import Callable
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING

from testbed import apt, fetch

if TYPE_CHECKING:
    from tests.deploy.box.engine import Engine

ROOT = Path(__file__).parents[3]
PINS = tuple(ROOT / "deploy" / f"requirements-{target}.txt" for target in ("lean", "full"))
LIBRARIES = "usr/lib/x86_64-linux-gnu"
# Where scanners, and `python -m tools.sbom`, look for the packages of an image without dpkg: a file for each, as distroless has it.
_STATUS = Path("var/lib/dpkg/status.d")
# The C library's converters between character sets are 9 MB; Python has its own.
_NOT_SHIPPED = (f"{LIBRARIES}/gconv", *(f"usr/share/{each}" for each in ("bug", "doc", "lintian", "locale", "man")))


@dataclass(frozen=True, slots=True)
class Tree:
    """A folder of packages, and how to make it an image: what `finish` does to a copy, and the image's own words."""

    name: str
    root: Path

    def image(self, engine: Engine, *finish: Callable[[Path], None], name: str = "", change: tuple[str, ...] = ()) -> None:
        """Make `name:debian`, unless it is there as this would make it."""
        name = name or self.name
        made_of = _digest(name, self.root.name, *change, *_recipes())
        if engine.docker("image", "ls", "-q", "--filter", f"label=made-of={made_of}", f"{name}:debian"):
            return
        with tempfile.TemporaryDirectory(dir=folder()) as scratch:
            tree = Path(scratch) / "tree"
            shutil.copytree(self.root, tree, symlinks=True)
            for each in _NOT_SHIPPED:
                shutil.rmtree(tree / each, ignore_errors=True)
            (tree / "tmp").mkdir(exist_ok=True)
            (tree / "tmp").chmod(0o1777)
            for step in finish:
                step(tree)
            archive = Path(scratch) / "tree.tar"
            with tarfile.open(archive, "w") as packed:
                packed.add(tree, ".")
            words = [word for each in (f"LABEL made-of={made_of}", *change) for word in ("--change", each)]
            engine.docker("import", *words, "-", f"{name}:debian", stdin=archive)
        fetch.say(f"made the image {name}:debian")


def folder() -> Path:
    """Where engine, images and packages are."""
    return fetch.cache().parent / "deploy-box"


def unpacked(name: str, suite: str, packages: tuple[str, ...], *, without: tuple[str, ...] = ()) -> Tree:
    """A folder with these packages and all that they depend on, but for `without`; made once."""
    target = folder() / f"root-{name}-{_digest(suite, *packages, *without)}"
    if not target.exists():
        folder().mkdir(parents=True, exist_ok=True)
        with fetch.locked(folder() / f"{name}.lock"), tempfile.TemporaryDirectory(dir=folder(), prefix=f"{name}-") as scratch:
            if not target.exists():
                source = _suite(suite, Path(scratch))
                tree = Path(scratch) / name
                source.unpack(source.closure(packages, without), tree)
                _record(sorted((source.folder / "debs" / name).glob("*.deb")), tree)
                tree.rename(target)
                fetch.say(f"unpacked {' '.join(packages)}")
    return Tree(name, target)


def _suite(name: str, scratch: Path) -> apt.Suite:
    """The suite, its lists copied from those that this program has read already."""
    read = _lists(name)
    mine = scratch / "apt"
    shutil.copytree(read.folder, mine)
    return apt.Suite(name, mine)


@functools.cache
def _lists(name: str) -> apt.Suite:
    source = apt.Suite(name, folder() / f"apt-{name}")
    source.update()
    fetch.say(f"Debian {name}: package lists read")
    return source


def _record(packages: list[Path], tree: Path) -> None:
    (tree / _STATUS).mkdir(parents=True)
    for each in packages:
        said = subprocess.run(["dpkg-deb", "-f", str(each)], capture_output=True, text=True, check=True, timeout=60).stdout
        (tree / _STATUS / each.name.partition("_")[0]).write_text(said)


def _recipes() -> list[str]:
    """All that decides what is in an image, besides the packages: this folder, and the pins of the wheels."""
    files = [each for each in sorted(Path(__file__).parent.rglob("*")) if each.suffix in (".py", ".sh")]
    return [each.read_text() for each in (*files, *PINS)]


def _digest(*words: str) -> str:
    return hashlib.sha256("\0".join(words).encode()).hexdigest()[:12]
