"""What a proxy may do to the bytes that pass, after toxiproxy's menu and Curator's ChaosMonkey; each to one direction, or to both.

- `swallow`: they vanish, the connection stays up. Of replies: requests are carried out, and nobody learns of it.
- `hold`: they wait until the toxic is lifted, and come then: an answer later than any lease.
- `delay`: each piece comes `ms` later, give or take `jitter_ms`; in order.
- `slice`: they come in pieces of `size` bytes.
- `truncate`: after `size` bytes of an answer the connection is reset, each time.
- `close`: once per connection, the next request is passed on, and when its answer comes the connection is reset instead.
- `reset`: every connection is reset, and every new one; with `ms`, those that are there are reset every so often instead.

With `request`, a pattern of bytes, it acts on a connection only from the moment when a request like that has passed there: so that
the answer to it is what is lost, and not any other. `times` is on how many connections it does so at most.
"""

from __future__ import annotations

from typing import Annotated, Literal

import msgspec

Kind = Literal["swallow", "hold", "delay", "slice", "truncate", "close", "reset"]
Direction = Literal["requests", "replies", "both"]


class Toxic(msgspec.Struct, frozen=True, forbid_unknown_fields=True):
    """One of them. `upstream`: the store host concerned, or all."""

    kind: Kind
    direction: Direction = "both"
    upstream: str = ""
    ms: int = 0
    jitter_ms: int = 0
    size: int = 1
    request: str = ""
    times: Annotated[int, msgspec.Meta(ge=0)] = 0
    """0: any number."""

    def concerns(self, upstream: str, direction: str) -> bool:
        """Whether it acts on what passes there."""
        return self.upstream in ("", upstream) and self.direction in ("both", direction)

    def refuses(self, upstream: str) -> bool:
        """Whether new connections there are reset."""
        return self.kind == "reset" and not self.ms and self.upstream in ("", upstream)
