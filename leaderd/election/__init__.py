"""The pure core: events and the time go in, commands come out. Nothing here reads a clock, draws a number or does I/O.

``events`` and ``commands`` are the whole vocabulary between the core and the world, ``problems`` what can go wrong. ``timing`` is
the deadline arithmetic with its argument. ``session`` is liveness (one session per daemon), ``machine`` is order (one candidate in
one election), ``ledger`` keeps the promises, ``core`` puts them together, ``state`` is what can be seen.

One candidate in one election (drawn from ``state.TRANSITIONS``; a test compares)::

    out          ─► standing
    standing     ─► out, queued, claiming, withdrawing
    queued       ─► out, claiming, withdrawing
    claiming     ─► out, claiming, leading, withdrawing
    leading      ─► out, releasing, withdrawing
    releasing    ─► out, withdrawing
    withdrawing  ─► out

Only in ``leading`` is there a term, and even then the answer is yes only while ``now < valid_until``.
"""
