"""What the client commands' options have in common."""

from __future__ import annotations

import argparse
import re


def client_parser(command: str, description: str, epilog: str) -> argparse.ArgumentParser:
    """A parser with the options every client command takes."""
    parser = argparse.ArgumentParser(
        prog=f"leaderd {command}",
        description=description,
        epilog=epilog,
        formatter_class=argparse.RawDescriptionHelpFormatter,
        allow_abbrev=False,
    )
    parser.add_argument("--socket", metavar="PATH", help="the daemon's socket (default: LEADERD_SOCKET, else the default path)")
    return parser


def token(text: str) -> int:
    """A fencing token."""
    if not re.fullmatch(r"[0-9]{1,20}", text, re.ASCII):
        raise argparse.ArgumentTypeError(f"{text!r} is no fencing token: a token is a whole number")
    return int(text)


def election(text: str) -> str:
    """An election's name, checked before it becomes part of a request."""
    if not re.fullmatch(r"[A-Za-z0-9][A-Za-z0-9._-]{0,62}", text, re.ASCII):
        raise argparse.ArgumentTypeError(f"{text!r} is no election name: 1 to 63 of A-Z a-z 0-9 . _ -, a letter or digit first")
    return text


def duration(text: str) -> str:
    """A duration, as text for the daemon."""
    from leaderd.config.durations import DurationError, parse_duration

    try:
        parse_duration(text)
    except DurationError as exc:
        raise argparse.ArgumentTypeError(f"{text!r}: {exc}") from None
    return text


def seconds(text: str) -> float:
    """A duration, in seconds."""
    from leaderd.config.durations import parse_duration

    return parse_duration(duration(text))
