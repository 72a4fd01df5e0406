"""The reference pages that are made from the code: metrics, HTTP endpoints, timings, reasons. Used by `tools.docs`."""

from __future__ import annotations

import ast
import contextlib
import inspect
import io
import json
import os
from collections.abc import Iterator
from typing import Any

from leaderd.board import Board
from leaderd.cli import plan
from leaderd.clock import BootClock
from leaderd.election import problems
from leaderd.election.state import ElectionView, Phase, Snapshot, State
from leaderd.metrics import Metrics
from leaderd.planning import STORES
from leaderd.surfaces.http.openapi import document

MADE = "<!-- Written by `python -m tools.docs` from {source}: change it there. -->"
ELECTION = "daily-report"
URLS = {
    "local": "local:///var/lib/leaderd",
    "zookeeper": "zookeeper://zk-0:2181/leaderd",
    "etcd": "etcd://etcd-0:2379/leaderd",
    "consul": "consul://127.0.0.1:8500/leaderd",
}
TTLS = ("3s", "5s", "10s", "15s", "30s")
_COLUMNS = {
    "detection_s": "cut off or frozen: no after",
    "failover_s": "somebody else leads after",
    "leaderless_s": "nobody leads, after a cut",
    "handover_s": "hand-over",
    "margin_s": "overlap margin",
}


def families() -> Iterator[tuple[str, str, str, tuple[str, ...]]]:
    """Each metric of ours as it is scraped: name, type, what it says, labels."""
    board = Board(
        Snapshot("pod-a", {ELECTION: ElectionView(ELECTION, Phase.OUT, State.STARTING, problems.Reason.STARTING)}),
        {},
        promise_s=1.0,
    )
    metrics = Metrics(board, BootClock(jump_limit_s=1.0))
    metrics.expect_requests(["/is-leader"], ["app"])
    for family in metrics.collect():
        labels = {name: None for sample in family.samples for name in sample.labels if name != "le"}
        name = f"{family.name}_total" if family.type == "counter" else family.name
        yield name, family.type, family.documentation, tuple(labels)


def metrics_page() -> str:
    """docs/metrics.md."""
    rows = [
        f"| `{name}` | {kind} | {' '.join(f'`{each}`' for each in labels)} | {text} |" for name, kind, text, labels in families()
    ]
    return _METRICS.format(made=MADE.format(source="leaderd/metrics.py"), rows="\n".join(rows))


def endpoints_page() -> str:
    """docs/endpoints.md."""
    rows = []
    for path, methods in document()["paths"].items():
        for method, operation in methods.items():
            if method in ("head", "options", "parameters"):
                continue
            parameters = [*methods.get("parameters", ()), *operation.get("parameters", ())]
            queries = [f"`{each['name']}`" for each in parameters if each.get("in") == "query"]
            codes = ", ".join(sorted(operation["responses"]))
            rows.append(f"| `{method.upper()} {path}` | {operation['summary']} | {' '.join(queries)} | {codes} |")
    return _ENDPOINTS.format(made=MADE.format(source="leaderd/surfaces/http/openapi.py"), rows="\n".join(rows))


def planned(store: str, ttl: str, *more: str) -> tuple[int, str, str]:
    """What `leaderd plan --offline` says: exit code, output, errors."""
    out, err = io.StringIO(), io.StringIO()
    kept = {name: os.environ.pop(name) for name in list(os.environ) if name.startswith("LEADERD_")}
    try:
        with contextlib.redirect_stdout(out), contextlib.redirect_stderr(err):
            code = plan.main(["--offline", "--store", URLS[store], "--election", ELECTION, "--ttl", ttl, *more])
    finally:
        os.environ.update(kept)
    return code, out.getvalue(), err.getvalue()


def timings_page() -> str:
    """docs/timings.md."""
    parts = [_TIMINGS_HEAD.format(made=MADE.format(source="what `leaderd plan` says"), plan=planned("etcd", "10s")[1].rstrip())]
    for store in STORES:
        head = f"| ttl | {' | '.join(_COLUMNS.values())} |\n|{'---|' * (len(_COLUMNS) + 1)}"
        rows = "\n".join(_row(store, ttl) for ttl in TTLS)
        parts.append(f"### {_NAMES[store]}\n\nFail-over: {STORES[store].why}.\n\n{head}\n{rows}\n")
    parts.append(_TIMINGS_FOOT.format(refused=planned("etcd", "1s")[2].rstrip()))
    return "\n".join(parts)


def _row(store: str, ttl: str) -> str:
    code, out, _ = planned(store, ttl, "-o", "json")
    if code != 0:
        return f"| {ttl} | {' | '.join(['refused', *[''] * (len(_COLUMNS) - 1)])} |"
    facts: dict[str, Any] = json.loads(out)
    return f"| {ttl} | {' | '.join(f'{facts[name]:.2f} s' for name in _COLUMNS)} |"


_NAMES = {"local": "The local store", "zookeeper": "ZooKeeper", "etcd": "etcd", "consul": "Consul"}
_TIMINGS_HEAD = """\
# Choosing timings

{made}

There is one number to choose, `timing.ttl`: how long the store keeps the session of a daemon that it does not hear from. All others
follow from it, and `leaderd plan` says what it means on your store, before you roll it out:

```
$ leaderd plan --offline --store etcd://etcd-0:2379/leaderd --election daily-report
{plan}
```

Without `--offline` it opens a session to see which ttl the store really grants and how long a renewal takes, and says what that
means. It exits with 1 where that is not safe, so it belongs in the pipeline that rolls the configuration out.

## What to choose it by

- **How long may nobody lead?** A crashed leader is missed for *fail-over*. Deployments do not count: a leader that is told to stop
  hands over within *hand-over*.
- **How long does your network hiccup?** A leader whose renewals fail for *detection* loses its term. A ttl below what your store
  needs to elect a leader of its own, or below the longest pause of your machines, moves leadership without need. 10 s suits most.
- **How long is one step of your work?** No yes can promise more than *detection*. `timing.promise` is what a yes promises unless
  asked for more: a hand-over waits for it, so leave it as short as most of your steps are.
- **Not by load.** A daemon renews once per ttl/5, for all its elections together.

## What each ttl means

As configured. A store may grant another ttl: ZooKeeper clips it to 2 to 20 ticks (4 s to 40 s with the usual tick), Consul refuses
less than its `session_ttl_min` (10 s unless set), etcd rounds up to whole seconds.
"""
_TIMINGS_FOOT = """\
## The other keys

`renew_every`, `promise` and `margin` follow the ttl (a fifth; a tenth, at most 1 s; a twentieth, at most 500 ms), and are best
left out. `clock_drift` bounds how much the *rates* of two clocks may differ; `leaderd doctor` compares it with what the kernel
says of this one. `on_suspend: step_down` ends a term at the first broken connection, as Curator does: more
hand-overs, no more safety. All keys: [Configuration](configuration.md#timings-that-hold-together).

What cannot be safe is refused when the daemon starts, in words:

```
$ leaderd plan --offline --store etcd://etcd-0:2379/leaderd --election daily-report --ttl 1s
{refused}
```
"""


def reasons() -> Iterator[tuple[str, str]]:
    """Each word of `reason`, and what the code says of it, or an empty string."""
    tree = ast.parse(inspect.getsource(problems))
    body = next(node.body for node in tree.body if isinstance(node, ast.ClassDef) and node.name == "Reason")
    for node, after in zip(body, [*body[1:], None], strict=True):
        if isinstance(node, ast.Assign) and isinstance(node.value, ast.Constant):
            told = after.value.value if isinstance(after, ast.Expr) and isinstance(after.value, ast.Constant) else ""
            yield str(node.value.value), " ".join(str(told).split())


_MEANT = {
    "starting": ("This daemon has just started.", "wait a moment"),
    "lease_held": ("It leads.", ""),
    "store_silent": (
        "It leads, and the last renewals were not confirmed.",
        "see what `leaderd why` says of the store; the lease ends by itself",
    ),
    "other_leader": ("Another instance leads, or nobody knows better.", ""),
    "in_queue": ("It waits its turn.", ""),
    "standing": ("", "wait a moment; if it stays, `leaderd doctor`"),
    "lease_expired": (
        "",
        "the store or the network was silent for too long: `leaderd why` has the failures; a longer ttl rides over more",
    ),
    "session_gone": (
        "",
        "who revoked it, or emptied the store? A standby [waits](how-it-works.md#what-has-lapsed-stays-dead) one ttl. "
        "Else the machine was frozen, or the ttl is too short for its pauses",
    ),
    "entry_gone": ("", "find who deletes keys there; `leaderd doctor` names foreign entries"),
    "suspended": ("", "`timing.on_suspend: keep` holds the term to its deadline, which is as safe"),
    "clock_jumped": ("", "nothing, it is over in a moment; often: see the runbook [ClockJump](runbooks/LeaderdClockJump.md)"),
    "resigned": ("An operator had it resign.", "it stands again after the cooldown"),
    "draining": ("The daemon is about to stop.", ""),
    "cordoned": ("An operator took this instance out.", "`leaderd uncordon ELECTION`, or restart it"),
    "paused": ("An operator paused the election.", "`leaderd resume ELECTION`"),
    "stepped_aside": ("", "it is over when the transfer is"),
    "token_not_above_mark": (
        "",
        "`leaderd doctor`: see [queue-stuck](doctor.md), and [store maintenance](operating.md#store-maintenance)",
    ),
    "store_unreachable": ("No node of the store could be reached.", "`leaderd doctor` asks each endpoint by itself"),
    "store_error": ("The store answered with an error; the detail says which.", "`leaderd doctor`, and the store's own log"),
    "wrong_protocol": ("", "address and port in `store.url`; `etcds://`, `consuls://`, `zookeepers://` where TLS is spoken"),
    "auth_failed": (
        "The store refused our credentials.",
        "`store.auth.*`; a file that was replaced is read at the next connection",
    ),
    "permission_denied": (
        "The credentials may not do what is needed.",
        "`leaderd doctor` names the right; all of them: [the stores](stores.md)",
    ),
    "foreign_entry": ("", "`leaderd doctor` names it; choose another path, or remove it"),
    "ttl_refused": ("", "`leaderd plan` says what the store grants"),
    "lock_delay": ("", "wait for it: [Consul](stores.md#consul)"),
    "stale_store_node": ("", "nothing, it moves to another node; look at the store's quorum if it stays"),
    "min_valid_unmet": ("", "ask again after the next renewal, or for less"),
    "other_term": ("", "start over under the new token"),
    "internal_error": ("A defect in leaderd: every answer is no, and the process ends with 70.", "report it, with the log"),
}


def reasons_page() -> str:
    """docs/reasons.md."""
    rows = []
    for word, told in reasons():
        meaning, remedy = _MEANT.get(word, ("", ""))
        rows.append(f"| `{word}` | {told or meaning} | {remedy} |")
    return _REASONS.format(made=MADE.format(source="leaderd/election/problems.py"), rows="\n".join(rows))


_METRICS = """\
# Metrics

{made}

`GET /metrics` on every listener, in Prometheus' text format. What is a state (who leads, the token, the deadline) is computed at
the scrape, from the same deadline that answers `/is-leader`. Every series is there from the start, as 0. Besides these there are
`prometheus_client`'s own `process_*`. Alerts and a dashboard: [deploy/](../deploy/README.md).

| metric | type | labels | meaning |
|---|---|---|---|
{rows}

- A scrape is a photograph. After a hand-over two instances may both be on record with `leaderd_is_leader 1`, scraped seconds apart:
  compare `leaderd_valid_until_timestamp_seconds` with the time, as the alert `LeaderdTwoLeaders` does.
- `leader_election_master_status` is the name under which client-go's users know `leaderd_is_leader`.
- `reason` of `leaderd_step_downs_total`: the words of [Reasons](reasons.md).
"""
_ENDPOINTS = """\
# HTTP endpoints

{made}

Everything that the daemon answers, as `GET /openapi.json` describes it to tools. What the words mean: [HTTP](http.md). What changes
something is answered only on the Unix socket and on loopback.

| request | | query | codes |
|---|---|---|---|
{rows}
"""
_REASONS = """\
# Reasons

{made}

The words of `reason` in `/is-leader`, the log, `leaderd_step_downs_total`, and the terms of `leaderd history`. What to do is there
where something can be done; how to go about it: [Troubleshooting](troubleshooting.md).

| reason | meaning | what to do |
|---|---|---|
{rows}
"""
