"""`python -m tests.sim --seeds 2000 [--store etcd] [--start N] [--jobs 2]`, or `--trace SEED` to see all of one."""

from __future__ import annotations

import argparse
import gc
import os
import sys
import time
from concurrent.futures import ProcessPoolExecutor

from tests.sim.fleet import Verdict, simulate
from tests.sim.plan import STORES, draw

CHUNK = 50


def main() -> int:
    """Exit code 0 when every seed is clean."""
    parser = argparse.ArgumentParser(prog="python -m tests.sim", description="Run the simulated fleets.")
    parser.add_argument("--seeds", type=int, default=2000, help="how many seeds per store")
    parser.add_argument("--start", type=int, default=0, help="the first seed")
    parser.add_argument("--store", choices=STORES, action="append", help="which store model (default: all)")
    parser.add_argument("--jobs", type=int, default=os.cpu_count() or 1, help="processes")
    parser.add_argument("--trace", type=int, metavar="SEED", help="run one seed and print everything that happened")
    parser.add_argument("--keep-going", action="store_true", help="count violations instead of stopping at the first")
    parser.add_argument("--digests", action="store_true", help="print the digest of each seed: two runs must agree")
    options = parser.parse_args()
    stores = options.store or list(STORES)
    if options.digests:
        return digests(stores, options.start, options.seeds)
    if options.trace is not None:
        return max(trace(store, options.trace) for store in stores)
    return max(sweep(store, options.start, options.seeds, options.jobs, options.keep_going) for store in stores)


def trace(store: str, seed: int) -> int:
    """One seed in full."""
    plan = draw(store, seed)
    verdict = simulate(plan, trace=None)
    print(plan)
    print("\n".join(verdict.timeline or []))
    for claim in verdict.claims:
        print(f"claim {claim.election} {claim.holder} token {claim.token}: {claim.start_s:.4f} .. {claim.end_s:.4f}")
    for finding in verdict.findings:
        print(f"FINDING {finding.rule} at {finding.at_s:.4f}: {finding.text}")
    print(f"digest {verdict.digest:08x}, {verdict.steps} steps")
    return bool(verdict.findings)


def digests(stores: list[str], start: int, seeds: int) -> int:
    """One line per store and seed: what happened, in one number."""
    for store in stores:
        for seed in range(start, start + seeds):
            verdict = simulate(draw(store, seed))
            print(f"{store} {seed} {verdict.digest:08x} {verdict.steps} {len(verdict.claims)} {verdict.led_s:.9f}")
    return 0


def run_chunk(store: str, first: int, count: int) -> tuple[list[str], int, float, float, int]:
    """Some seeds: the stories of the violations, and terms, seconds led, seconds simulated, steps."""
    stories: list[str] = []
    terms, led_s, simulated_s, steps = 0, 0.0, 0.0, 0
    for seed in range(first, first + count):
        verdict: Verdict = simulate(draw(store, seed))
        if verdict.findings:
            stories.append(verdict.story())
        terms += verdict.terms
        led_s += verdict.led_s / len(verdict.plan.elections)
        simulated_s += verdict.plan.end_s
        steps += verdict.steps
    gc.collect()
    return stories, terms, led_s, simulated_s, steps


def sweep(store: str, start: int, seeds: int, jobs: int, keep_going: bool) -> int:
    """A range of seeds of one store."""
    began_s = time.perf_counter()
    firsts = range(start, start + seeds, CHUNK)
    counts = [min(CHUNK, start + seeds - first) for first in firsts]
    bad, done, terms, led_s, simulated_s, steps = 0, 0, 0, 0.0, 0.0, 0
    with ProcessPoolExecutor(jobs) as pool:
        for count, result in zip(counts, pool.map(run_chunk, [store] * len(counts), firsts, counts), strict=True):
            stories, *numbers = result
            done += count
            terms, led_s, simulated_s, steps = (a + b for a, b in zip((terms, led_s, simulated_s, steps), numbers, strict=True))
            bad += len(stories)
            if stories:
                print(
                    "\n".join(line for story in stories for line in (story.splitlines()[:2] if keep_going else story.splitlines()))
                )
                sys.stdout.flush()
                if not keep_going:
                    pool.shutdown(cancel_futures=True)
                    break
    wall_s = time.perf_counter() - began_s
    print(
        f"{store}: {done} seeds, {bad} with findings; {simulated_s:.0f} s simulated in {wall_s:.1f} s "
        f"({simulated_s / wall_s:.0f} times real time), {steps / wall_s:.0f} steps/s; {terms / done:.1f} terms a seed, "
        f"led {100 * led_s / simulated_s:.1f} % of the time"
    )
    return bool(bad)


if __name__ == "__main__":
    sys.exit(main())
