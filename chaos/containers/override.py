"""What a run changes in a compose file: what the daemons and apps are started with, and the stores' timings. All else stays.

Compose merges the two. Daemons and apps see the folders of the run at the very paths that they have here, and run as whoever runs
the suite, so that what each side writes is the other side's to read.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any, NamedTuple

import yaml

FOLDER = Path("deploy") / "compose"
IMAGE = "leaderd:chaos"
"""Of this checkout, beside the `leaderd:full` that somebody may have deployed."""
PORTS = {"etcd": 2379, "zookeeper": 2181, "consul": 8500}
_SUITE = Path(__file__).resolve().parent.parent
_LAUNCH = """
import json, os, sys
order = json.load(open(sys.argv[1]))
log = os.open(order["log"], os.O_WRONLY | os.O_CREAT | os.O_APPEND, 0o644)
os.dup2(log, 1)
os.dup2(log, 2)
open(order["stat"] + ".new", "w").write(open("/proc/self/stat").read())
os.rename(order["stat"] + ".new", order["stat"])
path = [order["suite"]] + [each for each in [os.environ.get("PYTHONPATH")] if each]
os.execvpe(order["argv"][0], order["argv"], {**os.environ, **order["env"], "PYTHONPATH": ":".join(path)})
"""
"""The program of a pod's container: it becomes what its order says, which may be written when the container is there already."""
_BESIDE = """
import os, signal, sys
child = os.fork()
if child:
    for number in (signal.SIGUSR1, signal.SIGCONT):
        signal.signal(number, lambda number, frame: os.kill(child, number))
    code = os.waitstatus_to_exitcode(os.waitpid(child, 0)[1])
    sys.exit(code if code >= 0 else 128 - code)
"""
"""An app's is the child of one that passes signals on, and tells how it ended as the engine would: the first process of a container
cannot stop itself.
"""
_NODES: Mapping[str, Mapping[str, object]] = {
    "etcd": {},
    "zookeeper": {"environment": {"ZOO_TICK_TIME": "500"}},
    "consul": {},
}
_CONSUL = (
    '-hcl=session_ttl_min = "1s"',
    "-hcl=performance { raft_multiplier = 1 }",
    # Autopilot would throw a cut-off server out, and take it back only after the run.
    '-hcl=autopilot { cleanup_dead_servers = false, server_stabilization_time = "1s" }',
)
"""As `chaos.stores` starts them."""


class Layout(NamedTuple):
    """Which service of a compose file is which host of a run. `owner`: by pod host, the service whose network it has."""

    file: Path
    nodes: dict[str, str]
    daemons: dict[str, str]
    apps: dict[str, str]
    owner: dict[str, str]
    commands: dict[str, list[str]]
    """Of the store's nodes, where the file gives them one."""


def layout(root: Path, store: str) -> Layout:
    """Of that store's file in the checkout."""
    file = root / FOLDER / f"docker-compose.{store}.yml"
    services: dict[str, Any] = yaml.safe_load(file.read_text(encoding="utf-8"))["services"]
    nodes = {f"s{number}": name for number, name in enumerate(_named(services, f"{store}-"), 1)}
    daemons = {f"c{number}": name for number, name in enumerate(_named(services, "leaderd-"), 1)}
    apps = {host: name.replace("leaderd-", "app-") for host, name in daemons.items()}
    shares = {host: str(services[name].get("network_mode", "")) for host, name in daemons.items()}
    owner = {host: shares[host].partition("service:")[2] or name for host, name in daemons.items()}
    commands = {name: services[name]["command"] for name in nodes.values() if "command" in services[name]}
    return Layout(file, nodes, daemons, apps, {**nodes, **owner}, commands)


def _named(services: Mapping[str, object], head: str) -> list[str]:
    return sorted(name for name in services if name.startswith(head))


def order(folder: Path, service: str) -> Path:
    """Where the order of that service is."""
    return folder / "orders" / f"{service}.json"


def override(found: Layout, store: str, folder: Path, run_folder: Path, user: str) -> dict[str, object]:
    """The second compose file. `folder`: of sockets and orders; `run_folder`: of logs, journals and configurations."""
    mounts = [_mount(folder), _mount(run_folder), _mount(_SUITE, read_only=True)]
    plain: dict[str, object] = {"restart": "no", "healthcheck": {"disable": True}}
    services: dict[str, dict[str, object]] = {}
    for service in (*found.daemons.values(), *found.apps.values()):
        services[service] = {
            **plain,
            "image": IMAGE,
            "user": user,
            "entrypoint": ["python3", "-c", _LAUNCH],
            "command": [str(order(folder, service))],
            "volumes": mounts,
        }
    for service in found.apps.values():
        services[service]["entrypoint"] = ["python3", "-c", _BESIDE + _LAUNCH]
        services[service]["stop_signal"] = "SIGKILL"  # the first process of a container is told nothing that it does not ask for
    services["resource"] = {"image": IMAGE}  # which is made, because the apps wait for it, and never started
    for service in found.nodes.values():
        services[service] = {**plain, **_NODES[store]}
        if store == "consul":
            services[service]["command"] = [*found.commands[service], *_CONSUL]
    return {"services": services}


def _mount(path: Path, *, read_only: bool = False) -> dict[str, object]:
    return {"type": "bind", "source": str(path), "target": str(path), "read_only": read_only}


def started_with(argv: Sequence[str], executable: str, env: Mapping[str, str], log: Path, stat: Path) -> dict[str, object]:
    """An order: this machine's Python is the container's."""
    return {
        "argv": ["python3" if each == executable else each for each in argv],
        "env": dict(env),
        "log": str(log),
        "stat": str(stat),
        "suite": str(_SUITE.parent),
    }
