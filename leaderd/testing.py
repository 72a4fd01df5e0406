"""For the tests of apps: a leader moved by hand.

::

    from leaderd.testing import FakeLeader

    leader = FakeLeader("billing")
    leader.acquire()
    assert leader.is_leader()
    leader.lose()

As a pytest fixture `fake_leader`: `pytest_plugins = ["leaderd.integrations.pytest_plugin"]` in `conftest.py`.
"""

from __future__ import annotations

from time import CLOCK_BOOTTIME, clock_gettime_ns

from leaderd.client import Leader, NotLeader, Term


class FakeLeader(Leader):
    """A `Leader` that asks nobody. It starts as a follower; tokens rise with every term, as they do in earnest."""

    def __init__(self, name: str | None = "test") -> None:
        super().__init__(name)
        self.disabled = ""
        self._term: Term | None = None
        self._last_token = 0

    def acquire(self, valid_for_s: float = 3600.0) -> Term:
        """Begin a new term that is valid for so long, and return it."""
        self._last_token += 1
        self._term = Term(self._last_token, clock_gettime_ns(CLOCK_BOOTTIME) + int(valid_for_s * 1e9))
        return self._term

    def lose(self) -> None:
        """End the term."""
        self._term = None

    def look(self) -> Term | None:
        """The term, while it is valid."""
        return self._term if self._term is not None and self._term.valid_for_s > 0 else None

    def require(self, promise: str | float | None = None, *, token: int | None = None) -> Term:
        """The term; a `promise` in seconds must fit into it, one given as text is taken to. Raises `NotLeader`."""
        term = self.look()
        if term is None:
            raise NotLeader(f"not the leader of {self.name}: another_leads", "another_leads")
        if token is not None and token != term.token:
            raise NotLeader(f"not the leader of {self.name}: other_term", "other_term")
        if isinstance(promise, int | float) and term.valid_for_s < promise:
            raise NotLeader(f"not the leader of {self.name}: min_valid_unmet", "min_valid_unmet")
        return term
