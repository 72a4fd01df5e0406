"""Judges of a history: pure functions, shared by the simulator and the suites with real servers.

They take what was observed (`history.py`), know nothing of leaderd, and return findings; an empty list is a clean bill.
"""

from chaos.checkers.ends import End, crashes
from chaos.checkers.fence import Write, stale_writes
from chaos.checkers.history import Claim, Finding, Window, merged, without
from chaos.checkers.honest import Answer, dishonest
from chaos.checkers.liveness import leaderless
from chaos.checkers.overlap import overlaps
from chaos.checkers.promises import unkept
from chaos.checkers.stops import Severed, Taken, outlived, unnoticed
from chaos.checkers.tokens import dead_terms, token_faults

__all__ = [
    "Answer",
    "Claim",
    "End",
    "Finding",
    "Severed",
    "Taken",
    "Window",
    "Write",
    "crashes",
    "dead_terms",
    "dishonest",
    "leaderless",
    "merged",
    "outlived",
    "overlaps",
    "stale_writes",
    "token_faults",
    "unkept",
    "unnoticed",
    "without",
]
