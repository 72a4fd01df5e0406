"""What the wrapper makes of an answer."""

from __future__ import annotations

import json

import pytest

from leaderd.cli import daemon_client
from leaderd.errors import Fatal
from leaderd.exec.validity import Question

YES = {"election": "jobs", "leader": True, "state": "leader", "reason": "lease_held", "token": 7}
YES |= {"valid_for_ms": 2000, "lease_remaining_ms": 8000}


def ask(monkeypatch: pytest.MonkeyPatch, status: int, body: dict[str, object]) -> object:
    answer = daemon_client.Answer(status, json.dumps(body).encode(), 100.0)
    monkeypatch.setattr(daemon_client, "get", lambda *_: answer)
    return Question("/nowhere", "jobs").ask(2.0, 1.0)


def test_slow_answer_is_dated_from_the_question(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(daemon_client, "now_s", lambda: 109.0)
    assert ask(monkeypatch, 200, YES).until_s == 102.0


@pytest.mark.parametrize(
    "change", [{"leader": False}, {"leader": 1}, {"token": None}, {"valid_for_ms": None}, {"valid_for_ms": "9"}]
)
def test_anything_but_a_whole_yes_is_a_no(monkeypatch: pytest.MonkeyPatch, change: dict[str, object]) -> None:
    assert not ask(monkeypatch, 200, YES | change).leader
    assert not ask(monkeypatch, 503, YES).leader


def test_a_wrong_question_is_fatal_and_an_overloaded_daemon_is_not(monkeypatch: pytest.MonkeyPatch) -> None:
    with pytest.raises(Fatal) as refused:
        ask(monkeypatch, 404, {"detail": "no such election"})
    assert refused.value.code == 125
    with pytest.raises(daemon_client.Unreachable):
        ask(monkeypatch, 500, {})
