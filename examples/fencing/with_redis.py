"""Fencing Redis: a script compares the token and writes, and nothing else runs in between.

    python with_redis.py redis://127.0.0.1:6379/0

Both keys carry the same hash tag, so that they live on one node of a cluster. The fence must outlive what it guards: no expiry,
and no `maxmemory-policy` that evicts it. Needs redis-py; the script works from any language.
"""

import sys

import redis

from leaderd.client import DaemonUnreachable, Leader, NotLeader

ELECTION = "daily-report"
FENCE, REPORTS = f"{{{ELECTION}}}:fence", f"{{{ELECTION}}}:reports"

# Tokens are compared as text of 20 digits: Lua's numbers are exact only up to 2^53.
APPEND = """
local seen = redis.call('GET', KEYS[1])
if seen and seen > ARGV[1] then
  return redis.error_reply('STALE token ' .. ARGV[1] .. ': a later leader has written under ' .. seen)
end
redis.call('SET', KEYS[1], ARGV[1])
return redis.call('RPUSH', KEYS[2], ARGV[2])
"""


class StaleToken(Exception):
    """A later leader has written: nothing of ours was."""


def write(client: redis.Redis, token: int, body: str) -> None:
    """Append one report as the leader of that term. Raises `StaleToken`."""
    try:
        client.eval(APPEND, 2, FENCE, REPORTS, f"{token:020d}", body)
    except redis.ResponseError as error:
        if str(error).startswith("STALE"):
            raise StaleToken(str(error)) from error
        raise


def main() -> int:
    with redis.Redis.from_url(sys.argv[1]) as client:
        try:
            with Leader(ELECTION).guard("2s") as term:
                write(client, term.token, "all is well")
        except (NotLeader, DaemonUnreachable) as error:
            print(f"skipped: {error}")
            return 0
        except StaleToken as error:
            print(error)
            return 1
    print(f"written under token {term.token}")
    return 0


if __name__ == "__main__":
    sys.exit(main())
