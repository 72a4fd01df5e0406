"""The judges themselves: each finds what it is for, and nothing in a clean history."""

from __future__ import annotations

from chaos.checkers import Claim, Window, Write, leaderless, merged, overlaps, stale_writes, token_faults, without


def claim(holder: str, token: int, start_s: float, end_s: float, election: str = "e") -> Claim:
    return Claim(election, holder, token, start_s, end_s)


CLEAN = [claim("a", 1, 0, 5), claim("b", 2, 5, 9), claim("a", 3, 9.5, 12), claim("x", 1, 0, 20, "other")]


def test_clean_history() -> None:
    assert overlaps(CLEAN) == []
    assert token_faults(CLEAN) == []
    assert leaderless(CLEAN, ["e"], [Window(0, 12)], 0.6) == []


def test_overlap_of_two_holders_is_found_once() -> None:
    found = overlaps([claim("a", 1, 0, 5), claim("b", 2, 4.9, 9)])
    assert [finding.at_s for finding in found] == [4.9]
    assert "0.1000 s together" in found[0].text


def test_overlap_hidden_behind_a_long_claim_is_found() -> None:
    assert len(overlaps([claim("a", 1, 0, 100), claim("b", 2, 50, 51), claim("c", 3, 60, 61)])) == 2


def test_touching_claims_do_not_overlap() -> None:
    assert overlaps([claim("a", 1, 0, 5), claim("b", 2, 5, 6)]) == []


def test_two_tokens_of_one_holder_overlap() -> None:
    assert overlaps([claim("a", 1, 0, 5), claim("a", 2, 4, 6)])


def test_claims_of_one_term_are_joined() -> None:
    assert merged([claim("a", 1, 2, 4), claim("a", 1, 0, 3), claim("a", 1, 6, 7)]) == [claim("a", 1, 0, 4), claim("a", 1, 6, 7)]


def test_what_is_excused_is_cut_out() -> None:
    assert without([claim("a", 1, 0, 10)], [claim("a", 1, 3, 5)]) == [claim("a", 1, 0, 3), claim("a", 1, 5, 10)]
    assert without([claim("a", 1, 0, 10)], [claim("a", 2, 3, 5), claim("b", 1, 3, 5)]) == [claim("a", 1, 0, 10)]
    assert without([claim("a", 1, 3, 4)], [claim("a", 1, 0, 10)]) == []


def test_tokens_must_rise() -> None:
    assert token_faults([claim("a", 5, 0, 1), claim("b", 5, 2, 3)])
    assert token_faults([claim("a", 5, 0, 1), claim("b", 4, 2, 3)])


def test_a_restore_forgives_down_to_its_mark() -> None:
    claims = [claim("a", 9, 0, 1), claim("b", 4, 3, 4)]
    assert token_faults(claims, {"e": [(2.0, 3)]}) == []
    assert token_faults(claims, {"e": [(2.0, 4)]})
    assert token_faults(claims, {"e": [(3.5, 3)]})
    assert token_faults([claim("a", 9, 5, 6), claim("b", 4, 7, 8)], {"e": [(2.0, 3)]})


def test_a_gap_counts_only_inside_a_window() -> None:
    claims = [claim("a", 1, 0, 2), claim("b", 2, 9, 12)]
    assert leaderless(claims, ["e"], [Window(0, 4), Window(6, 12)], 5.0) == []
    assert [finding.at_s for finding in leaderless(claims, ["e"], [Window(0, 12)], 5.0)] == [7.0]
    assert leaderless([], ["e"], [Window(0, 12)], 5.0)


def test_the_fence() -> None:
    def write(token: int, accepted: bool) -> Write:
        return Write(0.0, "e", "a", token, accepted)

    assert stale_writes([write(1, True), write(2, True), write(1, False), write(2, True)]) == []
    assert stale_writes([write(2, True), write(1, True)])
    assert stale_writes([write(1, True), write(2, False)])
