"""The drawing of `status --watch`: facts, their age and a size go in, lines come out."""

import re
import time

import pytest

from leaderd.cli.screen import Known, Paper, screen
from tests.cli.conftest import FOLLOWING, LEADING

NOW_S = 1_800_000_000.0
PLAIN = Paper(80, 40, colour=False)
QUEUE = [
    {"instance": "pod-1", "token": 42, "leader": True, "own": True},
    {"instance": "pod-2", "token": 43, "leader": False, "own": False},
]
LEADS = LEADING | {"candidates": QUEUE, "timing": {"valid_for_max_s": 9.4}}
STORE = {"kind": "etcd", "connected": True, "last_seen_ms": 412}


def known(*elections, age_s=0.0, complaint="", histories=None):
    body = {"instance": "pod-1", "store": STORE, "elections": list(elections)}
    return Known(body, histories or {}, age_s, complaint)


def at(ago_s):
    return time.strftime("%Y-%m-%dT%H:%M:%SZ", time.gmtime(NOW_S - ago_s))


def test_the_whole_picture():
    terms = [
        {"token": 40, "leader": "pod-2", "started_at": at(800), "ended_at": at(500)},
        {"token": 42, "leader": "pod-1", "started_at": at(400), "ended_at": None},
    ]
    assert screen(known(LEADS, histories={"a": terms}), PLAIN, NOW_S) == [
        "leaderd on pod-1   etcd connected, last answer 0.4 s ago",
        "",
        "a  leads here",
        "  leader   pod-1 (this instance)   token 42",
        "  lease    " + "\u2588" * 39 + "\u2591" * 11 + " 7.3 s of 9.4 s",
        "  queue    1 pod-1*   2 pod-2   (* this instance)",
        "  terms    pod-1 " + "\u00b7" * 35 + "\u258442" + "\u2584" * 25,
        "           pod-2 " + "\u00b7" * 7 + "\u258440" + "\u2584" * 19 + "\u00b7" * 34,
        "                 15 min ago" + " " * 50 + "now",
        "",
    ]


def test_a_lease_runs_out_by_the_readers_own_clock():
    def lines(age_s):
        return "\n".join(screen(known(LEADS, age_s=age_s, complaint="no answer"), PLAIN, NOW_S))

    assert "5.3 s of 9.4 s" in lines(2.0)
    assert "leads here" in lines(7.3)
    gone = lines(7.4)
    assert "lease ran out" in gone
    assert "leads here" not in gone
    assert "nobody, or not known" in gone
    assert "no answer" in gone
    assert "connected" not in gone


def test_a_follower_a_silent_store_and_a_pause():
    pause = {"by": "alice", "reason": "store upgrade", "expires_at": "2027-01-15T09:00:00Z"}
    paused = FOLLOWING | {
        "election": "b",
        "state": "paused",
        "reason": "paused",
        "leader_instance": None,
        "pause": pause,
        "candidates": [],
    }
    silent = LEADS | {"election": "c", "state": "suspended", "reason": "store_silent"}
    text = "\n".join(screen(known(FOLLOWING | {"candidates": QUEUE[1:]}, paused, silent), PLAIN, NOW_S))
    assert "a  follows here\n  leader   pod-2   token -" in text
    assert "b  paused\n  PAUSED by alice until 2027-01-15T09:00:00Z: store upgrade. Nobody leads." in text
    assert "c  leads here, store silent" in text


@pytest.mark.parametrize("width", [40, 57, 80, 200])
@pytest.mark.parametrize("height", [5, 24, 60])
@pytest.mark.parametrize("count", [0, 1, 30])
def test_it_fits_the_window(width, height, count):
    terms = [
        {"token": n, "leader": f"pod-{n % 7}", "started_at": at(3000 - n * 20), "ended_at": at(2990 - n * 20)} for n in range(100)
    ]
    elections = [LEADS | {"election": f"an-election-with-a-rather-long-name-{n}"} for n in range(count)]
    histories = {each["election"]: terms for each in elections}
    for paper in (Paper(width, height), Paper(width, height, colour=False, blocks=False)):
        lines = screen(known(*elections, histories=histories, complaint="c" * 300), paper, NOW_S)
        assert len(lines) <= height
        assert [line for line in lines if len(re.sub(r"\x1b\[[0-9;]*m", "", line)) > width] == []
        if not paper.blocks:
            assert "".join(lines).isascii()


def test_what_is_cut_off_is_said():
    lines = screen(known(*[LEADS | {"election": f"e{n}"} for n in range(30)]), Paper(80, 10, colour=False), NOW_S)
    assert lines[-1] == "and 23 more lines: make the window higher, or name one election"


@pytest.mark.parametrize("garbage", [None, 7, "x", [], [1], [{"election": None, "candidates": 3, "lease_remaining_ms": "x"}]])
def test_an_answer_of_another_shape_is_drawn_as_unknown(garbage):
    histories = {"-": [{"started_at": 3}, {"started_at": "x"}]}
    assert (
        screen(Known({"elections": garbage, "store": garbage}, histories, 0.0), PLAIN, NOW_S)[0] == "leaderd on -   store unknown"
    )


def test_names_from_peers_move_no_cursor():
    evil = LEADS | {"leader_instance": "\x1b[2J", "candidates": [{"instance": "a\nb", "own": False}], "pause": {"reason": "\r"}}
    lines = screen(known(evil, histories={"a": [{"leader": "\x07", "token": 1, "started_at": at(10)}]}), PLAIN, NOW_S)
    assert all(line.isprintable() for line in lines)
