"""What the operators' commands have in common: their parser, one change asked of the daemon, and its answer or its refusal."""

from __future__ import annotations

import argparse
from typing import Any

from leaderd.cli import daemon_client
from leaderd.cli.options import client_parser, election
from leaderd.errors import EXIT_NOT_LEADER, EXIT_UNREACHABLE, EXIT_USAGE, Fatal

ACTION_TIMEOUT_S = 30.0
"""A change is answered when the store has it, and the promises have lapsed."""
CODES = "exit codes: 0 done, 1 refused (the message says why), 2 usage or unknown election, 3 the daemon gave no answer\n"


def operator_parser(command: str, description: str, more: str = "") -> argparse.ArgumentParser:
    """A parser with what every operator's command takes."""
    parser = client_parser(command, description, CODES + more)
    parser.add_argument("election", type=election, metavar="ELECTION")
    parser.add_argument("-o", "--output", choices=["text", "json"], default="text", help="default: text")
    return parser


def ask_change(
    options: argparse.Namespace, method: str, verb: str, body: dict[str, Any], timeout_s: float = ACTION_TIMEOUT_S
) -> dict[str, Any]:
    """Ask for a change of the election; keys that are None are left out. Raises `Fatal` when it is refused."""
    import json

    target = f"/v1/elections/{options.election}/{verb}"
    said = json.dumps({key: value for key, value in body.items() if value is not None})
    try:
        answer = daemon_client.change(daemon_client.socket_path(options.socket), method, target, said, timeout_s)
    except daemon_client.Unreachable as exc:
        raise Fatal(f"{exc.message} (if it was asked, it may be done all the same: see `leaderd status`)", exc.code) from None
    return _found(answer, {200, 202})


def ask_past(options: argparse.Namespace, what: str) -> dict[str, Any]:
    """Ask for the history or the why of the election. Raises `Fatal`."""
    target = f"/v1/elections/{options.election}/{what}"
    return _found(daemon_client.get(daemon_client.socket_path(options.socket), target), {200})


def show(options: argparse.Namespace, found: dict[str, Any], text: str) -> None:
    """Print the answer as the user wants it."""
    if options.output == "json":
        import json

        text = json.dumps(found, indent=2)
    print(text, flush=True)


def _found(answer: daemon_client.Answer, good: set[int]) -> dict[str, Any]:
    if answer.status in good:
        found = answer.json()
        if "election" not in found:
            raise daemon_client.Unreachable("what answers at the socket is no leaderd: its answer is not the expected JSON")
        return found
    problem = answer.json()
    if answer.status == 400 or problem.get("parameter") == "election" or problem.get("kind") == "unknown_election":
        raise Fatal(answer.complaint(), EXIT_USAGE)
    raise Fatal(answer.complaint(), EXIT_NOT_LEADER if "title" in problem and answer.status != 500 else EXIT_UNREACHABLE)
