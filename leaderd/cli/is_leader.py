"""`leaderd is-leader`: the question, for shells. Exit 0 means yes, and only a complete, fresh answer of the daemon gives it."""

from __future__ import annotations

import argparse
import re
from collections.abc import Sequence

from leaderd.cli import daemon_client
from leaderd.cli.options import client_parser, duration, election, token
from leaderd.errors import EXIT_NOT_LEADER, EXIT_OK, EXIT_UNREACHABLE, EXIT_USAGE, Fatal

EPILOG = """\
exit codes: 0 leader, 1 not leader, 2 usage or unknown election, 3 the daemon gave no answer

examples:
  leaderd is-leader -q reports && ./send-reports
  leaderd is-leader reports --min-valid 5s --promise 5s   # yes only if it holds for 5 s
  leaderd is-leader reports --token 42                    # still the same term?
"""


def main(argv: Sequence[str]) -> int:
    """Ask, print the answer, and return the exit code."""
    options = _parser().parse_args(argv)
    answer = daemon_client.get(daemon_client.socket_path(options.socket), _target(options))
    if answer.status not in {200, 503}:
        code = EXIT_USAGE if answer.status in {400, 404} else EXIT_UNREACHABLE
        raise Fatal(answer.complaint(), code)
    body = answer.json()
    if "leader" not in body:
        raise daemon_client.Unreachable("what answers at the socket is no leaderd: its answer is not the expected JSON")
    if not options.quiet:
        print(answer.body.decode("utf-8", "replace").rstrip(), flush=True)
    if answer.status != 200 or body["leader"] is not True:
        return EXIT_NOT_LEADER
    # Last of all, after everything that may have taken time: a frozen or slow client must not turn an old yes into exit 0.
    # Our clock before the request, plus the promise, is never later than the daemon's promise.
    valid_for_ms = body.get("valid_for_ms")
    if not isinstance(valid_for_ms, int | float):
        return EXIT_NOT_LEADER
    # Written so that a NaN is no yes either.
    fresh = daemon_client.now_s() < answer.asked_at_s + valid_for_ms / 1000
    # Safety: see test_answer_older_than_its_promise
    if not fresh and not _is_zero(options.promise):
        raise Fatal("the answer took longer than it was valid for: not leader", EXIT_NOT_LEADER)
    return EXIT_OK


def _is_zero(promise: str | None) -> bool:
    """Whether the caller asked for a mere look, without a promise."""
    return promise is not None and re.fullmatch(r"[0.]+[a-z]*", promise) is not None


def _target(options: argparse.Namespace) -> str:
    path = f"/is-leader/{options.election}" if options.election else "/is-leader"
    asked = {"min_valid": options.min_valid, "token": options.token, "promise": options.promise}
    query = "&".join(f"{name}={value}" for name, value in asked.items() if value is not None)
    return f"{path}?{query}" if query else path


def _parser() -> argparse.ArgumentParser:
    parser = client_parser("is-leader", "Ask the daemon whether this instance leads an election.", EPILOG)
    parser.add_argument("election", nargs="?", type=election, metavar="ELECTION", help="needed when the daemon stands in several")
    parser.add_argument("-q", "--quiet", action="store_true", help="print nothing: the exit code is the answer")
    parser.add_argument("--min-valid", type=duration, metavar="5s", help="yes only if the lease has at least that much left")
    parser.add_argument("--token", type=token, metavar="N", help="yes only if it is still the term with this token")
    parser.add_argument("--promise", type=_promise, metavar="5s", help="how long the yes shall hold; 0 for a mere look")
    return parser


def _promise(text: str) -> str:
    return "0" if text == "0" else duration(text)
