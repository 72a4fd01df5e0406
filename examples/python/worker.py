"""Works through a list, a step at a time, only while this instance leads; a hand-over waits for the step that is in flight."""

import sys
import time

from leaderd.client import DaemonUnreachable, Leader, NotLeader

leader = Leader("daily-report")


def main() -> int:
    step = 0
    try:
        with leader.guard("2s") as term:
            for step in range(3):
                # Nobody else leads for another second: longer than a step takes.
                term.require("1s")
                if term.ending:
                    print(f"stopped before step {step}: {term.reason}")
                    return 1
                print(f"step {step}, X-Fencing-Token: {term.token}")
                time.sleep(0.1)
    except (NotLeader, DaemonUnreachable) as error:
        print(f"stopped at step {step}: {error}" if step else f"skipped: {error}")
        return 1 if step else 0
    return 0


if __name__ == "__main__":
    sys.exit(main())
