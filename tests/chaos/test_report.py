"""The report: the right picture from a history, nothing loaded from elsewhere, nothing in it taken for markup."""

import json
import re
from itertools import pairwise
from pathlib import Path

import pytest

from chaos import judge, scenario
from chaos.history import FILE, lines
from chaos.report import page, patterns, text
from chaos.report.lanes import picture
from chaos.report.legend import legend
from chaos.report.story import story
from chaos.report.svg import timeline
from chaos.scenario import Expect, Scenario
from tests.chaos.test_judge import GOOD, QUIET, S, write, yes

SILENT = {"kind": "poll", "at_ns": 3 * S, "instance": "c1", "silent": "refused"}
HEALED = {"kind": "heal", "at_ns": 4 * S, "name": "cut", "text": "c1 cut"}


def no(instance, at_s, state):
    at_ns = int(at_s * S)
    return {"kind": "poll", "at_ns": at_ns, "got_ns": at_ns, "instance": instance, "leader": False, "state": state}


def promised(instance, token, at_s, until_s):
    facts = {"instance": instance, "token": token, "until_ns": int(until_s * S), "election": "jobs"}
    return {"kind": "promise", "at_ns": int(at_s * S), **facts}


def fault(name, at_s, what, heal_s):
    begin = {"kind": "fault", "at_ns": int(at_s * S), "name": name, "text": what, "targets": [], "led": "c1"}
    return [begin, {"kind": "heal", "at_ns": int(heal_s * S), "name": name, "text": what}]


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


def test_what_an_instance_says_of_itself_is_drawn():
    """A follower that does not know is no idle follower, and a leader whose store is silent is not as sure as another."""
    suspended = [{**yes("c1", 5, at_s, at_s + 0.3), "state": "suspended"} for at_s in (1.2, 1.5)]
    found = picture([GOOD[0], yes("c1", 5, 1.0, 1.3), *suspended, no("c1", 1.9, "unknown"), no("c1", 3.0, "follower"), GOOD[-1]])
    (stretch,) = found.lanes["c1"].stretches
    assert stretch.doubts == [(1.2, 1.8)], "to the end of the last promise"
    assert [(phase.what, phase.start_s, phase.end_s) for phase in found.lanes["c1"].phases] == [("unknown", 1.9, 3.0)]
    image = timeline(found)
    assert 'fill="url(#doubt)"' in image
    assert 'fill="url(#unknown)"' in image
    assert ">unknown</text>" in image
    key = legend(found)
    assert "suspended" in key
    assert "it does not know" in key
    assert "no answer" not in key, "only what there is"


def test_the_story():
    assert story(drawn()) == (
        "c2 took over with token 9, 3.0 s after the fault (c1 cut) and 3.70 s after the last promise of c1 had lapsed."
    )
    assert "nobody led all the time" in story(picture([GOOD[0]]))


def test_each_move_is_timed_from_the_fault_before_it():
    """In a herd that loses its leader twice the second move is not twenty seconds late."""
    found = picture(
        [
            *(GOOD[0], yes("c1", 5, 1, 1.3)),
            *fault("one", 2, "c1 killed", 4),
            *(yes("c2", 9, 5, 5.3),),
            *fault("two", 20, "c2 killed", 26),
            *(
                yes("c3", 11, 23, 23.3),
                yes("c3", 11, 27, 27.3),
                yes("c1", 12, 30, 30.3),
                yes("c2", 13, 33, 33.3),
                yes("c3", 14, 36, 36.3),
            ),
        ]
    )
    told = story(found).split("; ")
    assert told[0].startswith("c2 took over with token 9, 3.0 s after the fault (c1 killed)")
    assert told[1].startswith("c3 took over with token 11, 3.0 s after the fault (c2 killed)")
    assert told[2].startswith("c1 took over with token 12, 4.0 s after the end of the fault (c2 killed)")
    assert told[3] == "then 2 more moves, the last to c3."


def test_a_fault_at_the_very_instant_has_not_moved_it():
    lines = [
        GOOD[0],
        yes("c1", 5, 1, 1.3),
        *fault("one", 2, "c1 killed", 6),
        yes("c2", 9, 5, 5.3),
        *fault("two", 4.98, "s1 killed", 6),
    ]
    found = picture(sorted(lines, key=lambda line: line["at_ns"]))
    assert "3.0 s after the fault (c1 killed)" in story(found)


def test_an_overlap_is_outlined_with_its_milliseconds():
    found = drawn(yes("c1", 5, 5.1, 5.2))
    assert len(found.overlaps) == 1
    assert story(found) == "Two instances were leaders at once for 100 ms: c2 (token 9) and c1 (token 5)."
    assert re.search(r'class="overlap-text"[^>]*>100 ms of two leaders', timeline(found))
    assert story(found, control=True).endswith("That is what this control has to show.")


def test_one_long_claim_and_two_intruders_are_two_overlaps():
    found = picture([GOOD[0], yes("c1", 5, 1.0, 5.0), yes("c2", 6, 2.0, 2.1), yes("c3", 7, 3.0, 3.2)])
    assert [round(overlap.ms) for overlap in found.overlaps] == [100, 200]
    assert timeline(found).count('class="overlap"') == 2
    assert story(found) == "Two instances were leaders at once, 2 times, for up to 200 ms."


def test_an_overlap_that_only_the_journals_know_is_drawn():
    """Somebody else than the probes was told yes."""
    found = drawn(promised("c1", 5, 4.9, 5.15))
    (overlap,) = found.overlaps
    assert (round(overlap.ms), overlap.polled) == (150, False)
    assert 'class="overlap by-journals"' in timeline(found)
    assert "by the daemons' journals alone" in story(found)


def test_a_term_that_only_a_journal_knows_is_drawn_and_told_apart():
    """As at the end of a run, when the probes have stopped and one daemon after the other is."""
    found = drawn(promised("c1", 12, 7.0, 7.2))
    assert [(term.token, term.polled) for term in found.terms] == [(5, True), (9, True), (12, False)]
    assert "token 12" not in story(found), "no fault has moved it"
    assert 'class="unseen"' in timeline(found)


def test_who_promises_nothing_has_claimed_what_its_answers_enclose():
    def unpromised(instance, token, at_s):
        return {**yes(instance, token, at_s, at_s), "until_ns": int(at_s * S)}

    first = {**GOOD[0], "subject": "kazoo-election"}
    polls = [unpromised("c1", 1, n / 10) for n in range(10, 60)] + [unpromised("c2", 2, n / 10) for n in range(50, 90)]
    found = picture([first, *sorted(polls, key=lambda line: line["at_ns"])])
    assert sum(overlap.ms for overlap in found.overlaps) == pytest.approx(900.0, abs=0.01)


def test_what_was_taken_away_by_hand_is_told_as_that():
    facts = {"name": "r", "text": "revoked", "targets": ["c1"], "led": "c1", "breaks_promises": True}
    found = drawn({"kind": "fault", "at_ns": 5 * S, **facts}, yes("c1", 5, 5.1, 5.2))
    assert story(found) == "Taken away by hand: the last promise of the old term reached 100 ms into the next one."


def test_terms_that_follow_each_other_differ_without_colour_and_every_bar_has_its_number():
    found = picture([GOOD[0], *(yes("c1", token, token, token + 0.01) for token in range(1, 9)), GOOD[-1]])
    image = timeline(found)
    places = re.findall(r'<rect [^>]*rx="2" fill="(#[0-9a-f]{6})"/>(?:<rect [^>]*fill="url\(#(term\d)\)"/>)?', image)
    assert len(places) == 8
    assert all(one[1] != other[1] for one, other in pairwise(places)), "the pattern alone tells them apart"
    for token in range(1, 9):
        assert f">#{token}</text>" in image, "too short for it: above the bar"


def luminance(colour):
    parts = [int(colour[at : at + 2], 16) / 255 for at in (1, 3, 5)]
    red, green, blue = (part / 12.92 if part <= 0.03928 else ((part + 0.055) / 1.055) ** 2.4 for part in parts)
    return 0.2126 * red + 0.7152 * green + 0.0722 * blue


def test_white_numbers_can_be_read_on_every_colour():
    for colour in patterns.COLOURS:
        assert 1.05 / (luminance(colour) + 0.05) >= 4.5, colour


@pytest.mark.parametrize(("scheme", "ground"), [("light", "page"), ("light", "empty"), ("dark", "page"), ("dark", "empty")])
def test_every_word_can_be_read_by_day_and_by_night(scheme, ground):
    style = (Path(page.__file__).with_name("report.css")).read_text()
    blocks = re.findall(r":root \{([^}]*)\}", style)
    colours = dict(re.findall(r"--([a-z-]+):(#[0-9a-f]{3,6})\b", blocks[scheme == "dark"]))
    for name in ("ink", "soft", "link", "fault-line", "overlap", "warn"):
        pair = sorted((luminance(full(colours[each])) for each in (name, ground)), reverse=True)
        assert (pair[0] + 0.05) / (pair[1] + 0.05) >= 4.5, (name, ground, scheme)


def full(colour):
    return colour if len(colour) == 7 else "#" + "".join(2 * digit for digit in colour[1:])


def test_a_herd_of_followers_is_one_lane():
    polls = [no(f"c{number}", 1 + number / 100, "follower") for number in range(1, 31)]
    found = picture([GOOD[0], *polls, yes("c7", 5, 2, 2.3), promised("c9", 6, 7.5, 7.8), GOOD[-1]])
    image = timeline(found)
    assert list(found.lanes)[:3] == ["c1", "c2", "c3"]
    assert ">29 more</text>" in image
    assert "c1 to c30: followers as long as they were asked" in image
    assert image.count('class="empty"') == 1
    shown = text.lanes(found)
    assert [line.split()[0] for line in shown[:2]] == ["c7", "..."]
    assert "29 more, c1 to c30" in shown[1]


def test_lanes_as_text():
    refused, damage = write("fenced", 5, 7.0, accepted=False), [write("unfenced", 9, 6.5), write("unfenced", 5, 7.5)]
    shown = text.lanes(drawn(refused, *damage, yes("c1", 5, 5.1, 5.2), no("c2", 2.0, "unknown")), width=60)
    c1, c1_writes, c2, two, faults, key = shown
    assert c1.startswith("c1")
    assert "?" in c1
    assert [sign for sign in c1_writes if sign != " "] == ["w", "w", "w", "x", "!"]
    assert c2.startswith("c2")
    assert "/" in c2
    assert two.startswith("two leaders")
    assert "#" in two
    assert faults.endswith("c1 cut")
    assert "x a write refused as stale" in key
    assert "~" not in key, "only the signs that occur"
    assert all(len(line) <= 60 for line in shown[:4])


def rendered(folder, history, expect=None, logs=()):
    (folder / FILE).write_text("".join(json.dumps(line) + "\n" for line in history))
    for name, content in logs:
        (folder / name).parent.mkdir(exist_ok=True)
        (folder / name).write_text(content)
    wanted = QUIET if expect is None else Scenario(title="t", why="w", method=(), expect=expect)
    run = judge.read(folder)
    checks = judge.judge(run, wanted)
    path = page.write(folder, run, wanted, checks, judge.worst(check.verdict for check in checks))
    return path.read_text(), checks


def test_the_page_needs_nothing_from_elsewhere_and_no_text_is_markup(tmp_path):
    evil = "<script>alert(1)</script>"
    history = [{**line, "text": evil} if line["kind"] == "fault" else line for line in GOOD]
    history.insert(-1, write("fenced", 5, 7.0, accepted=False))
    log = json.dumps({"ts": "2026-11-23T10:00:00.000Z", "level": "info", "msg": evil, "token": 5}) + "\nplain text\n[1]\n"
    history[0] = {**history[0], "wall_ns": 1795428000 * S - 2 * S}
    document, checks = rendered(tmp_path, history, logs=[("c1/daemon.log", log)])
    assert "<script" not in document
    assert "http://" not in document.replace("http://www.w3.org/2000/svg", "")
    assert "https://" not in document
    assert "refused as stale" in document
    assert re.search(r"<i> +2\.000 s</i> <b>c1 +</b> &lt;script&gt;alert\(1\)&lt;/script&gt;  token=5", document)
    for check in checks:
        assert check.name in document


def test_every_verdict_leads_to_its_place_in_the_timeline_and_in_the_log(tmp_path):
    bad = [*GOOD[:-1], yes("c1", 5, 5.1, 5.5), GOOD[-1]]
    document, checks = rendered(tmp_path, sorted(bad, key=lambda line: line["at_ns"]), Expect(moves=1))
    rows = dict(re.findall(r'<th scope="row">([a-z-]+)</th>(.*?)</tr>', document))
    for name in ("no-overlap", "tokens-increase", "no-needless-move", "failover-within", "recovers", "faults-bite"):
        assert name in {check.name for check in checks}
        links = re.findall(r'href="#(at-[A-Z]+|log-\d+)"', rows[name])
        assert {link.partition("-")[0] for link in links} == {"at", "log"}, name
    for target in set(re.findall(r'href="#([^"]+)"', document)):
        assert document.count(f'id="{target}"') == 1, target
    (letter, number) = re.search(r'href="#at-([A-Z])"><b>.</b> 5\.\d\d s</a> <a href="#log-(\d+)"', rows["no-overlap"]).groups()
    assert f'id="at-{letter}"' in document
    line = re.search(rf'<span id="log-{number}".*?</span>', document, re.DOTALL)[0]
    assert "5." in line


def test_the_log_merges_all_who_spoke_on_one_clock_and_says_what_it_leaves_out(tmp_path):
    wall_s = 1_795_428_000  # 2026-11-23T10:00:00Z
    history = [{**GOOD[0], "wall_ns": wall_s * S}, *GOOD[1:]]
    consul = "    2026-11-23T10:00:02.500Z [INFO]  agent: hello\n" * 900 + "    2026-11-23T10:00:06.100Z [ERROR] agent: lost\n"
    logs = [
        ("c1/daemon.log", json.dumps({"ts": "2026-11-23T10:00:01.500Z", "level": "warning", "msg": "hm"}) + "\n"),
        ("c1/app.log", "Traceback (most recent call last):\n"),
        ("s1/server.log", consul),
        ("s2/server.log", '{"level":"warn","ts":"2026-11-23T10:00:05.250Z","msg":"apply took too long"}\n'),
    ]
    document, _ = rendered(tmp_path, history, logs=logs)
    said = re.findall(r'<span id="log-\d+" class="(\w+) (\w+)"><i> *([\d.]+) s</i> <b>(\w+) *</b>', document)
    assert [float(at_s) for _, _, at_s, _ in said] == sorted(float(at_s) for _, _, at_s, _ in said)
    assert ("daemons", "warning", "1.500", "c1") in said
    assert ("stores", "warning", "5.250", "s2") in said
    assert ("stores", "error", "6.100", "s1") in said, "the most urgent line of a file that is cut"
    assert {source for source, *_ in said} == {"daemons", "apps", "stores", "harness", "probes"}
    assert "201 of 901 lines of" in document
    assert 'href="s1/server.log"' in document


def test_every_line_kind_of_a_history_is_taken(tmp_path):
    (tmp_path / FILE).write_text("".join(json.dumps(line) + "\n" for line in [*GOOD, {"kind": "note", "at_ns": 9 * S}]))
    assert picture(lines(tmp_path)).length_s == 9.0
    assert scenario.names()
