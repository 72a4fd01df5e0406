"""The command line: one module per command, imported only when that command is run.

``leaderd is-leader`` runs in shells before every job, so it must not pay for what the daemon needs: the client commands use the
standard library only, and little of it.
"""
