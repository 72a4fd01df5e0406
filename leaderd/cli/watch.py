"""`leaderd status --watch` on a terminal: asks in the background once a second, draws more often, leaves the screen as it was."""

from __future__ import annotations

import os
import shutil
import sys
import threading
from typing import NoReturn, TextIO
from urllib.parse import quote

from leaderd.cli import daemon_client
from leaderd.cli.screen import MIN_WIDTH, Body, Known, Paper, screen
from leaderd.clock import BootClock
from leaderd.errors import EXIT_USAGE, Fatal

ASK_S = 1.0
DRAW_S = 0.25
_ENTER, _LEAVE = "\x1b[?1049h\x1b[?25l", "\x1b[?25h\x1b[?1049l"


class Watch:
    """Asks the daemon again and again; the drawing thread reads what it knows."""

    def __init__(self, socket: str, election: str | None) -> None:
        self._socket = socket
        self._election = election
        self._known = Known({}, {}, 0.0, "asking the daemon")
        self._heard_s = daemon_client.now_s()
        self._indexes: dict[str, object] = {}
        self._stop = threading.Event()

    def known(self) -> Known:
        """What is known, with its age now."""
        known = self._known
        return Known(known.body, known.histories, daemon_client.now_s() - self._heard_s, known.complaint)

    def ask(self) -> None:
        """Ask once; when nobody answers, what was known stays and grows old. Raises `Fatal` for an unknown election."""
        try:
            answer = daemon_client.get(self._socket, "/v1/elections")
            if answer.status != 200:
                raise daemon_client.Unreachable(answer.complaint())
            body = self._only(answer.json())
            histories = {str(each.get("election")): self._history(each) for each in _listed(body)}
        except daemon_client.Unreachable as exc:
            self._known = Known(self._known.body, self._known.histories, 0.0, exc.message)
            return
        self._heard_s = answer.asked_at_s  # a promise counts from before the question
        self._known = Known(body, histories, 0.0)

    def run(self) -> None:
        """Ask until told to stop."""
        while not self._stop.wait(ASK_S):
            self.ask()

    def stop(self) -> None:
        """End `run` after its present question."""
        self._stop.set()

    def _only(self, body: dict[str, object]) -> dict[str, object]:
        if self._election is None:
            return body
        found = [each for each in _listed(body) if each.get("election") == self._election]
        if not found:
            names = ", ".join(str(each.get("election")) for each in _listed(body))
            raise Fatal(f"the daemon does not stand in {self._election}; it stands in: {names}", EXIT_USAGE)
        return {**body, "elections": found}

    def _history(self, each: Body) -> list[Body]:
        name = str(each.get("election"))
        answer = daemon_client.get(self._socket, f"/v1/elections/{quote(name)}/history")
        terms = answer.json().get("terms") if answer.status == 200 else None
        return [term for term in terms if isinstance(term, dict)] if isinstance(terms, list) else []


def watch(socket: str, election: str | None, out: TextIO) -> NoReturn:
    """Draw until interrupted. Raises `Fatal` for an unknown election, and `KeyboardInterrupt` at the end."""
    watching = Watch(socket, election)
    watching.ask()
    asking = threading.Thread(target=watching.run, daemon=True)
    asking.start()
    clock = BootClock(jump_limit_s=1.0)
    out.write(_ENTER)
    try:
        pause = threading.Event()
        while True:
            lines = screen(watching.known(), paper(out), clock.wall_s())
            out.write("\x1b[H" + "\n".join(f"{line}\x1b[K" for line in lines) + "\x1b[J")
            out.flush()
            pause.wait(DRAW_S)
    finally:
        watching.stop()
        out.write(_LEAVE)
        out.flush()


def paper(out: TextIO) -> Paper:
    """The terminal as it is now. NO_COLOR and TERM=dumb are respected, and a terminal that is not UTF-8 gets plain characters."""
    size = shutil.get_terminal_size()
    colour = "NO_COLOR" not in os.environ and os.environ.get("TERM") != "dumb"
    blocks = (out.encoding or sys.getdefaultencoding()).lower().replace("-", "") == "utf8"
    return Paper(max(MIN_WIDTH, size.columns), max(4, size.lines), colour, blocks)


def _listed(body: Body) -> list[Body]:
    found = body.get("elections")
    return [each for each in found if isinstance(each, dict)] if isinstance(found, list) else []
