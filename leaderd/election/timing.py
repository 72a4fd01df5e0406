"""The deadline arithmetic, and why it is safe.

The model. Clocks may show any time, but their *rates* differ by at most `drift` (a store second lasts at least `1 - drift` of
our seconds). Messages may take any time, or never arrive. A process may stop for any time between any two instructions.

The claim. No two candidates hold a term of one election at the same instant of real time.

The argument.
1. We read our clock, `sent_at`, and then send a renewal. The store handles it later than `sent_at`, if at all.
2. The store keeps the session for `rule.keeps_s(ttl)` of *its* seconds from then on, whatever its nodes do (a proof obligation
   of each store; `RULES` below gives it with its source). So the session outlives
   `sent_at + keeps_s(ttl) * (1 - drift)` on our clock.
   Where the store learns of a renewal late (`rule.lag_fraction`, ZooKeeper), the renewal alone proves nothing about the session:
   the deadline is also at most `touched + ttl * (1 - drift) - margin`, where `touched` is the send of an earlier one, confirmed
   too, and so much older that the store has surely learned of it.
3. We call ourselves leader only while `now < valid_until = sent_at + keeps_s(ttl) * (1 - drift) - margin`, with `now` read at
   the instant of the answer. `margin` pays for what the model leaves out: timer granularity, the answer's way to the app.
4. Nobody else's entry is first before ours is gone, and ours goes only with the session, by our own hand, or by an operator's.
   By our own hand it goes only after every promise has lapsed (`ledger`); an operator's is what the fencing token is for.
5. So another's claim comes after our `valid_until`, and after every instant we ever promised.

Using the *reply's* arrival in place of `sent_at` breaks step 1 by the length of the round trip: with a reply held back by 10 s
the holder would count its lease from an instant at which the store may already have ended it.
"""

from __future__ import annotations

from dataclasses import dataclass


@dataclass(frozen=True, slots=True)
class StoreRule:
    """What one store guarantees: from handling a renewal it keeps the session for at least `keeps_s(ttl_s)` of its seconds.

    `fraction` and the reserves say how much of the ttl can be counted on; `min_ttl_s`..`max_ttl_s` is what may be asked for.
    `lag_fraction`: the part of the ttl within which the store's timekeeper surely learns of a renewal that a node took; a crash
    of that node in between loses it. Zero where the renewal itself goes through the timekeeper.
    """

    fraction: float = 1.0
    reserve_s: float = 0.0
    reserve_fraction: float = 0.0
    lag_fraction: float = 0.0
    min_ttl_s: float = 0.2
    max_ttl_s: float = 86400.0

    def keeps_s(self, ttl_s: float) -> float:
        """Seconds for which the store surely keeps a session of `ttl_s` after it handled a renewal; may be negative."""
        return ttl_s * self.fraction - max(self.reserve_s, ttl_s * self.reserve_fraction)


RULES: dict[str, StoreRule] = {
    # One clock, one kernel, one transaction: nothing to reserve.
    "local": StoreRule(),
    # A check through a follower may reach the leader without touching the session: the touch is piggybacked on the answer to the
    # leader's ping, each tick/2 (LearnerHandler, LearnerSessionTracker), and lost when the follower dies first. Ping answers and
    # requests share one connection, in order, so a check tick/2 after another proves the other's touch; tick/2 is at most T/4.
    # Measured from the send of the last acknowledged check to the lock being free, T = 4 s, nine follower cuts: 4.3..5.9 s.
    "zookeeper": StoreRule(fraction=2 / 3, lag_fraction=0.3, min_ttl_s=1.0, max_ttl_s=3600.0),
    # Never early (revoked 0..0.5 s late), re-armed in full by a new leader. But a deposed leader answered keep-alives for up to
    # 1.8 s, and up to 1 s after its successor's promotion: that second is kept back.
    "etcd": StoreRule(reserve_s=1.0, reserve_fraction=0.2, min_ttl_s=2.0, max_ttl_s=9_000_000_000.0),
    # Invalidated sessions (health check, leaving agent) hold the lock for the lock-delay only, which we set to the ttl or more.
    # A deposed leader steps down after its lease timeout, 0.5 s times raft_multiplier (5 by default): 2.5 s are kept back.
    "consul": StoreRule(reserve_s=2.5, reserve_fraction=0.2, min_ttl_s=1.0, max_ttl_s=86400.0),
}


@dataclass(frozen=True, slots=True)
class Timing:
    """The timings of one daemon. Relations that cannot be safe are refused by `problems()`.

    `ttl_s`: how long the store keeps our session without a word from us. A crashed leader is replaced after about this long.
    `renew_every_s`: how often a renewal is sent. Three must fit into the ttl.
    `promise_s`: how long a yes is promised to hold, unless the caller asks for more or less.
    `drift`: bound on the difference of clock rates between us and the store, as a fraction.
    `margin_s`: how much earlier than the arithmetic allows we stop.
    `step_down_on_suspend`: end the term when the connection breaks (as Curator does) instead of holding it to its deadline.
    """

    ttl_s: float = 10.0
    renew_every_s: float = 2.0
    promise_s: float = 1.0
    drift: float = 0.01
    margin_s: float = 0.5
    step_down_on_suspend: bool = False

    def valid_for_s(self, rule: StoreRule, ttl_s: float) -> float:
        """For how long after its send a renewal that granted `ttl_s` lets us lead; zero or less means never."""
        # Safety: see test_zero_margin_with_drift
        return rule.keeps_s(ttl_s) * (1.0 - self.drift) - self.margin_s

    def valid_until_s(self, rule: StoreRule, ttl_s: float, sent_at_s: float, touched_s: float) -> float:
        """Until when a renewal sent at `sent_at_s` lets us lead, with `touched_s` the last send that surely touched the session."""
        until_s = sent_at_s + self.valid_for_s(rule, ttl_s)
        if rule.lag_fraction > 0.0:
            # Safety: see test_unsure_touch_counted
            until_s = min(until_s, touched_s + ttl_s * (1.0 - self.drift) - self.margin_s)
        return until_s

    def renewal_period_s(self, rule: StoreRule, ttl_s: float) -> float:
        """How often to renew under the *granted* `ttl_s`: as configured, oftener where the store granted less than was asked."""
        return min(self.renew_every_s, max(self.valid_for_s(rule, ttl_s) / 3.0, 0.05))
