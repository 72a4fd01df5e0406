"""A compose project of a run's own: made by Compose, driven by the Docker SDK, and removed whatever happens.

Its name is that of the run's folder of sockets, so that `clean` finds what a killed run has left. Nothing that has another name is
ever touched.
"""

from __future__ import annotations

import contextlib
import json
import os
import shutil
import socket
import subprocess
from collections.abc import Callable, Iterable, Iterator
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path
from typing import Any, TypeVar

from chaos.containers import override
from chaos.containers.override import Layout
from chaos.program import Program
from chaos.substrates import CannotInject
from testbed.process import WaitTimeout, wait_until

NO_SDK = "the Docker SDK is not installed: make setup, or pip install -e './chaos[docker]'"
MARK = "compose.json"
"""In the folder of sockets: the second compose file; where it is, there may be a project."""
_PROJECT = "com.docker.compose.project"
_ENGINE = "unix:///var/run/docker.sock"
_AGENT = Path(__file__).with_name("agent.py")
_COMPOSE_S = 900.0
"""The first time an image is built, and the store's is fetched."""
_ANSWER_S = 30.0
_VERSION_S = 20.0
_REMOVED_S = 20.0
_LOOKS_EVERY_S = 0.25
_ENDED = (404, 409)
_AT_ONCE = 8
T = TypeVar("T")


def where() -> str:
    """The engine's socket, for the SDK; and for Compose, which by itself would take what the `docker` command's context names."""
    return os.environ.get("DOCKER_HOST") or _ENGINE


def no_engine() -> str | None:
    """Why no Docker engine can be asked here, or None: by its socket, so that nothing of it need be installed."""
    host = where()
    if not host.startswith("unix://"):
        return f"DOCKER_HOST is {host}: the engine has to be on this machine, behind a socket (unix://...)"
    try:
        with socket.socket(socket.AF_UNIX, socket.SOCK_STREAM) as connection:
            connection.settimeout(2.0)
            connection.connect(host.removeprefix("unix://"))
            connection.sendall(b"GET /_ping HTTP/1.0\r\n\r\n")
            return None if connection.recv(64).startswith(b"HTTP/1.") else f"what listens at {host} is no engine"
    except OSError as error:
        return f"no engine answers at {host} ({error.strerror or error})"


def compose() -> list[str] | None:
    """The command that Compose (version 2) is here; None if it is not."""
    for words in (["docker", "compose"], ["docker-compose"]):
        if shutil.which(words[0]) is None:
            continue
        try:
            done = subprocess.run([*words, "version", "--short"], capture_output=True, text=True, timeout=_VERSION_S)
        except (subprocess.TimeoutExpired, OSError):
            continue
        if done.returncode == 0 and done.stdout.strip().lstrip("v").partition(".")[0] not in ("", "1"):
            return words
    return None


def client() -> Any:  # noqa: ANN401 - the SDK has no types
    """The engine. Raises `CannotInject` where none answers."""
    try:
        import docker  # not at the top: only this substrate needs it
    except ImportError:
        raise CannotInject(NO_SDK) from None
    reason = no_engine()  # asked first: the SDK leaves a socket behind where nobody answers
    if reason is not None:
        raise CannotInject(reason)
    try:
        return docker.from_env(timeout=60)
    except docker.errors.DockerException as error:
        raise CannotInject(f"the Docker engine cannot be used: {error}") from None


def remove(engine: Any, name: str) -> None:  # noqa: ANN401
    """Every container, network and volume of that project. Raises `CannotInject` if they do not go.

    What Compose was still at work on when it was killed comes late: nothing is to be there when it is looked at again.
    """
    chosen = {"label": f"{_PROJECT}={name}"}
    nothing = 0

    def gone() -> bool:
        nonlocal nothing
        containers = engine.containers.list(all=True, filters=chosen, ignore_removed=True)
        at_once(lambda each: _gone(lambda: each.remove(force=True, v=True)), containers)
        networks, volumes = engine.networks.list(filters=chosen), engine.volumes.list(filters=chosen)
        for each in (*networks, *volumes):
            _gone(each.remove)
        nothing = 0 if containers or networks or volumes else nothing + 1
        return nothing == 2

    try:
        wait_until(gone, _REMOVED_S, "everything is removed", every=_LOOKS_EVERY_S)
    except WaitTimeout as error:
        by_hand = f"docker compose -p {name} down -v"
        raise CannotInject(f"the compose project {name}: {error}; remove it by hand: {by_hand}") from None


def remove_left(name: str) -> None:
    """The same, of a run that was killed."""
    engine = client()
    try:
        remove(engine, name)
    finally:
        engine.close()


def _gone(do: Callable[[], object]) -> None:
    import docker

    # What is being removed already, or is still in use by what is: the next round sees.
    with contextlib.suppress(docker.errors.APIError):
        do()


@contextlib.contextmanager
def unless_ended(error: Exception | None) -> Iterator[None]:
    """Raises `error`, if there is one, where the engine refuses because the container has ended, or is not there."""
    import docker

    try:
        yield
    except docker.errors.APIError as refused:
        if refused.status_code not in _ENDED:
            raise
        if error is not None:
            raise error from refused


def at_once(do: Callable[[T], object], each: Iterable[T]) -> None:
    """For all of them, side by side. Raises what one of them raises."""
    with ThreadPoolExecutor(_AT_ONCE) as pool:
        list(pool.map(do, each))


class Project:
    """One run's. `folder` is the run's folder of sockets, and names the project."""

    def __init__(self, found: Layout, store: str, folder: Path, run_folder: Path) -> None:
        self.layout = found
        self.name = folder.name
        self.folder = folder
        self.engine = client()
        self._store = store
        self._run_folder = run_folder
        self._agents: dict[str, Any] = {}
        (folder / "orders").mkdir()
        (folder / "agents").mkdir()
        (folder / "agents").chmod(0o777)  # for the agent, who is not us; nobody else gets into the folder above

    def create(self) -> None:
        """Every container, none of them running. Raises `CannotInject` with what Compose says."""
        words, found = compose(), self.layout
        if words is None:
            raise CannotInject("Compose is not here any more")
        user = "0:0" if self._rootless() else f"{os.getuid()}:{os.getgid()}"
        mark = self.folder / MARK
        mark.write_text(json.dumps(override.override(found, self._store, self.folder, self._run_folder, user)), encoding="utf-8")
        files = ["-p", self.name, "-f", str(found.file), "-f", str(mark)]
        services = [*found.nodes.values(), *found.daemons.values(), *found.apps.values()]
        # By the environment: Compose has the flag since 2.19 only, and one that does not know the variable says no less.
        environment = {"DOCKER_HOST": where(), "COMPOSE_PROGRESS": "plain"}
        log = self._run_folder / "compose.log"
        made = Program([*words, *files, "create", "--build", *services], log, env=environment)
        try:
            made.start()
            wait_until(lambda: not made.running, _COMPOSE_S, "Compose makes the project")
        except WaitTimeout as error:
            raise CannotInject(f"{error}: see {log}") from None
        finally:
            made.kill()  # of `docker compose` the plugin, too, which does the work
        if made.exit_code != 0:
            raise CannotInject(f"Compose does not make the project: {made.log_tail().strip()[-500:]}")

    def _rootless(self) -> bool:
        return any("rootless" in each for each in self.engine.info().get("SecurityOptions") or ())

    def container(self, service: str) -> Any:  # noqa: ANN401
        """As it is now."""
        return self.engine.containers.get(f"{self.name}-{service}-1")

    def address(self, host: str) -> str:
        """In the project's network, while its container runs; else an empty text."""
        networks = self.container(self.layout.owner[host]).attrs["NetworkSettings"]["Networks"]
        return str(next((each["IPAddress"] for each in networks.values()), ""))

    def join(self, host: str) -> None:
        """An agent in the network namespace that the host has since its container was started."""
        owner = self.container(self.layout.owner[host])
        former = self._agents.pop(host, None)
        if former is not None:
            former.remove(force=True)
        path = self.folder / "agents" / f"{host}.sock"
        path.unlink(missing_ok=True)
        self._agents[host] = self.engine.containers.run(
            self.container(self.layout.daemons["c1"]).image.id,
            ["-c", _AGENT.read_text(encoding="utf-8"), f"/agents/{host}.sock"],  # no file, which root there might not read
            entrypoint=["python3"],
            detach=True,
            labels={_PROJECT: self.name},
            network_mode=f"container:{owner.id}",
            user="0:0",
            cap_drop=["ALL"],
            cap_add=["NET_ADMIN"],
            security_opt=["no-new-privileges:true"],
            read_only=True,
            healthcheck={"test": ["NONE"]},
            volumes={str(path.parent): {"bind": "/agents", "mode": "rw"}},
        )
        try:
            wait_until(lambda: _listens(path), _ANSWER_S, f"the agent of {host} listens")
        except TimeoutError as error:
            said = self._agents[host].logs(tail=3).decode(errors="replace").strip()
            raise CannotInject(f"{error}: {said or 'does the engine see the files of this machine?'}") from None

    def ask(self, host: str, what: str, *given: object, within_s: float = 0.0) -> Any:  # noqa: ANN401 - JSON
        """What the agent of that host says. Raises `OSError` where there is none, `CannotInject` where it cannot."""
        with socket.socket(socket.AF_UNIX, socket.SOCK_STREAM) as connection:
            connection.settimeout(_ANSWER_S + within_s)
            connection.connect(str(self.folder / "agents" / f"{host}.sock"))
            with connection.makefile("rwb") as stream:
                stream.write(json.dumps([what, *given]).encode() + b"\n")
                stream.flush()
                line = stream.readline()
        if not line:
            raise ConnectionResetError(f"the agent of {host} is gone")
        said = json.loads(line)
        if isinstance(said, dict) and "error" in said:
            raise CannotInject(f"in the network of {host}: {said['error']}")
        return said

    def remove(self) -> None:
        """All of it, and the connection with the engine. The mark stays where that does not succeed, for `clean` to find."""
        try:
            remove(self.engine, self.name)
            (self.folder / MARK).unlink(missing_ok=True)
        finally:
            self.engine.close()


def _listens(path: Path) -> bool:
    try:
        with socket.socket(socket.AF_UNIX, socket.SOCK_STREAM) as connection:
            connection.connect(str(path))
    except OSError:
        return False
    return True
