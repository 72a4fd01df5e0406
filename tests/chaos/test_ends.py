"""How daemons end: what nobody asked for, and what came otherwise than it was asked for."""

import pytest

from chaos.checkers import End, crashes
from chaos.judge import FAIL, PASS
from tests.chaos.test_judge import GOOD, S, judged, of


@pytest.mark.parametrize(
    ("code", "asked", "complaint"),
    [
        (70, (), "an error of its own"),
        (70, ("SIGTERM",), "an error of its own"),
        (78, ("SIGTERM",), "a configuration that it refuses"),
        (0, (), "nobody had asked it to"),
        (1, (), "nobody had asked it to"),
        (-9, (), "nobody had asked it to"),
        (-11, ("SIGTERM",), "signal 11 after SIGTERM"),
        (-9, ("SIGTERM",), "signal 9 after SIGTERM"),  # it did not go by itself
        (-15, ("SIGTERM",), "signal 15 after SIGTERM"),  # with its handler in place
        (143, ("SIGTERM",), "with 143 after SIGTERM"),
        (0, ("SIGKILL",), "with 0 after SIGKILL"),
        (1, ("SIGTERM", "SIGKILL"), "with 1 after SIGTERM and SIGKILL"),
    ],
)
def test_a_crash_is_found(code, asked, complaint):
    (finding,) = crashes([End("c1", "100", 5.0, code, asked)], {"c1#100"})
    assert complaint in finding.text
    assert finding.text.startswith("c1 (life 100)")


@pytest.mark.parametrize(
    ("code", "asked", "spoke"),
    [
        (0, ("SIGTERM",), {"c1#100"}),
        (0, ("SIGTERM", "SIGTERM"), {"c1#100"}),
        (-9, ("SIGKILL",), {"c1#100"}),
        (-9, ("SIGTERM", "SIGKILL"), {"c1#100"}),
        (-15, ("SIGTERM",), {"c1#99"}),  # before there was a handler
    ],
)
def test_an_orderly_end_is_none(code, asked, spoke):
    assert crashes([End("c1", "100", 5.0, code, asked)], spoke) == []


def ended(code, asked, life="100"):
    return {"kind": "exit", "at_ns": 7 * S, "pod": "c1", "life": life, "code": code, "asked": asked}


@pytest.mark.parametrize(("line", "verdict"), [(ended(0, ["SIGTERM"]), PASS), (ended(0, []), FAIL), (ended(70, []), FAIL)])
def test_the_judge_looks_at_them(tmp_path, line, verdict):
    lines = [of("100", each) if each["kind"] == "poll" else each for each in GOOD[:-1]]
    checks, worst = judged(tmp_path, [*lines, line, GOOD[-1]])
    assert checks["never-crashes"].verdict == verdict
    assert worst == verdict


def test_who_never_spoke_may_have_met_the_signal_too_early(tmp_path):
    early = [*GOOD[:-1], ended(-15, ["SIGTERM"], "101"), GOOD[-1]]
    assert judged(tmp_path, early)[0]["never-crashes"].verdict == PASS
    spoke = [*GOOD[:-1], of("101", {**GOOD[5], "at_ns": 7 * S, "got_ns": 7 * S}), ended(-15, ["SIGTERM"], "101"), GOOD[-1]]
    assert judged(tmp_path, spoke)[0]["never-crashes"].verdict == FAIL


def test_a_history_without_ends_is_judged_without_them(tmp_path):
    assert "never-crashes" not in judged(tmp_path, GOOD)[0]
