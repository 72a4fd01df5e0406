"""Configuration: YAML file < environment < flags, to one frozen `Config` or to the list of *all* problems.

::

    yaml_file ─┐
    environment├─► sources ──raw text with its origin──► values ──► relations ──► load ──► Config | [ConfigProblem, ...]
    flags     ─┘                    ▲                       ▲
                                  keys ── the one table of keys, with environment names, flags, defaults and rules

``keys`` is the whole list of what can be configured; the flags, the JSON schema and the documentation are made from it. Every
value stays *text* until its rule in ``values`` reads it, so `off`, `0660` and `no` mean the same in a file, a variable and a flag.

Decided here:

- Without `store.url` the local store is used, in `/var/lib/leaderd` if that can be written, else in
  `$XDG_STATE_HOME/leaderd` (`~/.local/state/leaderd`). It must outlive a reboot, or fencing tokens would start again; so never
  `/run` or `/tmp`. In a Kubernetes pod there is no default: each pod would hold an election of its own.
- Left out, `renew_every` is ttl/5, `promise` ttl/10 and at most 1 s, `margin` ttl/20 and at most 500 ms.
- An empty environment variable counts as not set. Unknown `LEADERD_*` variables are refused when they look like a slip or a
  secret, reported otherwise, and ignored when Kubernetes makes them (`LEADERD_PORT_4040_TCP_ADDR` of a Service `leaderd`).
"""
