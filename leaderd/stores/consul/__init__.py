"""Consul: one session per daemon, one lock key per election, in the layout of `consul lock` and of the Go API's `Lock`.

- `wire.py`: what goes over the wire, as pure functions: keys, transactions, records, the texts of refusals.
- `http1.py`: one connection, one request at a time, nothing sent twice.
- `agents.py`: calls with deadlines: several agents, TLS, the ACL token, what a failure means.
- `session.py`: one session: open, renew and prove at a quorum, watch, close.
- `lock.py`: one election's lock: acquire, claim, release, and the argument why each is sound.
- `contest.py`: one election: wait until the lock is free, race for it, guard it.
- `records.py`: the records beside the elections.
- `store.py`: commands in, tasks, events out.

Permissions: `write` on the keys `<prefix>/<election>/.lock`, `<prefix>/.leaderd/<election>/mark` and those beneath
`<prefix>/.leaderd/.records/`, and `session` `write` on the agent's node. An agent admits 200 connections per client address by
default (`limits.http_max_conns_per_client`), and each election that is stood in keeps one open.
"""

from leaderd.stores.consul.store import ConsulStore

__all__ = ["ConsulStore"]
