"""What `explore` draws from: the whole menu, but for what only makes sense in an order of its own."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Any, Literal

Sort = Literal["leader", "followers", "store"]


@dataclass(frozen=True)
class Mix:
    """One fault as a scenario says it, and whom it hits. `wants`: what of the topology it needs (`NAME=VALUE`)."""

    sort: Sort
    fault: dict[str, Any]
    wants: str = ""
    alone: bool = False
    """Whether nothing else may be broken meanwhile: what is taken away by hand has to be noticed, and the store tells of it."""


def _leader(fault: str, **more: Any) -> Mix:  # noqa: ANN401 - as free as a file
    return Mix("leader", {"fault": fault, "at": "leader", **more})


def _followers(fault: str, **more: Any) -> Mix:  # noqa: ANN401
    return Mix("followers", {"fault": fault, "at": "followers", **more})


def _store(fault: str, at: str = "store-leader", **more: Any) -> Mix:  # noqa: ANN401
    return Mix("store", {"fault": fault, "at": at, **more})


_BY_PROXY = {"direction": "replies"}
MIXES: tuple[Mix, ...] = (
    Mix("leader", {"fault": "cut", "from": "leader", "to": "stores"}),
    Mix("leader", {"fault": "cut", "from": "leader", "to": "stores", "one_way": True}),
    Mix("leader", {"fault": "cut", "from": "stores", "to": "leader", "one_way": True}),
    _leader("freeze"),
    _leader("freeze", what="pod"),
    _leader("freeze-app"),
    _leader("flap", stop_ms=700, run_ms=100),
    _leader("kill"),
    _leader("terminate"),
    _leader("exhaust"),
    _leader("out-of-memory"),
    _leader("toxic", kind="swallow", **_BY_PROXY),
    _leader("toxic", kind="reset"),
    _leader("toxic", kind="close"),
    _leader("toxic", kind="slice", size=1, **_BY_PROXY),
    _leader("toxic", kind="truncate", size=20, **_BY_PROXY),
    _leader("loss", percent=30),
    _leader("reset"),
    _leader("packets", kind="delay", ms=1000),
    _leader("packets", kind="reorder", percent=25, ms=40, jitter_ms=30),
    _leader("packets", kind="corrupt", percent=10),
    _leader("packets", kind="duplicate"),
    _leader("throttle", kbit=64),
    Mix("leader", {"fault": "clock", "at": "leader", "kind": "jump", "by_s": 600}, "clock=faked"),
    Mix("leader", {"fault": "revoke"}, alone=True),
    Mix("leader", {"fault": "delete"}, alone=True),
    Mix("followers", {"fault": "cut", "from": "followers", "to": "stores"}),
    _followers("freeze"),
    _followers("kill"),
    _followers("restarts", times=5, least_ms=100, most_ms=1000),
    _followers("toxic", kind="delay", ms=100, jitter_ms=50, **_BY_PROXY),
    _followers("toxic", kind="hold", **_BY_PROXY),
    Mix("followers", {"fault": "names", "kind": "slow"}, "names=dns"),
    Mix("followers", {"fault": "names", "kind": "silent"}, "names=dns"),
    _store("kill-node"),
    _store("kill-node", at="s1"),
    _store("freeze", what="node"),
    Mix("store", {"fault": "cut", "from": "store-leader", "to": "store-followers"}),
    Mix("store", {"fault": "cut", "from": "s1", "to": "s2"}),
    _store("disk", kind="slow", ms=400),
    Mix("store", {"fault": "fill", "at": "s1"}, "disk=small"),
    Mix("store", {"fault": "litter", "where": "beside", "size": 500_000}),
)
LEFT_OUT = {
    "claim-lost": "in Consul a claim is carried out only once all others have ended, which its scenarios see to",
    "overwrite": "its healing asks the store, which another fault may have silenced",
    "alarm": "it lasts until there is space: meanwhile one at most follows a leader that dies, which `etcd-nospace` says",
    "backup": "half of a restore",
    "restore": "needs a backup before it and somebody who lets the numbers catch up: `store-restored` has them",
    **dict.fromkeys(
        ("transfer", "resign", "pause", "cordon"),
        "an order that is not carried out is a failure of the run, and under another fault it may rightly be refused",
    ),
}
"""What of the menu is not drawn, and why."""
