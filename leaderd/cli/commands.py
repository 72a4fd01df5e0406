"""Which commands there are, and the top of the command line. Imports none of them before it is asked for."""

from __future__ import annotations

import importlib
import sys
from collections.abc import Sequence

COMMANDS: dict[str, tuple[str, str]] = {
    # name: (module, one line for the help)
    "run": ("leaderd.cli.run", "run the daemon"),
    "is-leader": ("leaderd.cli.is_leader", "ask whether this instance leads: exit 0 yes, 1 no, 2 usage, 3 no daemon"),
    "status": ("leaderd.cli.status", "who leads, with which token, for how long; the queue and the store"),
    "wait": ("leaderd.cli.wait", "block until the daemon has started, or leads"),
    "exec": ("leaderd.cli.exec", "run a command only while this instance leads"),
    "resign": ("leaderd.cli.resign", "give leadership up"),
    "transfer": ("leaderd.cli.transfer", "hand leadership to a named candidate"),
    "pause": ("leaderd.cli.pause", "have nobody lead an election, until it is resumed or for a time"),
    "resume": ("leaderd.cli.resume", "end a pause"),
    "cordon": ("leaderd.cli.cordon", "take this instance out of an election"),
    "uncordon": ("leaderd.cli.uncordon", "let this instance stand again"),
    "history": ("leaderd.cli.history", "the last terms: token, leader, from when to when, and why they ended"),
    "why": ("leaderd.cli.why", "why this instance leads, or does not, and what led to it"),
    "plan": ("leaderd.cli.plan", "what this store and these timings mean in numbers; exit 1 when they are not safe"),
    "doctor": ("leaderd.cli.doctor", "look at the store, its permissions, queues and clock; exit 1 on a finding"),
    "config": ("leaderd.cli.config", "check, show, or describe (JSON schema) the configuration"),
}

USAGE = "usage: leaderd COMMAND [OPTION]..."


def run_command(argv: Sequence[str]) -> int:
    """Run `leaderd ARGV...` and return its exit code. Raises `Fatal` or `SystemExit` where there is nothing to return."""
    if not argv or argv[0] in {"-h", "--help", "help"}:
        print(_help(), file=sys.stdout if argv else sys.stderr)
        return 0 if argv else 2
    if argv[0] in {"-V", "--version"}:
        from leaderd import __version__

        print(f"leaderd {__version__}")
        return 0
    if argv[0] not in COMMANDS:
        return _unknown(argv[0])
    module = importlib.import_module(COMMANDS[argv[0]][0])
    code = module.main(argv[1:])
    assert isinstance(code, int)
    return code


def _help() -> str:
    width = max(map(len, COMMANDS))
    lines = [
        USAGE,
        "",
        "A leader-election sidecar whose yes cannot be stale.",
        "",
        "commands:",
        *(f"  {name:<{width}}  {meaning}" for name, (_, meaning) in COMMANDS.items()),
        "",
        "`leaderd COMMAND --help` tells more; `leaderd --version` tells the version.",
        "",
        "first steps, on one host and without a store:",
        "  leaderd run --election demo",
        "  leaderd is-leader demo && echo 'my turn'",
    ]
    return "\n".join(lines)


def _unknown(name: str) -> int:
    import difflib

    near = difflib.get_close_matches(name, COMMANDS, n=1)
    hint = f"did you mean {near[0]}?" if near else "commands: " + ", ".join(COMMANDS)
    shown = name[:40] if name.isprintable() else ascii(name[:40])
    print(f"{USAGE}\nleaderd: error: there is no command {shown!r}: {hint}", file=sys.stderr)
    return 2
