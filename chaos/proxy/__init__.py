"""A TCP proxy between one pod and the store, which misbehaves on request: it stands in no namespace's way and needs no privilege.

`toxics` says what can go wrong, `server` is the process, `control` how a run talks to it.
"""
