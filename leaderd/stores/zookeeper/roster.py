"""Who stands in one election, for `status`. Names are read once per node, and few at a time."""

from __future__ import annotations

from collections.abc import Callable
from typing import TYPE_CHECKING, Any

from kazoo import exceptions as kz

from leaderd.election.events import Contender
from leaderd.stores.zookeeper import paths

if TYPE_CHECKING:
    from leaderd.stores.zookeeper.transport import Client

_SHOWN = 64
"""How many contenders are shown at most."""
_NAMES_PER_LOOK = 8
"""How many unknown contenders' names are read per look: a queue of a hundred must not cost a hundred reads at once."""


class Roster:
    """The contenders of one place. `show(contenders, first_known)` is called when what can be shown has changed."""

    def __init__(self, client: Client, place: paths.Place, show: Callable[[tuple[Contender, ...], bool], None]) -> None:
        self._client = client
        self._place = place
        self._show = show
        self._known: dict[str, Contender] = {}
        self._shown: tuple[Contender, ...] | None = None

    def know(self, name: str, data: bytes, stat: Any, session: int) -> None:  # noqa: ANN401 - kazoo is untyped
        """Take note of a node that was read."""
        self._known[name] = Contender(paths.name_text(data), stat.ephemeralOwner == session, int(stat.czxid))

    async def learn(self, names: list[str], session: int) -> None:
        """The queue is now `names`: read who is new, and show it."""
        shown = names[:_SHOWN]
        self._known = {name: self._known[name] for name in shown if name in self._known}
        unknown = [name for name in shown if name not in self._known][:_NAMES_PER_LOOK]
        asked = [(name, self._client.get(self._place.node(name))) for name in unknown]
        for name, answer in asked:
            try:
                data, stat = await answer
            except kz.ZookeeperError:
                continue  # it left meanwhile, or may not be read: it is not shown
            self.know(name, data, stat, session)
        found = tuple(self._known[name] for name in shown if name in self._known)
        if found != self._shown:
            self._shown = found
            self._show(found, bool(names) and names[0] in self._known)

    def forget(self) -> None:
        """Show again what will be seen next, even if it is the same."""
        self._shown = None
