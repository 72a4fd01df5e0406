"""Judges a run by its history alone: every checker's finding, and the verdict PASS, FAIL or UNKNOWN.

UNKNOWN is for a run that showed nothing: a fault that did not bite, a control without its anomaly, no leader to begin with.
"""

from __future__ import annotations

from collections.abc import Iterable
from dataclasses import dataclass
from itertools import combinations

from chaos.checkers import promises
from chaos.checkers.ends import crashes
from chaos.checkers.fence import stale_writes
from chaos.checkers.history import Claim, Finding, Window, merged, without
from chaos.checkers.honest import Answer, dishonest
from chaos.checkers.liveness import leaderless
from chaos.checkers.overlap import overlaps
from chaos.checkers.stops import Severed, Taken, outlived, unnoticed
from chaos.checkers.tokens import dead_terms, token_faults
from chaos.evidence import Run, begun_s, instance, read
from chaos.scenario import Scenario, seconds

__all__ = ["Check", "Run", "failover_s", "figures", "gaps_s", "judge", "read", "together_s", "worst"]

PASS, FAIL, UNKNOWN = "PASS", "FAIL", "UNKNOWN"
NOTICE_S = 1.0
"""Within which whoever led has to notice that an operator took it away."""


@dataclass(frozen=True, slots=True)
class Check:
    """One checker's word on one run."""

    name: str
    verdict: str
    text: str
    at_ns: tuple[int, ...] = ()


def judge(run: Run, scenario: Scenario) -> list[Check]:
    """Every check of a run; of a peer, those that do not ask for tokens or promises."""
    if run.subject != "leaderd":
        return [_together(run), _peer_failover(run), _shown(run)]
    return [
        *_exclusive(run, scenario),
        _increase(run, scenario),
        _broken("no-stale-write", stale_writes(run.writes), f"{len(run.writes)} fenced writes in order of their tokens"),
        _honest(run, scenario),
        *_cut_off(run, scenario),
        *_noticed(run),
        *_moves(run, scenario),
        _failover(run, scenario),
        _recovers(run, scenario),
        *_control(run, scenario),
        *_writes(run, scenario),
        *_orphans(run),
        *_ends(run),
        _logs(run),
        _shown(run),
    ]


def _exclusive(run: Run, scenario: Scenario) -> list[Check]:
    found = overlaps(without(run.claims, _by_hand(run)))
    if scenario.expect.overlap:
        if found:
            return [Check("control", PASS, f"beyond what is allowed for two lead at once: {found[0].text}")]
        return [Check("control", UNKNOWN, "no two led at once, so the run has not shown that the bound is needed")]
    fine = f"{len(run.claims)} promises, none of two holders share an instant{_gap(run)}"
    return [_broken("no-overlap", found, fine), *_promised(run, scenario)]


def _increase(run: Run, scenario: Scenario) -> Check:
    # Where two are meant to lead at once, the older term goes on beside the newer one.
    again = [] if scenario.expect.overlap else dead_terms(without([*run.claims, *run.promises], _by_hand(run)))
    found = [*token_faults([*run.claims, *run.promises]), *again]
    return _broken("tokens-increase", found, f"tokens {', '.join(str(t) for t in _tokens(run)) or 'none'}")


def _cut_off(run: Run, scenario: Scenario) -> list[Check]:
    """Where somebody was cut off for longer than a lease lasts."""
    severed = []
    for fault in run.faults:
        at_s = fault["at_ns"] / 1e9
        until_s = run.healing(fault["name"], at_s).start_s
        severed += [Severed(each, at_s, until_s, str(fault["text"])) for each in fault.get("severs", ())]
    if not severed:
        return []
    lease_s = float(run.facts.get("lease_s") or run.facts["ttl_s"]) / min(scenario.expect.clock_rate, 1.0)
    found = outlived([*run.claims, *run.promises], severed, lease_s, instance)
    fine = f"nobody claims anything beyond {lease_s:.2f} s after the store was out of reach"
    return [_broken("cut-off-stops", found, fine)]


def _noticed(run: Run) -> list[Check]:
    """Where an operator took a term away, whether or not anybody led after it."""
    taken = []
    for fault in run.faults:
        if not fault.get("breaks_promises"):
            continue
        at_s, from_s = fault["at_ns"] / 1e9, begun_s(fault)
        held = [claim for claim in run.claims if instance(claim.holder) == fault["led"] and claim.start_s <= from_s]
        if held:
            last = max(held, key=lambda claim: claim.start_s)
            taken.append(Taken(last.holder, last.token, at_s + NOTICE_S, str(fault["text"])))
    if not taken:
        return []
    return [_broken("noticed", unnoticed(run.answers, run.promises, taken), f"a no within {NOTICE_S:g} s")]


def _ends(run: Run) -> list[Check]:
    """Where the ends of processes were written down."""
    if not run.ends:
        return []
    fine = f"{len(run.ends)} processes ended, each when and as it was told to"
    return [_broken("never-crashes", crashes(run.ends, run.spoke), fine)]


def _promise_s(run: Run, scenario: Scenario) -> float:
    return float(run.facts.get("promise_s") or run.facts["ttl_s"]) / min(scenario.expect.clock_rate, 1.0)


def _dated(run: Run, scenario: Scenario) -> list[Answer]:
    """The answers but for those whose promise was under way where the rate of a clock changed: it ends at another instant than was
    reckoned when it was given."""
    if scenario.expect.clock_rate == 1.0:
        return run.answers
    promise_s = _promise_s(run, scenario)
    return [each for each in run.answers if not any(at_s - promise_s < each.got_s < at_s + promise_s for at_s in run.changes)]


def _honest(run: Run, scenario: Scenario) -> Check:
    promise_s, answers = _promise_s(run, scenario), _dated(run, scenario)
    fine = f"{len(answers)} answers agree with their own state, token and promise"
    return _broken("answers-honest", dishonest(answers, promise_s), fine)


def _promised(run: Run, scenario: Scenario) -> list[Check]:
    """By the daemons' journals, where the run has them: as exact as `no-overlap`, and with what nobody polled."""
    if not run.facts.get("journals"):
        return []
    if run.claims and not run.promises:
        return [Check("promises-kept", UNKNOWN, "the daemons' journals hold no promise")]
    everything = without(merged([*run.promises, *run.claims]), _by_hand(run))
    findings = [*overlaps(everything), *promises.unkept(_dated(run, scenario), run.promises)]
    fine = f"{len(run.promises)} promises in the daemons' journals; all had lapsed before the next claim, and cover every yes"
    return [_broken("promises-kept", findings, fine)]


def _logs(run: Run) -> Check:
    if not run.errors:
        return Check("no-errors", PASS, "no daemon's log calls anything an error")
    first = run.errors[0]
    return Check(
        "no-errors", FAIL, f"{len(run.errors)} errors in the daemons' logs; first, of {first['pod']}: {first['text'][:300]}"
    )


def _by_hand(run: Run) -> list[Claim]:
    """What an operator took away: whoever led then is excused for the second within which it has to notice (I10)."""
    taken = []
    for fault in run.faults:
        if fault.get("breaks_promises"):
            at_s = fault["at_ns"] / 1e9
            held = {claim[1:3] for claim in run.claims if instance(claim.holder) == fault["led"] and claim.start_s <= at_s}
            taken += [Claim("jobs", *whose, at_s - NOTICE_S, at_s + NOTICE_S) for whose in held]
    return taken


def worst(verdicts: Iterable[str]) -> str:
    """The worst of them: FAIL before UNKNOWN before PASS."""
    found = set(verdicts)
    return FAIL if FAIL in found else UNKNOWN if UNKNOWN in found else PASS


def together_s(run: Run) -> float:
    """For how long two instances claimed at once."""
    pairs = combinations(merged(run.claims), 2)
    return sum(max(0.0, min(a.end_s, b.end_s) - max(a.start_s, b.start_s)) for a, b in pairs if a.holder != b.holder)


def failover_s(run: Run) -> float | None:
    """To the first claim of an instance that had not claimed before the first fault, from the last fault before that; None if there
    was none. Earlier faults did not move it.
    """
    if not run.faults:
        return None
    injected_s = [fault["at_ns"] / 1e9 for fault in run.faults]
    before = {instance(claim.holder) for claim in run.claims if claim.start_s < injected_s[0]}
    first_s = min((claim.start_s for claim in run.claims if instance(claim.holder) not in before), default=None)
    return None if first_s is None else first_s - max(at_s for at_s in injected_s if at_s <= first_s)


def figures(run: Run) -> dict[str, float | int | bool | None]:
    """What a table over many runs is made of; None where the run has no such figure."""
    gaps, took_s = promises.gaps_s([*run.claims, *run.promises]), failover_s(run)
    return {
        "claims": len(run.claims),
        "promises": len(run.promises),
        "terms": len(_tokens(run)),
        "fenced_writes": len(run.writes),
        "together_ms": round(together_s(run) * 1000, 1),
        "failover_s": None if took_s is None else round(took_s, 2),
        "smallest_gap_ms": round(min(gaps) * 1000, 1) if gaps else None,
        "by_hand": any(bool(fault.get("breaks_promises")) for fault in run.faults),
    }


def _together(run: Run) -> Check:
    both_s = together_s(run)
    return Check("no-overlap", FAIL if both_s > 0 else PASS, f"two leaders for {both_s * 1000:.0f} ms")


def _peer_failover(run: Run) -> Check:
    if run.missed:
        return Check("failover-within", FAIL, "; ".join(str(line["text"]) for line in run.missed))
    took_s = failover_s(run)
    if took_s is None:
        return Check("failover-within", FAIL, "nobody took over")
    return Check("failover-within", PASS, f"somebody else led {took_s:.1f} s after the fault")


def _broken(name: str, findings: list[Finding], fine: str) -> Check:
    if not findings:
        return Check(name, PASS, fine)
    return Check(
        name, FAIL, f"{len(findings)} times; first: {findings[0].text}", tuple(int(each.at_s * 1e9) for each in findings[:20])
    )


def _tokens(run: Run) -> list[int]:
    return list(dict.fromkeys(claim.token for claim in sorted(run.claims, key=lambda claim: claim.start_s)))


def gaps_s(run: Run) -> list[float]:
    """From the end of the last promise of each term to the first claim of the next, by what was answered."""
    return promises.gaps_s(run.claims)


def _gap(run: Run) -> str:
    gaps = promises.gaps_s([*run.claims, *run.promises])
    return f"; smallest gap between an old promise and a new claim {min(gaps) * 1000:.1f} ms" if gaps else ""


def _moves(run: Run, scenario: Scenario) -> list[Check]:
    wanted = scenario.expect.moves
    if wanted is None:
        return []
    least, most = (wanted, wanted) if isinstance(wanted, int) else wanted
    # While the pods come up the machine is busy with that, and the first one may lose its term to it.
    moves = len({claim.token for claim in run.claims if claim.end_s > run.began_s}) - 1
    word = PASS if least <= moves <= most else _too_few(run) if moves < least else FAIL
    expected = f"{least}" if least == most else f"{least} to {most}"
    return [Check("no-needless-move", word, f"{moves} new terms, expected {expected}")]


def _failover(run: Run, scenario: Scenario) -> Check:
    bound_s = float(run.facts["bound_s"])
    if run.missed:
        text = "; ".join(str(line["text"]) for line in run.missed)
        return Check("failover-within", FAIL, text, tuple(int(line["at_ns"]) for line in run.missed))
    late = _late(run, bound_s) if scenario.expect.moves else []
    if late:
        return _broken("failover-within", late, "")
    gaps = gaps_s(run)
    longest = f"the longest time without a leader was {max(gaps):.2f} s" if gaps else "nobody had to take over"
    return Check("failover-within", PASS, f"{longest}, the bound is {bound_s:g} s from the fault")


def _late(run: Run, bound_s: float) -> list[Finding]:
    """Where the leader is lost and the store is not: longer without a claim than the bound, from the first fault to the healing."""
    if not run.faults or run.healed_s is None:
        return []
    return leaderless(run.claims, ["jobs"], [Window(run.faults[0]["at_ns"] / 1e9, run.healed_s)], bound_s)


def _recovers(run: Run, scenario: Scenario) -> Check:
    if run.healed_s is None:
        return Check("recovers", UNKNOWN, "the run ended before everything was healed")
    within_s = seconds(scenario.expect.recovers_within, float(run.facts["ttl_s"]), float(run.facts["bound_s"]))
    after = [claim.start_s for claim in run.claims if claim.end_s >= run.healed_s]
    if not after or min(after) - run.healed_s > within_s:
        return Check("recovers", FAIL, f"nobody leads within {within_s:g} s after everything was healed")
    return Check("recovers", PASS, f"somebody leads {max(0.0, min(after) - run.healed_s):.2f} s after everything was healed")


def _control(run: Run, scenario: Scenario) -> list[Check]:
    if not scenario.expect.stale_unfenced:
        return []
    stale = stale_writes([write for write in run.unfenced if write.accepted])
    if stale:
        return [Check("control", PASS, f"without a fence the damage is there: {stale[0].text}")]
    return [Check("control", UNKNOWN, "the resource without a fence took no stale write: the run has shown nothing")]


def _writes(run: Run, scenario: Scenario) -> list[Check]:
    least = scenario.expect.writes
    if least is None:
        return []
    taken = sum(write.accepted for write in run.writes)
    text = f"the fenced resource took {taken} writes of the apps, at least {least} are expected"
    return [Check("apps-write", PASS if taken >= least else _too_few(run), text)]


def _too_few(run: Run) -> str:
    """Of what a run was to show: one that broke off, as for a fault that did not bite, might have shown it yet."""
    return FAIL if run.ended else UNKNOWN


def _orphans(run: Run) -> list[Check]:
    """Where the sessions were counted: at the end there are no more of them than daemons that run."""
    if run.sessions is None:
        return []
    found, running = int(run.sessions["found"]), int(run.sessions["running"])
    text = f"{found} sessions in the store, {running} daemons run"
    return [Check("no-orphans", PASS if found <= running else FAIL, text, (int(run.sessions["at_ns"]),))]


def _shown(run: Run) -> Check:
    dull = [str(line["text"]) for line in run.faults if line["name"] not in run.bitten]
    if dull:
        return Check("faults-bite", UNKNOWN, f"not shown to have had any effect: {'; '.join(dull)}")
    if not run.claims:
        return Check("faults-bite", UNKNOWN, "nobody ever led: nothing was tested")
    if not run.ended:
        return Check("faults-bite", UNKNOWN, "the history stops in the middle of the run")
    if run.facts.get("heals_probed"):
        lasting = [str(line["text"]) for line in run.heals if line["name"] not in run.gone]
        if lasting:
            return Check("faults-bite", UNKNOWN, f"not shown to be over when it was healed: {'; '.join(lasting)}")
    return Check("faults-bite", PASS, f"{len(run.faults)} faults, each verified")
