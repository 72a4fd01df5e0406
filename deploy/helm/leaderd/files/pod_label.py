"""A hook: put the label leaderd/ELECTION=leader on this pod when it starts to lead, take it off when it has stopped.

A hint for people and selectors, never a permission: it lags, and stays on the pod whose daemon was killed until that is back. Runs
in leaderd's own container with the standard library alone.
Exit 0 done, 1 the API refused, 2 it could not be reached in time, 3 it was called outside of a pod or not as a hook.
"""

import http.client
import json
import os
import ssl
import sys
from collections.abc import Mapping

TIMEOUT_S = 1.0
ATTEMPTS = 2
"""A hook has half the ttl, at most 5 s; who misses this change is told of the next."""


def wanted(environ: Mapping[str, str]) -> str | bool | None:
    """The label's value: `leader`, None for none, or False when there is nothing to change."""
    hook = environ["LEADERD_HOOK"]
    if hook == "on_change":
        # With a lease `on_acquire` has said it already. Without one this takes off what a killed daemon left behind.
        return False if environ["LEADERD_TOKEN"] else None
    return "leader" if hook == "on_acquire" else None


def request(environ: Mapping[str, str], value: str | bool | None) -> tuple[str, str]:
    """Path and body of a merge patch that applies to this pod alone: a namesake has another uid and is refused (409)."""
    labels = {f"leaderd/{environ['LEADERD_ELECTION']}": value}
    body = {"metadata": {"uid": environ["LEADERD_INSTANCE_UID"], "labels": labels}}
    return f"/api/v1/namespaces/{environ['POD_NAMESPACE']}/pods/{environ['POD_NAME']}", json.dumps(body)


def patch(environ: Mapping[str, str], target: str, body: str) -> int:
    """The status the API answers with. Raises OSError or HTTPException."""
    folder = environ["LEADER_LABEL_API"]
    with open(f"{folder}/token", encoding="ascii") as file:  # read anew each time: it is renewed
        token = file.read().strip()
    context = ssl.create_default_context(cafile=f"{folder}/ca.crt")
    host, port = environ["KUBERNETES_SERVICE_HOST"], int(environ["KUBERNETES_SERVICE_PORT"])
    connection = http.client.HTTPSConnection(host, port, timeout=TIMEOUT_S, context=context)
    try:
        headers = {"Authorization": f"Bearer {token}", "Content-Type": "application/merge-patch+json"}
        connection.request("PATCH", target, body, headers)
        return connection.getresponse().status
    finally:
        connection.close()


def main(environ: Mapping[str, str]) -> int:
    """Do it, and say by the exit code how it went."""
    try:
        value = wanted(environ)
        if value is False:
            return 0
        target, body = request(environ, value)
        for _ in range(ATTEMPTS):
            try:
                status = patch(environ, target, body)
            except (OSError, http.client.HTTPException):
                continue
            if status < 500 and status != 429:
                return 0 if status == 200 else 1
        return 2
    except (KeyError, ValueError):
        return 3


if __name__ == "__main__":
    sys.exit(main(os.environ))
