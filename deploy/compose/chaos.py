"""The chaos container: again and again it kills, pauses, or cuts off the daemon that leads, mends it, and says what it saw.

It speaks with the engine over its socket, and touches only the daemons of its own Compose project. Each fault is held for HOLD_S,
longer than fail-over takes; leadership must move meanwhile. ROUNDS faults, or until it is stopped (0). A last line sums up; exit 1
if a fault did not move leadership, or the resource took two jobs in one slot, or an older token after a newer one.
"""

import http.client
import itertools
import json
import os
import random
import signal
import socket
import sys
import time
from urllib.parse import quote

PROJECT = os.environ["PROJECT"]
KINDS = ("kill", "pause", "disconnect")
HOLD_S = float(os.environ.get("HOLD_S", "20"))
PAUSE_S = float(os.environ.get("REST_S", "10"))
ROUNDS = int(os.environ.get("ROUNDS", "0"))
"""How many faults; 0: until it is stopped."""


class Engine(http.client.HTTPConnection):
    """The engine's API over its Unix socket."""

    def connect(self) -> None:
        self.sock = socket.socket(socket.AF_UNIX, socket.SOCK_STREAM)
        self.sock.settimeout(30)
        self.sock.connect("/var/run/docker.sock")


def engine(method: str, path: str, body: object = None) -> object:
    """One request; what is no success raises OSError."""
    connection = Engine("localhost")
    try:
        text = None if body is None else json.dumps(body)
        connection.request(method, path, text, {"Content-Type": "application/json"})
        answer = connection.getresponse()
        said = answer.read()
    finally:
        connection.close()
    if answer.status >= 300 and answer.status != 304:
        raise OSError(f"{method} {path}: {answer.status} {said.decode(errors='replace').strip()}")
    return json.loads(said) if said else None


def daemons() -> dict[str, dict]:
    """Our project's daemons, by the letter of their pair."""
    wanted = quote(json.dumps({"label": [f"com.docker.compose.project={PROJECT}", "leaderd.pair"]}))
    return {each["Labels"]["leaderd.pair"]: each for each in engine("GET", f"/containers/json?all=1&filters={wanted}")}


def ledger() -> list[dict]:
    """What the resource has taken."""
    connection = http.client.HTTPConnection("resource:8080", timeout=5)
    try:
        connection.request("GET", "/ledger")
        return [each for each in json.load(connection.getresponse()) if each["taken"]]
    finally:
        connection.close()


def network(one: dict) -> tuple[str, str, list[str]]:
    """Who owns its network (itself, or the container whose it shares), the network, and the names there."""
    facts = engine("GET", f"/containers/{one['Id']}/json")
    mode = facts["HostConfig"]["NetworkMode"]
    if mode.startswith("container:"):
        return network({"Id": mode.removeprefix("container:")})
    name, place = next(iter(facts["NetworkSettings"]["Networks"].items()))
    return one["Id"], name, place["Aliases"] or []


def fault(kind: str, one: dict) -> None:
    """Do it, hold it, and mend it, whatever happens meanwhile."""
    where = f"/containers/{one['Id']}"
    if kind == "disconnect":
        owner, name, aliases = network(one)
        steps = (
            (f"/networks/{name}/disconnect", {"Container": owner, "Force": True}),
            (
                f"/networks/{name}/connect",
                {"Container": owner, "EndpointConfig": {"Aliases": aliases}},
            ),
        )
    else:
        steps = {
            "kill": ((f"{where}/kill", None), (f"{where}/start", None)),
            "pause": ((f"{where}/pause", None), (f"{where}/unpause", None)),
        }[kind]
    engine("POST", *steps[0])
    try:
        time.sleep(HOLD_S)
    finally:
        engine("POST", *steps[1])


def judge(found: list[dict]) -> list[str]:
    """What is wrong with what the resource took."""
    slots = [each["slot"] for each in found]
    tokens = [each["token"] for each in found]
    wrong = [f"slot {slot} ran {slots.count(slot)} times" for slot in sorted({s for s in slots if slots.count(s) > 1})]
    return wrong + [f"token {b} after {a}" for a, b in itertools.pairwise(tokens) if b < a]


def main() -> int:
    """Rounds of faults."""
    signal.signal(signal.SIGTERM, lambda *_: sys.exit(0))
    done = moved = 0
    kinds: list[str] = []
    while ROUNDS == 0 or done < ROUNDS:
        before = ledger()[-100:]
        if not before:
            time.sleep(1)
            continue
        # Before the first, too: `up --wait` would take a daemon that is killed meanwhile for one that does not start.
        time.sleep(PAUSE_S)
        before = ledger()[-100:]
        kinds = kinds or random.sample(KINDS, len(KINDS))  # each in turn, in any order
        kind, leader = kinds.pop(), before[-1]["app"]
        fault(kind, daemons()[leader])
        done += 1
        after = ledger()[-1]
        moved += after["app"] != leader
        print(json.dumps({"fault": kind, "leader": leader, "then": after["app"], "token": after["token"]}), flush=True)
    wrong = judge(ledger())
    print(json.dumps({"faults": done, "moved": moved, "wrong": wrong}), flush=True)
    return 1 if wrong or moved < done else 0


if __name__ == "__main__":
    sys.exit(main())
