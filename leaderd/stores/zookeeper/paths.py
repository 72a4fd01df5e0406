"""Names, their order, and the record beside them: the recipe's facts as pure functions.

Layout and order are Apache Curator's (LockInternals, StandardLockInternalsDriver, ProtectedUtils): candidates are
`_c_<uuid4>-lock-<10 digits>`, and the one whose text after the last `lock-` is smallest, *as text*, leads. A name without
`lock-` is compared as a whole. Whoever sorts in another way lets two lead.
"""

from __future__ import annotations

import re
import uuid
from collections.abc import Iterable
from dataclasses import dataclass

LOCK_NAME = "lock-"
NO_SESSION = (0, -(2**63))
"""What `ephemeralOwner` is for a persistent node and for a container: nobody's session ends, so nobody makes it go away."""
_IN_SEQUENCE = re.compile(r".*lock-[0-9]{10}", re.DOTALL)
_NAME_LIMIT = 255


@dataclass(frozen=True, slots=True)
class Place:
    """Where one election lives: the directory of its candidates, and our own record, beside it."""

    election: str
    directory: str
    mark: str

    def node(self, name: str) -> str:
        """The path of a candidate's node."""
        return f"{self.directory}/{name}"


def place_of(path: str, election: str) -> Place:
    """The place of an election under the store's path (no slash at either end, may be empty)."""
    root = f"/{path}" if path else ""
    return Place(election, f"{root}/{election}", f"{root}/.leaderd/{election}/mark")


def records_directory(path: str) -> str:
    """Where the records of all elections under the store's path lie."""
    return f"/{path}/.leaderd/.records" if path else "/.leaderd/.records"


def new_prefix() -> str:
    """A name for one attempt to stand; the server appends the sequence number. By it a creation that went unanswered is found."""
    return f"_c_{uuid.uuid4()}-{LOCK_NAME}"


def sort_key(name: str) -> str:
    """What Curator's `standardFixForSorting` compares."""
    _, found, rest = name.rpartition(LOCK_NAME)
    return rest if found else name


def is_in_sequence(name: str) -> bool:
    """Whether the server's sequence number has ten digits, as long as it is not negative: text order is creation order then."""
    return _IN_SEQUENCE.fullmatch(name) is not None


def in_order(names: Iterable[str]) -> list[str]:
    """Candidates, first come first, as every Curator client sees them."""
    return sorted(names, key=sort_key)


def name_text(data: bytes) -> str:
    """A candidate's data for human eyes: decoded leniently, without control characters, bounded."""
    text = data[: 4 * _NAME_LIMIT].decode("utf-8", "replace")
    return "".join(c if c.isprintable() else "\N{REPLACEMENT CHARACTER}" for c in text)[:_NAME_LIMIT]
