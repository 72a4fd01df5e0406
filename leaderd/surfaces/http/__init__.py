"""HTTP/1.1 over TCP and over the Unix socket.

::

    listeners ──accept──► connection ──bytes──► wire ──Request──► guards ──► routes ──► view ──► board
                              ▲   pool: limits, ticks, turns                    │
                              └────────────────bytes◄── reply ◄──Response───────┘

Written on asyncio itself, not on aiohttp's server: that one has no limit on slow headers, writes a traceback per malformed request,
takes five times the CPU per answer, and 15 MiB of memory beside every pod. What is needed here is small: heads without bodies.
"""

from leaderd.surfaces.http.listeners import ListenError, UnixAddress
from leaderd.surfaces.http.probes import Health
from leaderd.surfaces.http.server import HttpSurfaces

__all__ = ["Health", "HttpSurfaces", "ListenError", "UnixAddress"]
