"""Works through a list, a step at a time, only while this instance leads."""

import sys
import time

from leaderd.client import DaemonUnreachable, Leader, NotLeader

leader = Leader("daily-report")


def main() -> int:
    try:
        term = leader.require("2s")
    except (NotLeader, DaemonUnreachable) as error:
        print(f"skipped: {error}")
        return 0
    for step in range(3):
        # Each step asks again: a promise for longer than the step takes, in the same term.
        try:
            leader.require("2s", token=term.token)
        except (NotLeader, DaemonUnreachable) as error:
            print(f"stopped before step {step}: {error}")
            return 1
        print(f"step {step}, X-Fencing-Token: {term.token}")
        time.sleep(0.1)
    return 0


if __name__ == "__main__":
    sys.exit(main())
