"""`python -m tests.deploy.box [STORE...]`: build the images, run their tests, then each compose file's, in a boxed engine.

`--smoke` is what runs at every change: both images and their tests, and the compose file of etcd up, with its app at work.
Where there can be no engine (no root, no apt, no namespaces): exit 69, with the reason. Where there can, 1 for all that fails.
"""

from __future__ import annotations

import argparse
import subprocess
import sys
import time
from collections.abc import Iterator, Sequence
from contextlib import contextmanager

from testbed import fetch
from testbed.apt import AptError
from tests.deploy import tools
from tests.deploy.box import compose, images
from tests.deploy.box.debian import ROOT
from tests.deploy.box.engine import Engine, missing

EXIT_UNAVAILABLE = 69
BILLS = ROOT / "dist"
"""Where the bills of materials are put."""
SMOKE = "etcd"


def main(argv: Sequence[str]) -> int:
    """The exit code: 0 if everything worked."""
    parser = argparse.ArgumentParser(prog="python -m tests.deploy.box", description="Build the images and try what is deployed.")
    parser.add_argument("stores", nargs="*", metavar="STORE", help=f"of {', '.join(images.STORES)}; default: all")
    parser.add_argument("--smoke", action="store_true", help="only what runs at every change")
    options = parser.parse_args(argv)
    if unknown := set(options.stores) - set(images.STORES):
        parser.error(f"no such store: {', '.join(sorted(unknown))}; there are {', '.join(images.STORES)}")
    reason = missing()
    if reason is not None:
        print(f"SKIPPED, NO ENGINE: no image is built or run here: {reason}", file=sys.stderr)
        return EXIT_UNAVAILABLE
    if tools.main() != 0:
        return 1
    try:
        with _timed("everything"):
            _all(options.stores or images.STORES, smoke=options.smoke)
    except (AptError, OSError, RuntimeError, subprocess.SubprocessError) as error:
        print(f"FAILED: {error}", file=sys.stderr)
        return 1
    return 0


def _all(stores: Sequence[str], *, smoke: bool) -> None:
    with _timed("engine unpacked"):
        box = Engine()
    with box as engine:
        with _timed("both images built"):
            environment = {**engine.environment(), **images.leaderd(engine)}
        with _timed("both images tested"):
            _billed(environment)
            compose.tested(environment, "tests/deploy/test_image.py", "tests/deploy/test_sbom.py")
        for store in [SMOKE] if smoke else stores:
            given = {**environment, **images.store(engine, store), **({} if smoke else images.prometheus(engine))}
            with _timed(f"docker-compose.{store}.yml"), compose.up(given, store):
                words = ("-k", f"{store} and works") if smoke else ("-k", store)
                compose.tested(given, "tests/deploy/test_compose_up.py", *words)
                if not smoke:
                    compose.monitored(given, store)
                    compose.harassed(given, store)
            if not smoke:
                with _timed(f"chaos in containers, {store}"):
                    compose.tested(given, "tests/deploy/test_chaos_containers.py", "-k", store)


def _billed(environment: dict[str, str]) -> None:
    """Write each image's bill of materials."""
    BILLS.mkdir(exist_ok=True)
    for target in images.TARGETS:
        words = [str(tools.folder() / "bin" / "python"), "tools/sbom.py", f"leaderd:{target}"]
        done = subprocess.run(words, env=environment, cwd=ROOT, timeout=120, capture_output=True, text=True)
        if done.returncode != 0:
            raise compose.Broken(f"no bill of materials of leaderd:{target}: {done.stderr.strip()}")
        (BILLS / f"leaderd-{target}.cdx.json").write_text(done.stdout)


@contextmanager
def _timed(what: str) -> Iterator[None]:
    started = time.monotonic()
    yield
    fetch.say(f"{what}: {time.monotonic() - started:.0f} s")


if __name__ == "__main__":
    sys.exit(main(sys.argv[1:]))
