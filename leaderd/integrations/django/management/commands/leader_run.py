"""`manage.py leader_run ELECTION COMMAND ...`: runs another management command if this instance leads, else skips it quietly.

Leadership is asked for once, before the command begins: `--min-valid` is how long it is promised for, so let it cover the run.
"""

from __future__ import annotations

import argparse
from typing import Any

from django.core.management import BaseCommand, CommandError, call_command

from leaderd.client import DaemonUnreachable, Leader, NotLeader


class Command(BaseCommand):  # type: ignore[misc]  # Django has no types
    """Skips with exit 0 when not leading, as cron likes it; a daemon that does not answer is an error."""

    help = "Runs a management command if this instance leads the election."

    def add_arguments(self, parser: argparse.ArgumentParser) -> None:
        """The election, the command, and how long the promise shall hold."""
        parser.add_argument("--min-valid", default=None, metavar="5s", help="skip unless leadership is promised for so long")
        parser.add_argument("election")
        parser.add_argument("command_name", metavar="command")
        parser.add_argument("arguments", nargs=argparse.REMAINDER)

    def handle(self, *args: Any, **options: Any) -> None:  # noqa: ANN401 - as Django has it
        """Ask, then run or skip."""
        try:
            Leader(options["election"]).require(options["min_valid"])
        except NotLeader as error:
            self.stderr.write(f"skipped: {error}")
            return
        except (DaemonUnreachable, ValueError) as error:
            raise CommandError(str(error)) from None
        call_command(options["command_name"], *options["arguments"])
