"""The report: the right picture from a history, nothing loaded from elsewhere, nothing in it taken for markup."""

import json
import re

from chaos import judge, scenario
from chaos.history import FILE, lines
from chaos.report import page, text
from chaos.report.lanes import picture, story
from chaos.report.svg import timeline
from tests.chaos.test_judge import GOOD, QUIET, S, write, yes

SILENT = {"kind": "poll", "at_ns": 3 * S, "instance": "c1", "silent": "refused"}
HEALED = {"kind": "heal", "at_ns": 4 * S, "name": "cut", "text": "c1 cut"}


def drawn(*more):
    return picture(sorted([*GOOD, SILENT, HEALED, *more], key=lambda line: line["at_ns"]))


def test_lanes_terms_bands_and_silence():
    found = drawn(yes("c1", 5, 1.2, 1.5))
    first, second = found.lanes["c1"], found.lanes["c2"]
    (stretch,) = first.stretches
    assert (stretch.token, stretch.start_s, stretch.last_yes_s, stretch.until_s) == (5, 1.0, 1.2, 1.5)
    assert [s.token for s in second.stretches] == [9, 9], "nobody was asked in between"
    assert [(band.text, band.start_s, band.end_s, band.verified) for band in found.bands] == [("c1 cut", 2.0, 4.0, "gone")]
    assert first.silent[-1] == (3.0, 8.0), "silent to the end"
    assert [w.token for w in first.writes] == [5, 9]
    assert found.overlaps == []


def test_the_story():
    assert story(drawn()) == (
        "c2 took over with token 9, 3.0 s after the fault (c1 cut) and 3.70 s after the last promise of c1 had lapsed."
    )
    assert "nobody led all the time" in story(picture([GOOD[0]]))


def test_an_overlap_is_outlined_with_its_milliseconds():
    found = drawn(yes("c1", 5, 5.1, 5.2))
    assert len(found.overlaps) == 1
    assert story(found) == "Two instances were leaders at once, 1 times, for up to 100 ms."
    assert re.search(r'class="overlap-text"[^>]*>100 ms of two leaders', timeline(found))


def test_what_was_taken_away_by_hand_is_told_as_that():
    revoked = {
        "kind": "fault",
        "at_ns": 5 * S,
        "name": "r",
        "text": "revoked",
        "targets": ["c1"],
        "led": "c1",
        "breaks_promises": True,
    }
    found = drawn(revoked, yes("c1", 5, 5.1, 5.2))
    assert story(found) == "Taken away by hand: the last promise of the old term reached 100 ms into the next one."


def test_lanes_as_text():
    shown = text.lanes(drawn(), width=60)
    assert [line[:2] for line in shown] == ["c1", "c2", "  "]
    assert "?" in shown[0]
    assert shown[1].count("=") == 2, "two short stretches"
    assert shown[2].endswith("c1 cut")
    assert all(len(line) <= 60 for line in shown[:2])


def test_the_page_needs_nothing_from_elsewhere_and_no_text_is_markup(tmp_path):
    evil = "<script>alert(1)</script>"
    history = [{**line, "text": evil} if line["kind"] == "fault" else line for line in GOOD]
    history.insert(-1, write("fenced", 5, 7.0, accepted=False))
    (tmp_path / FILE).write_text("".join(json.dumps(line) + "\n" for line in history))
    (tmp_path / "c1").mkdir()
    (tmp_path / "c1" / "daemon.log").write_text(
        json.dumps({"ts": "2026-11-23T10:00:00.000Z", "level": "info", "msg": evil, "token": 5}) + "\nplain text\n[1]\n"
    )
    run = judge.read(tmp_path)
    checks = judge.judge(run, QUIET)
    path = page.write(tmp_path, run, QUIET, checks, judge.worst(check.verdict for check in checks))
    document = path.read_text()
    assert "<script" not in document
    assert "http://" not in document.replace("http://www.w3.org/2000/svg", "")
    assert "https://" not in document
    assert "refused as stale" in document
    assert "10:00:00.000Z c1 info" in document
    for check in checks:
        assert check.name in document


def test_every_line_kind_of_a_history_is_taken(tmp_path):
    (tmp_path / FILE).write_text("".join(json.dumps(line) + "\n" for line in [*GOOD, {"kind": "note", "at_ns": 9 * S}]))
    assert picture(lines(tmp_path)).length_s == 9.0
    assert scenario.names()
