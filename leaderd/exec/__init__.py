"""`leaderd exec`: run a command only while this instance leads.

Two processes watch over the command, each covering for the other:

- the *wrapper* (`wrapper`) is what the user started: it asks the daemon, forwards signals, and returns the exit code;
- the *keeper* (`keeper`), its child, starts the command in a session of its own and kills all of it in time. It knows one thing,
  the latest instant promised, and has a timer of its own: it needs no daemon, no store, and no wrapper. When the wrapper ends,
  by SIGKILL too, it kills everything the command started.

`kernel` holds the few Linux calls that Python lacks, `tree` finds and kills descendants, `validity` is the question to the daemon.
"""
