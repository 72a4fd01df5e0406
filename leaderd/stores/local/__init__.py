"""The embedded store: one SQLite file in a directory, shared by any number of daemons on one host.

It protects one host, and says so: directories on network or shared file systems are refused, because two kernels would each
take the other's sessions for those of an earlier boot.

    files.py    the directory, the database file, the doorbells: who may own them, how they are made
    host.py     which kernel and which clock the instants in the file belong to
    schema.py   tables, versions, the connection; SQLite's errors as `Problem`
    recipe.py   the transactions: what each command does to the tables
    worker.py   the one thread that touches the file; timers, doorbell, probe
    store.py    the asyncio side: commands in, events out, each within its bound

What keeps it safe. Every session has an expiry on CLOCK_BOOTTIME, one clock for all processes of a kernel, and every write
happens in a transaction that began with the exclusive right to write (`BEGIN IMMEDIATE`) and read the clock after that. So a
claim that finds no living session before its own is later than every expiry it looked at.

What it costs. A process frozen *inside* a transaction (some 0.2 ms of each renewal period) keeps everybody from writing until it
is thawed or killed: nobody leads meanwhile, and nobody can be elected. No two leaders, but no leader either.
"""

from leaderd.stores.local.store import LocalStore

__all__ = ["LocalStore"]
