"""`python -m testbed fetch|status|up`: get the servers, see what is there, bring one up to try leaderd by hand."""

from __future__ import annotations

import argparse
import sys
from collections.abc import Sequence

from testbed import fetch


def main(arguments: Sequence[str] | None = None) -> int:
    """Run one command and return its exit code."""
    parser = argparse.ArgumentParser(prog="python -m testbed", description=__doc__)
    commands = parser.add_subparsers(dest="command", required=True)
    fetching = commands.add_parser("fetch", help="unpack the servers into the cache folder")
    fetching.add_argument("servers", nargs="*", metavar="server", help=f"{', '.join(fetch.servers())}; all by default")
    commands.add_parser("status", help="what is available here, in which version")
    chosen = parser.parse_args(arguments)
    if chosen.command == "fetch":
        return _fetch(chosen.servers)
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
    print(f"{'server':<10} {'version':<8} {'exactly':<20} where or why not")
    for item in fetch.CATALOGUE:
        reason = fetch.available(item.server, item.version)
        found = fetch.find(item)
        origin = found.origin if found else ""
        exactly = fetch.full_version(item) if found and origin != "PATH" else ""
        print(f"{item.server:<10} {item.version:<8} {exactly:<20} {reason or origin}")
    print(f"java: {fetch.java() or 'none'}")
    return 0


if __name__ == "__main__":
    sys.exit(main())
